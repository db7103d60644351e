//! Cancelling an operation, and making way for one that closes access (contract 5 and 11.3, engine 10).
//!
//! Owns: the columns `cancel_*` and `preempted_by`, and the end of operations that were still queued.
//! Leaves to others: how an active operation gives up (the worker), what the instance's row says meanwhile (the caller).

use crate::error::DbResult;
use crate::platform::operation_view::OperationView;
use crate::platform::operations::Operation;
use crate::platform::{PlatformTx, events, journal, record};
use crate::queue;
use domain::ids::{InstanceId, OperationId};
use domain::operation::{Kind, State, cancellable_by_client};
use domain::preemption::{Preemption, absorbed_by_queued, cancels_queued, on_arrival};
use sqlx::types::Json;

/// What became of a request to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CancelOutcome {
    /// It was still queued and is cancelled now.
    Cancelled,
    /// The worker was told; it ends by itself.
    Requested,
    /// It has ended already.
    Finished,
    /// Past its point of no return.
    PastReturn,
    /// This kind cannot be cancelled.
    NotCancellable,
    /// It stands still until an operator decides.
    NeedsAttention,
    /// No such operation.
    Unknown,
}

/// What making way did to the operations of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preempted {
    /// Queued ones, cancelled now. What their acceptance wrote into the instance's row is the caller's to take back.
    pub cancelled: Vec<OperationId>,
    /// The active one, asked to give up.
    pub asked: Option<OperationId>,
    /// One that does the same or more is active or queued: the caller returns it instead of a new one.
    pub absorbed_by: Option<OperationId>,
}

/// Cancels a queued operation, or asks the worker to give up an active one (contract 5). What acceptance wrote into the
/// instance's row is the caller's to take back when the answer is [`CancelOutcome::Cancelled`].
///
/// # Errors
/// Database errors only.
pub async fn request_cancel(tx: &mut PlatformTx, id: OperationId, reason: &str) -> DbResult<CancelOutcome> {
    let Some(operation) = lock(tx, id).await? else { return Ok(CancelOutcome::Unknown) };
    if operation.state.is_final() {
        return Ok(CancelOutcome::Finished);
    }
    if operation.state == State::NeedsAttention {
        return Ok(CancelOutcome::NeedsAttention);
    }
    if !cancellable_by_client(operation.kind, operation.state) {
        return Ok(CancelOutcome::NotCancellable);
    }
    if operation.state == State::Queued {
        cancel_queued(tx, id, reason, None).await?;
        record::wake_head(tx, &operation.scope).await?;
        return Ok(CancelOutcome::Cancelled);
    }
    if operation.past_return {
        return Ok(CancelOutcome::PastReturn);
    }
    ask(tx, &operation, reason, None).await?;
    Ok(CancelOutcome::Requested)
}

/// Makes way for `by`, as the table in `domain::preemption` says. The caller holds the instance's row lock.
///
/// # Errors
/// Database errors only.
pub async fn preempt(tx: &mut PlatformTx, instance: InstanceId, by: Kind) -> DbResult<Preempted> {
    let mut outcome = Preempted::default();
    let reason = format!("makes way for {by}");
    for operation in unfinished(tx, instance).await? {
        let queued = operation.state == State::Queued;
        if operation.state == State::NeedsAttention {
            // It stands still and is in nobody's way; when it goes on, then only backwards.
            if on_arrival(operation.kind, by) == Preemption::GiveUp {
                ask(tx, &operation, &reason, Some(by)).await?;
            }
        } else if queued && absorbed_by_queued(by, operation.kind) {
            outcome.absorbed_by.get_or_insert(operation.id);
        } else if queued && cancels_queued(by, operation.kind) {
            cancel_queued(tx, operation.id, &reason, Some(by)).await?;
            outcome.cancelled.push(operation.id);
        } else if !queued {
            match on_arrival(operation.kind, by) {
                Preemption::Absorbed => outcome.absorbed_by = Some(operation.id),
                Preemption::GiveUp => {
                    ask(tx, &operation, &reason, Some(by)).await?;
                    outcome.asked = Some(operation.id);
                }
                Preemption::LetFinish | Preemption::Queue => {}
            }
        }
    }
    Ok(outcome)
}

/// Asks background work to give way to what somebody waits for, if the table says so.
///
/// # Errors
/// Database errors only.
pub(in crate::platform) async fn give_way(tx: &mut PlatformTx, active: OperationId, to: Kind) -> DbResult<()> {
    if let Some(active) = lock(tx, active).await?
        && matches!(active.state, State::Running | State::Waiting)
        && on_arrival(active.kind, to) == Preemption::GiveUp
    {
        ask(tx, &active, &format!("makes way for {to}"), Some(to)).await?;
    }
    Ok(())
}

/// The operations of an instance that have not ended, in the order in which they are carried out, locked. The caller holds the
/// instance's row lock.
///
/// # Errors
/// Database errors only.
pub(in crate::platform) async fn unfinished(tx: &mut PlatformTx, instance: InstanceId) -> DbResult<Vec<Operation>> {
    let rows = sqlx::query_scalar!(
        r#"SELECT to_jsonb(o) AS "operation!: Json<Operation>" FROM instance_service.operations o
            WHERE o.scope = 'instance:' || $1::uuid AND o.state IN ('running', 'waiting', 'queued', 'needs_attention')
            ORDER BY (o.state = 'queued'), o.priority DESC, o.seq FOR UPDATE"#,
        instance.as_uuid()
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(rows.into_iter().map(|Json(operation)| operation).collect())
}

/// The instance that an operation is about, before anything is locked.
pub(crate) async fn instance_of(tx: &mut PlatformTx, id: OperationId) -> DbResult<Option<InstanceId>> {
    let row = sqlx::query_scalar!("SELECT instance_id FROM instance_service.operations WHERE id = $1", id.as_uuid())
        .fetch_optional(tx.conn())
        .await?;
    Ok(row.flatten().map(InstanceId::from_uuid))
}

pub(crate) async fn lock(tx: &mut PlatformTx, id: OperationId) -> DbResult<Option<Operation>> {
    let row = sqlx::query_scalar!(
        r#"SELECT to_jsonb(o) AS "operation!: Json<Operation>" FROM instance_service.operations o WHERE o.id = $1 FOR UPDATE"#,
        id.as_uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|Json(operation)| operation))
}

/// A queued operation has done nothing: it ends here and now.
async fn cancel_queued(tx: &mut PlatformTx, id: OperationId, reason: &str, by: Option<Kind>) -> DbResult<()> {
    let Json(operation) = sqlx::query_scalar!(
        r#"UPDATE instance_service.operations o
              SET state = 'cancelled', cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()), cancel_reason = $2,
                  preempted_by = $3, finished_at = clock_timestamp()
            WHERE id = $1 RETURNING to_jsonb(o) AS "operation!: Json<Operation>""#,
        id.as_uuid(),
        reason,
        by.map(Kind::as_str)
    )
    .fetch_one(tx.conn())
    .await?;
    events::tell(tx, id, None, &OperationView::new(&operation, &[], None)).await
}

/// Tells the lease holder, which reads it with its next renewal; one that waits is made due and woken.
async fn ask(tx: &mut PlatformTx, operation: &Operation, reason: &str, by: Option<Kind>) -> DbResult<()> {
    let Json(asked) = sqlx::query_scalar!(
        r#"UPDATE instance_service.operations o
              SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()),
                  cancel_reason = CASE WHEN cancel_requested_at IS NULL OR $3::text IS NOT NULL THEN $2 ELSE cancel_reason END,
                  preempted_by = coalesce($3, preempted_by),
                  next_run_at = CASE WHEN state = 'waiting' AND direction = 'forward' AND NOT past_return
                                     THEN least(next_run_at, clock_timestamp()) ELSE next_run_at END
            WHERE id = $1 RETURNING to_jsonb(o) AS "operation!: Json<Operation>""#,
        operation.id.as_uuid(),
        reason,
        by.map(Kind::as_str)
    )
    .fetch_one(tx.conn())
    .await?;
    let entries = journal::of(tx.conn(), asked.id).await?;
    events::tell(tx, asked.id, None, &OperationView::new(&asked, &entries, None)).await?;
    if asked.state == State::Waiting {
        queue::wake(tx, &[asked.id]).await?;
    }
    Ok(())
}
