//! Removes the contents that no backup needs any more. What belongs to a backup that turned out to be damaged stays: some of it may be
//! wanted by hand, until somebody deletes it.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::instance_id;
use async_trait::async_trait;
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
        Duration::from_secs(3600)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let id = instance_id(cx)?;
        let mut tx = cx.fenced_tx().await?;
        let mut rows = backups::in_state(&mut tx, id, State::Completed).await?;
        rows.extend(backups::in_state(&mut tx, id, State::Failed).await?);
        tx.commit().await?;
        let mut kept = Vec::new();
        for row in &rows {
            let (Some(attempt), Some(sum)) = (row.attempt, row.manifest_sha256.as_deref()) else { continue };
            match self.0.backups.open(row.id, attempt, sum).await {
                Err(error) if row.state == State::Failed && error.class() == backup::Class::Permanent => {
                    tracing::info!(backup = %row.id, %error, "of a damaged backup nothing can be kept");
                }
                opened => kept.push(opened?),
            }
        }
        let mut pruning = self.0.backups.pruning(id, &kept).await?;
        let mut removed = 0;
        while let Some(more) = pruning.step().await? {
            removed += more;
            // The next backup of this instance may rely on what is there as soon as somebody else has this operation.
            cx.confirm_token().await?;
        }
        Ok(json!({ "removed": removed }))
    }
}
