//! What the lease holder writes: the journal and the state of its operation, each write fenced by its token (engine 7 and 9).
//!
//! Owns: the one transaction shape behind every such write, and finding out whether a COMMIT without an answer happened.
//! Leaves to others: what to write (the worker), the lease itself (`leases`, `claims`).

use crate::error::{DbError, DbResult};
use crate::platform::claims::Fence;
use crate::platform::journal::{JournalStep, Phase};
use crate::platform::operation_view::{OperationView, StepView};
use crate::platform::operations::{self, Fault, Operation};
use crate::platform::{PlatformDb, PlatformTx, attention, backups, events, journal};
use crate::queue;
use domain::ids::OperationId;
use domain::operation::{Direction, Kind, Place, State, StepStatus};
use serde_json::Value;
use sqlx::types::Json;
use std::time::Duration;

/// A new state of one step in one direction.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are the columns of the table")]
pub struct StepWrite {
    pub step: String,
    pub phase: Phase,
    pub step_version: i32,
    pub position: i16,
    pub place: Place,
    pub status: StepStatus,
    pub attempt: i32,
    pub output: Option<Value>,
    pub error: Option<Fault>,
}

/// What becomes of the operation after the write.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// It goes on.
    Continue,
    /// It frees lease and slot and is due again after this time.
    Wait {
        /// How long; at least, where a server is away: the longer it is, the rarer it is looked for.
        after: Duration,
        /// A server is away, and so much time was lost by it: the deadline moves by that and by the wait.
        lost: Option<Duration>,
    },
    /// It stops with everything kept, for an operator.
    Attention,
    /// It is over.
    End {
        /// Succeeded, failed or cancelled.
        state: State,
        /// What a success returns.
        result: Option<Value>,
    },
}

impl Next {
    const fn state(&self) -> State {
        match self {
            Self::Continue => State::Running,
            Self::Wait { .. } => State::Waiting,
            Self::Attention => State::NeedsAttention,
            Self::End { state, .. } => *state,
        }
    }
}

/// One write of the lease holder.
#[derive(Clone, Debug)]
pub struct Write {
    /// The step it is about.
    pub step: Option<StepWrite>,
    /// Which way the saga is walked.
    pub direction: Direction,
    /// Whole attempts used.
    pub attempts: i32,
    /// Share of the work done.
    pub percent: i16,
    /// From now on a cancel is no longer obeyed, unless one was requested already.
    pub past_return: bool,
    /// Why it turned back or stopped.
    pub error: Option<Fault>,
    /// Something was achieved or decided, so the worker was not killed by it: the count of silent claims starts anew.
    pub outcome: bool,
    /// What follows.
    pub next: Next,
}

/// What a write left behind.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The row.
    pub operation: Operation,
    /// The journal.
    pub journal: Vec<JournalStep>,
    /// The right to write, as it is after the commit.
    pub fence: Fence,
}

/// Takes the locks of a fenced transaction, instance first, and reads the row.
///
/// # Errors
/// [`DbError::LeaseLost`] if the operation has another token by now.
pub async fn lock(tx: &mut PlatformTx, fence: &Fence, operation: &Operation) -> DbResult<Operation> {
    if let Some(instance) = operation.instance_id {
        sqlx::query_scalar!("SELECT id FROM public.instances WHERE id = $1 FOR NO KEY UPDATE", instance.as_uuid())
            .fetch_optional(tx.conn())
            .await?;
    }
    let row = sqlx::query_scalar!(
        r#"SELECT to_jsonb(o) AS "operation!: Json<Operation>" FROM instance_service.operations o
            WHERE id = $1 AND lease_token = $2 AND state = 'running' FOR UPDATE"#,
        fence.operation.as_uuid(),
        fence.token
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map(|Json(operation)| operation).ok_or(DbError::LeaseLost)
}

/// Whether the operation still has our token: what is asked before each change on postgres2.
///
/// # Errors
/// [`DbError::LeaseLost`] if it has not.
pub async fn confirm(db: &PlatformDb, fence: &Fence) -> DbResult<()> {
    let ours = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM instance_service.operations o JOIN instance_service.leases l ON l.resource = o.scope
                           WHERE o.id = $1 AND o.lease_token = $2 AND o.state = 'running'
                             AND l.token = $2 AND l.expires_at > clock_timestamp()) AS "ours!""#,
        fence.operation.as_uuid(),
        fence.token
    )
    .fetch_one(db.pool())
    .await?;
    if ours { Ok(()) } else { Err(DbError::LeaseLost) }
}

/// Writes in the caller's transaction: row, journal, events, and what follows from it. `journal` is the journal so far.
///
/// # Errors
/// [`DbError::LeaseLost`] if the operation has another token, or was written by somebody else.
pub async fn write(tx: &mut PlatformTx, fence: &Fence, write: &Write, journal: &[JournalStep]) -> DbResult<Recorded> {
    let (operation, lost) = write_operation(tx, fence, write).await?;
    let mut journal = journal.to_vec();
    let mut told = None;
    if let Some(step) = &write.step {
        let entry = write_step(tx, fence, step, lost).await?;
        journal.retain(|other| (&other.step, other.phase) != (&entry.step, entry.phase));
        journal.push(entry);
        journal.sort_by_key(|entry| (entry.position, entry.phase));
        told =
            operation.plan.iter().find(|planned| planned.name == step.step).map(|p| StepView::new(p, operation.state, &journal));
    }
    events::tell(tx, operation.id, told.as_ref(), &OperationView::new(&operation, &journal, None)).await?;
    follow(tx, &operation, fence, &write.next).await?;
    let fence = Fence { write_no: operation.write_no, ..*fence };
    Ok(Recorded { operation, journal, fence })
}

/// Answers the row, and the seconds lost to a server that is away, those of the wait included.
async fn write_operation(tx: &mut PlatformTx, fence: &Fence, write: &Write) -> DbResult<(Operation, f64)> {
    let (wait, lost) = match write.next {
        Next::Wait { after, lost } => (Some(after.as_secs_f64()), lost.map(|lost| lost.as_secs_f64())),
        _ => (None, None),
    };
    let result = match &write.next {
        Next::End { result, .. } => result.clone(),
        _ => None,
    };
    // What waits for a server looks for it after an eighth of the time that it has been away, at most half a minute, and not all of
    // it at once.
    let row = sqlx::query!(
        r#"WITH outage AS (
               SELECT CASE WHEN $14::float8 IS NOT NULL THEN coalesce(unreachable_since, clock_timestamp())
                           WHEN NOT $11 THEN unreachable_since END AS since
                 FROM instance_service.operations WHERE id = $1),
           pause AS (
               SELECT since, CASE WHEN $14::float8 IS NULL THEN $13::float8
                           ELSE greatest($13, least(30, extract(epoch FROM clock_timestamp() - since) / 8) * (0.75 + random() / 2)) END AS seconds
                 FROM outage)
           UPDATE instance_service.operations o
              SET write_no = o.write_no + 1, state = $4, direction = $5, attempts = $6, percent = $7,
                  past_return = o.past_return OR ($8 AND o.cancel_requested_at IS NULL), error = $9, result = $10,
                  claims = CASE WHEN $11 THEN 0 ELSE o.claims END,
                  current_step = CASE WHEN $4 IN ('succeeded', 'failed', 'cancelled') THEN NULL
                                      WHEN o.plan @> jsonb_build_array(jsonb_build_object('name', $12::text)) THEN $12
                                      ELSE o.current_step END,
                  next_run_at = coalesce(clock_timestamp() + make_interval(secs => pause.seconds), o.next_run_at),
                  unreachable_since = pause.since,
                  deadline_at = o.deadline_at + make_interval(secs => coalesce($14 + pause.seconds, 0)),
                  finished_at = CASE WHEN $4 IN ('succeeded', 'failed', 'cancelled') THEN clock_timestamp() END
             FROM pause
            WHERE id = $1 AND lease_token = $2 AND write_no = $3 AND state = 'running'
        RETURNING to_jsonb(o) AS "operation!: Json<Operation>", coalesce($14 + pause.seconds, 0) AS "lost!"
        "#,
        fence.operation.as_uuid(),
        fence.token,
        fence.write_no,
        write.next.state().as_str(),
        write.direction.as_str(),
        write.attempts,
        write.percent,
        write.past_return,
        write.error.as_ref().map(Json) as _,
        result,
        write.outcome,
        write.step.as_ref().map(|step| step.step.as_str()),
        wait,
        lost
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map(|row| (row.operation.0, row.lost)).ok_or(DbError::LeaseLost)
}

async fn write_step(tx: &mut PlatformTx, fence: &Fence, step: &StepWrite, lost: f64) -> DbResult<JournalStep> {
    let Json(entry) = sqlx::query_scalar!(
        r#"INSERT INTO instance_service.operation_steps AS s
                  (operation_id, step, phase, step_version, position, place, status, attempt, output, error, lease_token, finished_at,
                   lost_seconds)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, CASE WHEN $7 <> 'started' THEN clock_timestamp() END, $12)
           ON CONFLICT (operation_id, step, phase) DO UPDATE
              SET step_version = excluded.step_version, status = excluded.status, attempt = excluded.attempt,
                  output = coalesce(excluded.output, s.output), error = excluded.error, lease_token = excluded.lease_token,
                  finished_at = excluded.finished_at, lost_seconds = s.lost_seconds + excluded.lost_seconds
           RETURNING to_jsonb(s) AS "entry!: Json<JournalStep>""#,
        fence.operation.as_uuid(),
        step.step,
        step.phase.as_str(),
        step.step_version,
        step.position,
        step.place.as_str(),
        step.status.as_str(),
        step.attempt,
        step.output,
        step.error.as_ref().map(Json) as _,
        fence.token,
        lost
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(entry)
}

async fn follow(tx: &mut PlatformTx, operation: &Operation, fence: &Fence, next: &Next) -> DbResult<()> {
    match next {
        Next::Continue => return Ok(()),
        Next::Wait { .. } => {
            queue::wake(tx, &[operation.id]).await?;
        }
        Next::Attention => wake_head(tx, &operation.scope).await?,
        Next::End { state, .. } => {
            journal::forget_sealed(tx, operation.id).await?;
            match (operation.kind, *state) {
                (Kind::Delete, State::Succeeded) => close_attention(tx, operation).await?,
                (Kind::Terminate, State::Succeeded) => attention::undo_what_gave_way(tx, &operation.scope).await?,
                _ => {}
            }
            wake_head(tx, &operation.scope).await?;
        }
    }
    // The lease comes last: it is the last lock in the order that everybody keeps.
    sqlx::query!(
        "UPDATE instance_service.leases SET expires_at = '-infinity' WHERE resource = $1 AND token = $2",
        operation.scope,
        fence.token
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Wakes the head of a scope's queue, if its turn has come.
pub(crate) async fn wake_head(tx: &mut PlatformTx, scope: &str) -> DbResult<()> {
    let head = sqlx::query_scalar!(
        r#"SELECT o.id FROM instance_service.operations o JOIN instance_service.operations_ready r ON r.id = o.id
            WHERE o.scope = $1 AND o.state = 'queued'"#,
        scope
    )
    .fetch_optional(tx.conn())
    .await?;
    if let Some(id) = head {
        queue::wake(tx, &[OperationId::from_uuid(id)]).await?;
    }
    Ok(())
}

/// A delete took over the journals of what needed attention; all of it is gone now (engine 10).
async fn close_attention(tx: &mut PlatformTx, delete: &Operation) -> DbResult<()> {
    let closed = sqlx::query_scalar!(
        r#"UPDATE instance_service.operations o
              SET state = 'cancelled', finished_at = clock_timestamp(), preempted_by = 'delete', current_step = NULL
            WHERE scope = $1 AND state = 'needs_attention' RETURNING to_jsonb(o) AS "operation!: Json<Operation>""#,
        delete.scope
    )
    .fetch_all(tx.conn())
    .await?;
    for Json(operation) in closed {
        journal::forget_sealed(tx, operation.id).await?;
        backups::fail(tx, operation.id, backups::UNFINISHED).await?;
        let journal = journal::of(tx.conn(), operation.id).await?;
        events::tell(tx, operation.id, None, &OperationView::new(&operation, &journal, None)).await?;
    }
    Ok(())
}

/// Finds out whether a write happened whose COMMIT got no answer (engine 6): reconnect and look.
///
/// # Errors
/// [`DbError::LeaseLost`] if somebody else has written since.
pub async fn happened(db: &PlatformDb, before: &Fence) -> DbResult<bool> {
    let operation = operations::find(db.pool(), before.operation).await?.ok_or(DbError::LeaseLost)?;
    match (operation.lease_token == Some(before.token), operation.write_no - before.write_no) {
        (true, 0) => Ok(false),
        (true, 1) => Ok(true),
        _ => Err(DbError::LeaseLost),
    }
}
