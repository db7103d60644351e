//! Removes the contents that no backup needs any more. What belongs to a backup that turned out to be damaged stays: some of it may be
//! wanted by hand, until somebody deletes it.

use super::{LIMIT, Rounds};
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::instance_id;
use async_trait::async_trait;
use backup::{Backup, BackupError, BackupResult, Pruning};
use db::platform::backups;
use domain::backup::State;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAME: &str = "prune_pool";

pub(super) struct PrunePool(pub(super) Arc<Tools>);

#[async_trait]
impl Step for PrunePool {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn limit(&self) -> Duration {
        LIMIT
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let rounds = Rounds::default();
        let removed = rounds.of(prune(cx, &self.0, &rounds)).await?;
        Ok(json!({ "removed": removed }))
    }
}

async fn prune(cx: &Cx, tools: &Tools, rounds: &Rounds) -> Result<usize, StepError> {
    let id = instance_id(cx)?;
    let mut tx = cx.fenced_tx().await?;
    let mut rows = backups::in_state(&mut tx, id, State::Completed).await?;
    rows.extend(backups::in_state(&mut tx, id, State::Failed).await?);
    tx.commit().await?;
    let (mut pruning, mut kept, mut unreadable) = (tools.backups.pruning(id), 0, Vec::new());
    for row in &rows {
        let (Some(attempt), Some(sum)) = (row.attempt, row.manifest_sha256.as_deref()) else { continue };
        let opened = tools.backups.open(row.id, attempt, sum).await;
        match keep(&mut pruning, opened).await {
            Err(error @ BackupError::Damaged { .. }) => {
                tracing::error!(backup = %row.id, %error, "nobody can say any more what of the pool this backup needs");
                unreadable.push(row);
            }
            other => {
                other?;
                kept += 1;
            }
        }
        rounds.count(1);
    }
    // One damaged backup must not keep what nobody needs for ever. But where none can be read, somebody has to look first.
    if kept == 0 && !unreadable.is_empty() {
        return Err(StepError::permanent("no_backup_readable", "Internal error.", format!("no backup of {id} can be read")));
    }
    for row in unreadable.into_iter().filter(|row| row.state == State::Completed) {
        let mut tx = cx.fenced_tx().await?;
        backups::broken(&mut tx, row.id, "This backup was read and is damaged.").await?;
        tx.commit().await?;
    }
    let mut removed = 0;
    while let Some(objects) = pruning.step().await? {
        rounds.remove(cx, tools, &objects).await?;
        rounds.count(1);
        removed += objects.len();
    }
    Ok(removed)
}

async fn keep(pruning: &mut Pruning, opened: BackupResult<Backup>) -> BackupResult<()> {
    pruning.keep(&opened?).await
}
