//! Waits for the backup that the copy is made of, and looks whether it will do.

use super::copy_of;
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::errors::inconsistent;
use crate::sagas::restore::{fits, opened, tools_for};
use crate::sagas::site::{Site, instance, instance_id, worker};
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use db::platform::acceptance::{self, Acted};
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
    let id = of.operation.ok_or_else(|| inconsistent("a copy without a source"))?;
    let db = &cx.services().db;
    // First: one that has ended by now has written what it took.
    let operation = operations::get(db, id).await?;
    let taken = backups::of_operation(db, id, Origin::Requested).await?;
    if let Some(taken) = taken.filter(|taken| taken.state == State::Completed) {
        let mut tx = cx.fenced_tx().await?;
        clones::choose(&mut tx, instance_id(cx)?, taken.id).await?;
        tx.commit().await?;
        return Ok(taken.id);
    }
    match operation {
        Some(operation) if !operation.state.is_final() => Err(under_way()),
        // That was for an earlier provisioning, which failed for it.
        Some(operation) if operation.seq < cx.operation().seq => Err(order(cx, of).await?),
        _ => Err(failed(format!("operation {id} took no backup"))),
    }
}

/// Orders another backup of the original. The answer is how the step ends meanwhile.
async fn order(cx: &Cx, of: &CloneOf) -> Result<StepError, StepError> {
    let name = instance(cx).await?.name;
    let mut tx = cx.fenced_tx().await?;
    let ordered = acceptance::back_up_original(&mut tx, of.source, &name, &*cx.services().entropy, &worker(cx)).await?;
    let (Acted::Queued(_, operation) | Acted::UnderWay(_, Some(operation))) = ordered else {
        return Ok(failed(format!("no backup can be ordered: {ordered:?}")));
    };
    clones::order(&mut tx, instance_id(cx)?, operation).await?;
    tx.commit().await?;
    Ok(under_way())
}

fn under_way() -> StepError {
    StepError::snooze(LATER, "backup_under_way", "The original is being backed up.", "its backup is under way")
}

fn failed(cause: String) -> StepError {
    StepError::permanent("source_not_backed_up", "The original could not be backed up.", cause)
}
