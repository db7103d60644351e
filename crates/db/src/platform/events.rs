//! The event stream of an operation (contract 5), written in the transaction of the fact it tells.

use crate::error::DbResult;
use crate::platform::operation_view::{OperationView, StepView};
use crate::platform::readers::ask;
use crate::platform::{PlatformDb, PlatformTx};
use domain::ids::OperationId;
use serde_json::Value;

/// An entry of the event stream of one operation.
#[derive(Clone, Debug)]
pub struct Event {
    /// Grows within the operation.
    pub seq: i64,
    /// `operation` or `step`.
    pub event: String,
    /// JSON of that object, as contract 5 describes it.
    pub data: Value,
}

/// Tells how the operation stands, and before that what one of its steps did. What was told last is not told again: what waits
/// for a server is looked at for days.
pub(crate) async fn tell(
    tx: &mut PlatformTx,
    id: OperationId,
    step: Option<&StepView>,
    operation: &OperationView,
) -> DbResult<()> {
    let mut events = Vec::with_capacity(2);
    let mut data = Vec::with_capacity(2);
    if let Some(step) = step {
        events.push("step".to_owned());
        data.push(serde_json::json!(step));
    }
    events.push("operation".to_owned());
    data.push(serde_json::json!(operation));
    sqlx::query!(
        "INSERT INTO instance_service.operation_events (operation_id, event, data)
         SELECT $1, e.event, e.data FROM unnest($2::text[], $3::jsonb[]) AS e (event, data)
          WHERE e.data IS DISTINCT FROM (SELECT l.data FROM instance_service.operation_events l
                                          WHERE l.operation_id = $1 AND l.event = e.event ORDER BY l.seq DESC LIMIT 1)",
        id.as_uuid(),
        &events,
        &data
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Events after `seq`, oldest first.
///
/// # Errors
/// Database errors only.
pub async fn events_after(db: &PlatformDb, id: OperationId, seq: i64, limit: i64) -> DbResult<Vec<Event>> {
    let events = ask!(db, connection => sqlx::query_as!(
        Event,
        "SELECT seq, event, data FROM instance_service.operation_events
          WHERE operation_id = $1 AND seq > $2 ORDER BY seq LIMIT $3",
        id.as_uuid(),
        seq,
        limit
    ).fetch_all(&mut *connection));
    Ok(events)
}

/// Removes events older than 30 days; says how many. What an operation did stays in its row and journal.
///
/// # Errors
/// Database errors only.
pub async fn remove_old(db: &PlatformDb) -> DbResult<u64> {
    let mut removed = 0;
    loop {
        // In parts: after a long outage one statement would take longer than a statement may.
        let done = sqlx::query!(
            "DELETE FROM instance_service.operation_events WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM instance_service.operation_events
                  WHERE created_at < clock_timestamp() - interval '30 days' LIMIT 5000))"
        )
        .execute(db.pool())
        .await?;
        removed += done.rows_affected();
        if done.rows_affected() == 0 {
            return Ok(removed);
        }
    }
}
