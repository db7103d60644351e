//! prune_backups: backups that are to go are removed from the store, and of the pool of their instance what no other needs.
//!
//! Parameters: none; the catalogue says which. Result: how many backups and objects went. It has the instance's place, so that nobody
//! writes a backup of it meanwhile.

mod pool;
mod remove;

use super::Tools;
use crate::engine::{Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use domain::operation::Kind;
use pool::PrunePool;
use remove::RemoveCondemned;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    const NOT_WANTED: &str = "what it removes is not wanted any more";
    Saga::new(Kind::PruneBackups, 1, Pruned)
        .step(RemoveCondemned(Arc::clone(tools)))
        .no_undo(NOT_WANTED)
        .step(PrunePool(Arc::clone(tools)))
        .no_undo(NOT_WANTED)
}

struct Pruned;

#[async_trait]
impl Ends for Pruned {
    async fn finish(&self, cx: &Cx, _tx: &mut PlatformTx) -> Result<Value, StepError> {
        let (backups, objects): (Value, Value) = (cx.output(remove::NAME)?, cx.output(pool::NAME)?);
        Ok(json!({ "backups": backups["removed"], "objects": objects["removed"] }))
    }

    async fn unwound(&self, _cx: &Cx, _tx: &mut PlatformTx, _outcome: &Outcome) -> Result<(), StepError> {
        Ok(())
    }
}
