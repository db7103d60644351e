//! Removes former states that are due: database, directory, row.

use crate::engine::{Cx, Seen, Step, StepError, Verdict};
use crate::sagas::Tools;
use crate::sagas::site::{self, Site, turn};
use async_trait::async_trait;
use db::odoo::{OdooError, Recorded};
use db::platform::replaced::{self, Replaced};
use domain::operation::Place;
use runtime::directory::Beside;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAME: &str = "remove_due";

pub(super) struct RemoveDue(pub(super) Arc<Tools>);

#[async_trait]
impl Step for RemoveDue {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(300)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(json!({ "removed": 0 })) };
        let (mut removed, mut stays) = (0, None);
        for (former, is_due) in replaced::of(&cx.services().db, site.instance.id).await? {
            if !is_due {
                continue;
            }
            match remove(cx, &self.0, &site, &former).await {
                Ok(()) => removed += 1,
                // The others go all the same.
                Err(error) if error.verdict == Verdict::Permanent => {
                    tracing::error!(instance = %site.instance.id, number = former.number, %error, "a former state stays");
                    stays = stays.or(Some(error));
                }
                Err(error) => return Err(error),
            }
        }
        stays.map_or_else(|| Ok(json!({ "removed": removed })), Err)
    }
}

/// Removes a former state for good: what is gone is done.
async fn remove(cx: &Cx, tools: &Tools, site: &Site, former: &Replaced) -> Result<(), StepError> {
    let server = site::server(tools, former.server)?;
    let mut fence = server.fence(&site.placement.mark, cx.token()).await?.confirm(cx.confirm_token()).await?;
    let recorded = Recorded { oid: Some(former.db_oid), owner: &site.placement.db_user };
    match fence.drop_database(&former.db_name, recorded).await {
        // It stays, and is told; nobody's work waits for it.
        Err(error @ (OdooError::Mismatch { .. } | OdooError::Blocked { .. })) => {
            return Err(StepError::permanent("former_data_stay", "Internal error.", error));
        }
        other => other?,
    }
    fence.release().await?;
    let directory = Beside::Replaced(former.number);
    tools.directories.remove_beside(&site.directory(), site.owner(), turn(cx), directory).await?;
    let mut tx = cx.fenced_tx().await?;
    replaced::forget(&mut tx, site.instance.id, former.number).await?;
    Ok(tx.commit().await?)
}
