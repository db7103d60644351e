//! Work that a worker does while a request waits for it, such as reading logs. No connection is held meanwhile.

use crate::problem::Problem;
use crate::routes::is_final;
use crate::state::AppState;
use db::platform::operations::{self, Operation};
use domain::ids::OperationId;
use std::time::Duration;

/// The operation once it has ended; `None` if that takes longer than `limit`.
///
/// # Errors
/// 503 when postgres1 is not to be had.
pub(crate) async fn awaited(state: &AppState, id: OperationId, limit: Duration) -> Result<Option<Operation>, Problem> {
    if tokio::time::timeout(limit, ended(state, id)).await.is_err() {
        return Ok(None);
    }
    Ok(operations::get(state.db(), id).await?.filter(|operation| operation.state.is_final()))
}

/// Returns when the operation has ended, or the process is to end.
async fn ended(state: &AppState, id: OperationId) {
    let mut events = state.feed().events(id, 0).await;
    while let Some(event) = events.recv().await {
        if is_final(&event) {
            return;
        }
    }
}

/// Nobody waits for the answer any more: a worker that comes back later need not look for it.
///
/// # Errors
/// 503 when postgres1 is not to be had.
pub(crate) async fn give_up(state: &AppState, id: OperationId) -> Result<(), Problem> {
    let mut tx = state.db().begin().await?;
    let outcome = operations::request_cancel(&mut tx, id, "nobody waits for it any more").await?;
    tracing::debug!(operation_id = %id, ?outcome, "gave up waiting");
    Ok(tx.commit().await?)
}
