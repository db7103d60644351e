//! What an operator decides about an operation that needs attention (engine 8): go on, take back, or leave it at that.
//!
//! Owns: the three decisions and their audit rows. Leaves to others: carrying them out (the worker), closing such an
//! operation because its instance is deleted (`record`).

use crate::error::{DbError, DbResult};
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::operation_view::OperationView;
use crate::platform::operations::Operation;
use crate::platform::{PlatformTx, acceptance, backups, cancellation, events, instances, journal, record, templates};
use crate::queue;
use domain::ids::OperationId;
use domain::operation::{Kind, State};
use sqlx::types::Json;

/// What an operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Try again from the first unfinished step, the way it was going.
    Retry,
    /// Take back what was started.
    Undo,
    /// It was put right by hand: close it.
    Resolve,
}

impl Decision {
    const fn action(self) -> &'static str {
        match self {
            Self::Retry => "attention_retry",
            Self::Undo => "attention_undo",
            Self::Resolve => "attention_resolve",
        }
    }
}

const RESOLVED: &str = "Resolved by an operator";

/// What became of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Decided {
    /// It is carried out.
    Done,
    /// The operation is in another state and needs no decision.
    InState(State),
    /// This kind only ever goes forward.
    NeverUndone(Kind),
    /// Another operation of the same instance is at work; the caller rolls back.
    Busy,
    /// No such operation.
    Unknown,
}

/// Carries a decision out, in the caller's transaction.
///
/// # Errors
/// Database errors only.
pub async fn decide(tx: &mut PlatformTx, id: OperationId, decision: Decision, by: &AuditContext) -> DbResult<Decided> {
    // The row before the operation, in the order of every use case.
    let instance = match cancellation::instance_of(tx, id).await? {
        Some(instance) => instances::lock(tx, instance).await?,
        None => None,
    };
    let Some(operation) = cancellation::lock(tx, id).await? else { return Ok(Decided::Unknown) };
    if operation.state != State::NeedsAttention {
        return Ok(Decided::InState(operation.state));
    }
    if decision == Decision::Undo && operation.kind.is_forward_only() {
        return Ok(Decided::NeverUndone(operation.kind));
    }
    let changed = match decision {
        Decision::Resolve => close(tx, id).await,
        Decision::Retry | Decision::Undo => reopen(tx, id, decision == Decision::Undo).await,
    };
    let changed = match changed {
        Err(DbError::Constraint { constraint }) if constraint == "operations_one_active" => return Ok(Decided::Busy),
        other => other?,
    };
    tell(tx, &changed, decision, by).await?;
    match decision {
        Decision::Resolve => {
            // The row must not wait for an operation that is over.
            if let (Kind::Provision, Some(instance)) = (changed.kind, &instance) {
                acceptance::take_back_provision(tx, instance, id, RESOLVED, by).await?;
            }
            templates::give_up(tx, id).await?;
            backups::fail(tx, id, backups::UNFINISHED).await?;
            record::wake_head(tx, &changed.scope).await?;
        }
        Decision::Retry | Decision::Undo => drop(queue::wake(tx, &[id]).await?),
    }
    Ok(Decided::Done)
}

/// Takes back what stopped half-way in a scope whose access is closed for good: it gives way to the operation `by`.
pub(crate) async fn undo_what_gave_way(tx: &mut PlatformTx, scope: &str) -> DbResult<()> {
    let stopped = sqlx::query_scalar!(
        "SELECT id FROM instance_service.operations
          WHERE scope = $1 AND state = 'needs_attention' AND preempted_by IS NOT NULL ORDER BY seq LIMIT 1 FOR UPDATE",
        scope
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(id) = stopped.map(OperationId::from_uuid) else { return Ok(()) };
    let operation = reopen(tx, id, true).await?;
    let journal = journal::of(tx.conn(), id).await?;
    events::tell(tx, id, None, &OperationView::new(&operation, &journal, None)).await?;
    queue::wake(tx, &[id]).await.map(drop)
}

/// All counts begin anew, and so do the time limits: the next claim sets that of the whole. On the way back it stays known what it
/// failed of, unless it was cancelled: then it did not fail.
async fn reopen(tx: &mut PlatformTx, id: OperationId, undo: bool) -> DbResult<Operation> {
    sqlx::query!(
        "UPDATE instance_service.operation_steps
            SET attempt = 0, lost_seconds = extract(epoch FROM clock_timestamp() - started_at)
          WHERE operation_id = $1 AND status IN ('started', 'failed')",
        id.as_uuid()
    )
    .execute(tx.conn())
    .await?;
    let Json(operation) = sqlx::query_scalar!(
        r#"UPDATE instance_service.operations o
              SET state = 'waiting', direction = CASE WHEN $2 THEN 'undo' ELSE direction END, claims = 0, attempts = 0,
                  next_run_at = clock_timestamp(), unreachable_since = NULL,
                  error = CASE WHEN cancel_requested_at IS NULL AND ($2 OR direction = 'undo') THEN error END,
                  deadline_at = NULL, started_at = NULL
            WHERE id = $1 RETURNING to_jsonb(o) AS "operation!: Json<Operation>""#,
        id.as_uuid(),
        undo
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(operation)
}

async fn close(tx: &mut PlatformTx, id: OperationId) -> DbResult<Operation> {
    let Json(operation) = sqlx::query_scalar!(
        r#"UPDATE instance_service.operations o
              SET state = 'cancelled', finished_at = clock_timestamp(), cancel_reason = $2, current_step = NULL
            WHERE id = $1 RETURNING to_jsonb(o) AS "operation!: Json<Operation>""#,
        id.as_uuid(),
        RESOLVED
    )
    .fetch_one(tx.conn())
    .await?;
    journal::forget_sealed(tx, id).await?;
    Ok(operation)
}

async fn tell(tx: &mut PlatformTx, operation: &Operation, decision: Decision, by: &AuditContext) -> DbResult<()> {
    let journal = journal::of(tx.conn(), operation.id).await?;
    events::tell(tx, operation.id, None, &OperationView::new(operation, &journal, None)).await?;
    let entry = Entry {
        action: decision.action(),
        instance_id: operation.instance_id,
        operation_id: Some(operation.id),
        from: None,
        to: None,
        details: serde_json::json!({}),
    };
    audit::record(tx, by, &entry).await
}
