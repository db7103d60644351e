//! Getting a fenced write through: trying again while postgres1 is away, looking when a COMMIT got no answer (engine 6).

use crate::engine::walk::{Over, Run};
use db::platform::PlatformTx;
use db::platform::record::{self, Recorded, Write};
use db::{DbError, DbResult};
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(200);
/// How often a write may be refused for another reason than an unreachable server: a deadlock passes, a mistake does not.
const REFUSALS: u32 = 5;

impl Run {
    /// Writes until it is written, or the lease is lost.
    pub(crate) async fn record(&mut self, write: Write) -> Result<(), Over> {
        let mut refusals = 0;
        loop {
            if !self.lease.is_trusted() {
                return Err(Over);
            }
            let lost = self.lease.lost.clone();
            let recorded = tokio::select! {
                biased;
                () = lost.cancelled() => return Err(Over),
                recorded = self.try_record(&write) => recorded,
            };
            match recorded {
                Ok(()) => return Ok(()),
                Err(DbError::LeaseLost) => return Err(self.refused()),
                Err(error) if error.is_unreachable() => tracing::warn!(%error, "the journal cannot be written; trying again"),
                Err(error) => {
                    refusals += 1;
                    tracing::error!(%error, refusals, "the journal refused a write");
                    if refusals == REFUSALS {
                        return Err(Over);
                    }
                }
            }
            tokio::select! {
                () = self.lease.lost.cancelled() => return Err(Over),
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    fn refused(&self) -> Over {
        tracing::warn!(token = self.fence.token, "somebody else has the operation; this run ends");
        metrics::counter!("engine_stale_tokens_total").increment(1);
        Over
    }

    async fn try_record(&mut self, write: &Write) -> DbResult<()> {
        let mut tx = self.shared.services.db.begin().await?;
        let recorded = record::write(&mut tx, &self.fence, write, &self.journal).await?;
        self.commit(tx, recorded).await
    }

    /// Commits one write and takes over what it left behind.
    pub(crate) async fn commit(&mut self, tx: PlatformTx, recorded: Recorded) -> DbResult<()> {
        if let Err(error) = tx.commit().await
            && !self.happened().await?
        {
            return Err(error);
        }
        self.operation = recorded.operation;
        self.journal = recorded.journal;
        self.fence = recorded.fence;
        Ok(())
    }

    /// Whether the write behind a COMMIT without an answer is there.
    async fn happened(&self) -> DbResult<bool> {
        loop {
            match record::happened(&self.shared.services.db, &self.fence).await {
                Err(error) if error.is_unreachable() && self.lease.is_trusted() => tokio::time::sleep(PAUSE).await,
                other => return other,
            }
        }
    }
}
