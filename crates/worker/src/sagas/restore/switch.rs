//! Exchanges the databases: two renames in one transaction, and the new OID in the row. From here on a cancel is not obeyed: forwards is as short
//! as backwards.

use super::database::{self, Loaded};
use super::plan::{self, Planned};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::site::{Site, instance_id};
use async_trait::async_trait;
use db::odoo::Recorded;
use db::platform::instances;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct SwitchDatabase(pub(super) Arc<Tools>);

#[async_trait]
impl Step for SwitchDatabase {
    fn name(&self) -> &'static str {
        "switch_database"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn interruptible(&self) -> bool {
        false
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let (site, plan) = (Site::of(cx, &self.0).await?, cx.output::<Planned>(plan::NAME)?);
        let Loaded { oid, .. } = cx.output(database::NAME)?;
        let mut fence = site.fence(cx).await?;
        let took = fence.switch(&plan.switch(&site, oid)?).await?;
        fence.release().await?;
        record(cx, oid).await?;
        Ok(json!({ "renamed_in_ms": took.map(|took| took.as_secs_f64() * 1000.0) }))
    }
}

#[async_trait]
impl Undo for SwitchDatabase {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        let (Some(plan), Some(Loaded { oid, .. })) = (cx.recorded::<Planned>(plan::NAME)?, cx.recorded(database::NAME)?) else {
            return Ok(());
        };
        let placement = &site.placement;
        let mut fence = site.fence(cx).await?;
        fence.switch(&plan.switch(&site, oid)?.back()).await?;
        // A termination that pre-empted the restore closes it again.
        fence.open_database(&placement.db_name, Recorded { oid: Some(plan.live_oid), owner: &placement.db_user }).await?;
        fence.release().await?;
        record(cx, plan.live_oid).await
    }
}

async fn record(cx: &Cx, oid: u32) -> Result<(), StepError> {
    let mut tx = cx.fenced_tx().await?;
    instances::set_database_oid(&mut tx, instance_id(cx)?, Some(oid)).await?;
    Ok(tx.commit().await?)
}
