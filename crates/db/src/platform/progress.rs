//! Operations as those see them who watch: views with their steps, and the events of many operations at once.
//!
//! Owns: reading for the API. Leaves to others: every write (`operations`, `cancellation`, `record`), the projection
//! itself (`operation_view`).

use crate::error::DbResult;
use crate::platform::events::Event;
use crate::platform::journal::{self, JournalStep};
use crate::platform::operation_view::OperationView;
use crate::platform::operations::{self, Operation};
use crate::platform::readers::ask;
use crate::platform::{PlatformDb, PlatformTx};
use domain::ids::OperationId;
use sqlx::types::Json;
use std::collections::HashMap;
use uuid::Uuid;

/// How far one reader has come in the stream of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The operation.
    pub id: OperationId,
    /// The last event that the reader has.
    pub after: i64,
}

/// The next events behind each cursor, at most `limit` each, with the index of the cursor; ordered by index, then by event.
///
/// # Errors
/// Database errors only.
pub async fn events_after_each(db: &PlatformDb, cursors: &[Cursor], limit: i64) -> DbResult<Vec<(usize, Event)>> {
    let ids: Vec<Uuid> = cursors.iter().map(|cursor| cursor.id.as_uuid()).collect();
    let after: Vec<i64> = cursors.iter().map(|cursor| cursor.after).collect();
    let rows = ask!(db, connection => sqlx::query!(
        r#"SELECT reader.n AS "n!", e.seq, e.event, e.data
             FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS reader (id, after, n)
            CROSS JOIN LATERAL (SELECT seq, event, data FROM instance_service.operation_events
                                 WHERE operation_id = reader.id AND seq > reader.after
                                 ORDER BY seq LIMIT $3) e
            ORDER BY reader.n, e.seq"#,
        &ids,
        &after,
        limit
    ).fetch_all(&mut *connection));
    let index = |n: i64| usize::try_from(n - 1).unwrap_or(usize::MAX);
    Ok(rows.into_iter().map(|row| (index(row.n), Event { seq: row.seq, event: row.event, data: row.data })).collect())
}

/// Number of the newest event of an operation, 0 when it has none.
///
/// # Errors
/// Database errors only.
pub async fn newest_event(db: &PlatformDb, id: OperationId) -> DbResult<i64> {
    let seq = ask!(db, connection => sqlx::query_scalar!("SELECT max(seq) FROM instance_service.operation_events WHERE operation_id = $1", id.as_uuid()).fetch_one(&mut *connection));
    Ok(seq.unwrap_or(0))
}

/// One operation with its steps.
///
/// # Errors
/// Database errors only.
pub async fn view(db: &PlatformDb, id: OperationId) -> DbResult<Option<OperationView>> {
    let mut tx = db.begin().await?;
    view_tx(&mut tx, id).await
}

/// The same, inside a transaction.
///
/// # Errors
/// Database errors only.
pub async fn view_tx(tx: &mut PlatformTx, id: OperationId) -> DbResult<Option<OperationView>> {
    let Some(operation) = operations::find(tx.conn(), id).await? else { return Ok(None) };
    let steps = journal::of(tx.conn(), id).await?;
    let position = operations::position_of(tx.conn(), id).await?;
    Ok(Some(OperationView::new(&operation, &steps, position)))
}

/// Operations with their steps, in the order given: two queries, however many there are.
///
/// # Errors
/// Database errors only.
pub async fn views(db: &PlatformDb, operations: &[Operation]) -> DbResult<Vec<OperationView>> {
    let ids: Vec<Uuid> = operations.iter().map(|operation| operation.id.as_uuid()).collect();
    let mut steps: HashMap<OperationId, Vec<JournalStep>> = HashMap::new();
    let entries = ask!(db, connection => sqlx::query_scalar!(
        r#"SELECT to_jsonb(s) AS "entry!: Json<JournalStep>" FROM instance_service.operation_steps s
            WHERE s.operation_id = ANY ($1) ORDER BY s.position, s.phase"#,
        &ids
    ).fetch_all(&mut *connection));
    for Json(entry) in entries {
        steps.entry(entry.operation_id).or_default().push(entry);
    }
    let positions = ask!(db, connection => operations::positions(&mut *connection, &ids));
    let steps_of = |id| steps.get(&id).map_or(&[][..], Vec::as_slice);
    let position_of = |id: OperationId| positions.get(&id.as_uuid()).copied();
    Ok(operations.iter().map(|o| OperationView::new(o, steps_of(o.id), position_of(o.id))).collect())
}
