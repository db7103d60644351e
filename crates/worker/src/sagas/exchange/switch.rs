//! Exchanges the databases: two renames in one transaction, and the new OID in the row. From here on a cancel is not obeyed: forwards is as short
//! as backwards.

use super::{Find, exchanged};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::site::{Site, instance_id};
use async_trait::async_trait;
use db::odoo::Recorded;
use db::platform::instances;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(in crate::sagas) struct SwitchDatabase(pub(in crate::sagas) Arc<Tools>, pub(in crate::sagas) Find);

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
        let site = Site::of(cx, &self.0).await?;
        let exchange = exchanged(cx, &site.placement, self.1)?;
        let mut fence = site.fence(cx).await?;
        let took = fence.switch(&exchange.switch).await?;
        fence.release().await?;
        record(cx, exchange.switch.incoming_oid).await?;
        Ok(json!({ "renamed_in_ms": took.map(|took| took.as_secs_f64() * 1000.0) }))
    }
}

#[async_trait]
impl Undo for SwitchDatabase {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        let Some(exchange) = (self.1)(cx, &site.placement)? else { return Ok(()) };
        let (placement, before) = (&site.placement, exchange.switch.live_oid);
        let mut fence = site.fence(cx).await?;
        fence.switch(&exchange.switch.back()).await?;
        // One that was terminated meanwhile stays closed.
        if site.instance.axes.is_live() {
            fence.open_database(&placement.db_name, Recorded { oid: Some(before), owner: &placement.db_user }).await?;
        }
        fence.release().await?;
        record(cx, before).await
    }
}

async fn record(cx: &Cx, oid: u32) -> Result<(), StepError> {
    let mut tx = cx.fenced_tx().await?;
    instances::set_database_oid(&mut tx, instance_id(cx)?, Some(oid)).await?;
    Ok(tx.commit().await?)
}
