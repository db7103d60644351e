//! Waits for the backup that the copy is made of, and looks whether it will do.

use super::copy_of;
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::errors::inconsistent;
use crate::sagas::restore::{fits, opened, tools_for};
use crate::sagas::site::{Site, instance_id};
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use db::platform::clones::{self, CloneOf};
use db::platform::{backups, operations};
use domain::backup::{Origin, State};
use domain::ids::{BackupId, InstanceId};
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAME: &str = "template";
const LATER: Duration = Duration::from_secs(2);

pub(in crate::sagas::provision) struct AwaitBackup(pub(in crate::sagas::provision) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(super) struct Source {
    pub(super) instance: InstanceId,
    pub(super) backup: BackupId,
}

#[async_trait]
impl Step for AwaitBackup {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(4 * 3600)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let of = copy_of(cx).await?.ok_or_else(|| inconsistent("it is no copy"))?;
        let backup = match of.backup {
            Some(backup) => backup,
            None => taken(cx, &of).await?,
        };
        let site = Site::of(cx, &self.0).await?;
        let (opened, _) = opened(cx, &self.0, backup, of.source).await?;
        fits(&site, &opened)?;
        tools_for(&site, opened.postgres_version()).await?;
        unless_told_to_stop(cx, opened.verify(false)).await?;
        Ok(json!(Source { instance: of.source, backup }))
    }
}

/// The backup that was ordered for the copy.
async fn taken(cx: &Cx, of: &CloneOf) -> Result<BackupId, StepError> {
    const FAILED: &str = "The original could not be backed up.";
    let operation = of.operation.ok_or_else(|| inconsistent("a copy without a source"))?;
    let db = &cx.services().db;
    let taken = backups::of_operation(db, operation, Origin::Requested).await?;
    if let Some(taken) = taken.filter(|taken| taken.state == State::Completed) {
        let mut tx = cx.fenced_tx().await?;
        clones::choose(&mut tx, instance_id(cx)?, taken.id).await?;
        tx.commit().await?;
        return Ok(taken.id);
    }
    match operations::get(db, operation).await? {
        Some(operation) if !operation.state.is_final() => {
            Err(StepError::snooze(LATER, "backup_under_way", "The original is being backed up.", "its backup is under way"))
        }
        _ => Err(StepError::permanent("source_not_backed_up", FAILED, format!("operation {operation} took no backup"))),
    }
}
