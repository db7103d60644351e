//! prune_backups: backups that are to go are removed from the store, and of the pool of their instance what no other needs.
//!
//! Parameters: none; the catalogue says which. Result: how many backups and objects went. It has the instance's place, so that nobody
//! writes a backup of it meanwhile. The catalogue forgets them last: until then it asks again for what was not done.

mod pool;
mod remove;
mod rounds;

pub(super) use rounds::Rounds;

use super::Tools;
use crate::engine::{Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::backups;
use domain::operation::Kind;
use pool::PrunePool;
use remove::{RemoveCondemned, Removed};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// It takes the time that it takes, while it goes on.
const LIMIT: Duration = Duration::from_secs(24 * 3600);

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    const NOT_WANTED: &str = "what it removes is not wanted any more";
    Saga::new(Kind::PruneBackups, 1, Pruned)
        .step(RemoveCondemned(Arc::clone(tools)))
        .no_undo(NOT_WANTED)
        .step(PrunePool(Arc::clone(tools)))
        .no_undo(NOT_WANTED)
        .within(LIMIT)
}

struct Pruned;

#[async_trait]
impl Ends for Pruned {
    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let (Removed { backups }, pruned): (_, Value) = (cx.output(remove::NAME)?, cx.output(pool::NAME)?);
        for backup in &backups {
            backups::forget(tx, *backup).await?;
        }
        Ok(json!({ "backups": backups.len(), "objects": pruned["removed"] }))
    }

    async fn unwound(&self, _cx: &Cx, _tx: &mut PlatformTx, _outcome: &Outcome) -> Result<(), StepError> {
        Ok(())
    }
}
