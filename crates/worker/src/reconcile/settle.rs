//! Stores what was seen of one instance: the observed state, and, where the transition table has it, the public status.

use super::judge::{self, Sight};
use db::platform::audit::{AuditContext, Door};
use db::platform::instances::{self, Change, Instance};
use db::platform::{PlatformDb, PlatformTx};
use db::{DbError, DbResult};
use domain::instance::Status;

/// What came of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// The public status moved.
    Moved {
        /// From here.
        from: Status,
        /// To here.
        to: Status,
    },
    /// At most the observed state was written.
    Noted,
    /// An operation is at work, or the row changed while we looked: what was seen may be about an earlier state.
    Skipped,
}

/// Stores `sight` of the instance that looked like `seen` before the look.
pub(crate) async fn settle(db: &PlatformDb, loop_name: &str, seen: &Instance, sight: Sight) -> DbResult<Settled> {
    let mut tx = db.begin().await?;
    let Some(row) = instances::lock(&mut tx, seen.id).await? else { return Ok(Settled::Skipped) };
    if row.operation_id.is_some() || row.revision != seen.revision {
        return Ok(Settled::Skipped);
    }
    let settled = match store(&mut tx, loop_name, &row, sight).await {
        Err(DbError::Stale) => return Ok(Settled::Skipped),
        other => other?,
    };
    tx.commit().await?;
    if let Settled::Moved { from, to } = settled {
        tracing::warn!(instance_id = %seen.id, %from, %to, round = loop_name, "status follows what was seen");
    }
    Ok(settled)
}

async fn store(tx: &mut PlatformTx, loop_name: &str, row: &Instance, sight: Sight) -> DbResult<Settled> {
    if let Some(event) = judge::event(sight) {
        let by = AuditContext { door: Door::Worker, actor: loop_name.to_owned(), request_id: None };
        let change = Change { reason: judge::message(event).map(str::to_owned), ..Change::default() };
        if let Ok(moved) = instances::happen(tx, row, event, change, &by).await? {
            return Ok(Settled::Moved { from: row.axes.status, to: moved.axes.status });
        }
    }
    if let Some(observed) = sight.observed(row.axes.observed) {
        instances::observe(tx, row.id, observed, sight == Sight::Healthy).await?;
    }
    Ok(Settled::Noted)
}
