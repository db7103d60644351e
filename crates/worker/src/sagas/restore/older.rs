//! Removes what an earlier restore had replaced: one former state is kept, and there is a younger one now.

use super::plan::{self, Planned};
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::{self, Site, turn};
use async_trait::async_trait;
use db::odoo::Recorded;
use db::platform::replaced::{self, Replaced};
use domain::operation::Place;
use runtime::directory::Beside;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct ForgetOlder(pub(super) Arc<Tools>);

#[async_trait]
impl Step for ForgetOlder {
    fn name(&self) -> &'static str {
        "forget_older"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn interruptible(&self) -> bool {
        false
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(300)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let (site, plan) = (Site::of(cx, &self.0).await?, cx.output::<Planned>(plan::NAME)?);
        let kept = replaced::of(&cx.services().db, site.instance.id).await?;
        let Some(kept) = kept.filter(|kept| kept.number != plan.number) else { return Ok(json!({ "removed": false })) };
        remove(cx, &self.0, &site, &kept).await?;
        Ok(json!({ "removed": true }))
    }
}

/// Removes a former state for good: what is gone is done.
pub(in crate::sagas) async fn remove(cx: &Cx, tools: &Tools, site: &Site, kept: &Replaced) -> Result<(), StepError> {
    let server = site::server(tools, kept.server)?;
    let mut fence = server.fence(&site.placement.mark, cx.token()).await?.confirm(cx.confirm_token()).await?;
    fence.drop_database(&kept.db_name, Recorded { oid: Some(kept.db_oid), owner: &site.placement.db_user }).await?;
    fence.release().await?;
    let former = Beside::Replaced(kept.number);
    tools.directories.remove_beside(&site.directory(), site.owner(), turn(cx), former).await?;
    let mut tx = cx.fenced_tx().await?;
    replaced::forget(&mut tx, site.instance.id).await?;
    Ok(tx.commit().await?)
}
