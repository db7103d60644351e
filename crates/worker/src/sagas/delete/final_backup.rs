//! Takes the last backup before anything is dropped (contract 12.9), as the tenant: its database is opened for that, after its service has gone, and
//! closed again. Without this backup nothing is dropped; nor is what was kept of former data while the live ones are gone: it may be all that is left.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::backup::{begun, take};
use crate::sagas::errors::STOPPED;
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::odoo::OdooError;
use db::platform::backups::{self, Whole};
use domain::backup::{Origin, State};
use domain::ids::BackupId;
use domain::instance::ProvisioningStatus;
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAME: &str = "final_backup";

pub(super) struct FinalBackup(pub(super) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(super) struct Taken {
    /// Whether there is one.
    pub(super) taken: bool,
}

#[async_trait]
impl Step for FinalBackup {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(4 * 3600)
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        let none = Seen::Ours(json!(Taken { taken: false }));
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(none) };
        // A provisioning that came to nothing has left nothing to keep.
        if !self.0.final_backup || site.instance.axes.provisioning != ProvisioningStatus::Completed {
            return Ok(none);
        }
        match backups::of_operation(&cx.services().db, cx.operation().id, Origin::Final).await? {
            Some(backup) if backup.state == State::Completed => Ok(Seen::Ours(json!(Taken { taken: true }))),
            _ => Ok(Seen::Absent),
        }
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        let mut fence = site.fence(cx).await?;
        match fence.open_database(&site.placement.db_name, site.recorded()).await {
            Err(error @ OdooError::Missing { .. }) => {
                let kept = fence.databases_beside(&site.placement.db_name, &site.placement.db_user).await?;
                if !kept.is_empty() && !self.was_taken_before(cx, &site).await? {
                    return Err(StepError::needs_attention("only_former_data", STOPPED, format!("{error}; there are {kept:?}")));
                }
                tracing::warn!(instance = %site.instance.id, %error, "there is no database to back up");
                return Ok(json!(Taken { taken: false }));
            }
            other => other?,
        }
        fence.release().await?;
        let taken = self.take(cx, &site).await;
        // Whatever came of it, nobody gets in any more.
        let mut fence = site.fence(cx).await?;
        fence.close_database(&site.placement.db_name, site.recorded()).await?;
        fence.release().await?;
        let (backup, whole) = taken?;
        let mut tx = cx.fenced_tx().await?;
        backups::complete(&mut tx, backup, &whole).await?;
        tx.commit().await?;
        Ok(json!(Taken { taken: true }))
    }
}

impl FinalBackup {
    /// By a delete that did not come to its end.
    async fn was_taken_before(&self, cx: &Cx, site: &Site) -> Result<bool, StepError> {
        let newest = backups::newest_whole(&cx.services().db, site.instance.id).await?;
        Ok(newest.is_some_and(|backup| backup.origin == Origin::Final))
    }

    async fn take(&self, cx: &Cx, site: &Site) -> Result<(BackupId, Whole), StepError> {
        let backup = begun(cx, Origin::Final).await?;
        Ok((backup.id, take(cx, &self.0, site, backup.id).await?))
    }
}
