//! Removes objects from the store, a few at a time.

use crate::engine::{Cx, StepError};
use crate::sagas::Tools;
use crate::sagas::waiting::steadily;
use backup::store::Key;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// So many objects go between two looks whether they may.
const ROUND: usize = 256;

/// What has been done so far.
#[derive(Clone, Debug, Default)]
pub(in crate::sagas) struct Rounds(Arc<AtomicU64>);

impl Rounds {
    /// Work goes on.
    pub(in crate::sagas) fn count(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    /// Removes objects. Before each round it is made sure that nobody waits for the instance, and that the operation is still ours: whoever has it
    /// after us may need what nobody needed.
    pub(in crate::sagas) async fn remove(&self, cx: &Cx, tools: &Tools, objects: &[Key]) -> Result<(), StepError> {
        for round in objects.chunks(ROUND) {
            if cx.cancelled().is_cancelled() {
                return Err(cx.interruption());
            }
            cx.confirm_token().await?;
            tools.backups.remove_objects(round).await?;
            self.count(round.len());
        }
        Ok(())
    }

    /// Waits for work while it goes on.
    pub(in crate::sagas) async fn of<T>(&self, work: impl Future<Output = Result<T, StepError>>) -> Result<T, StepError> {
        steadily(|| self.0.load(Ordering::Relaxed), work).await
    }
}
