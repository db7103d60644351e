//! Operations as rows: accepting and reading them (contract 5 and 11, engine 5 and 6).
//!
//! Owns: the row types, acceptance into the queue of a scope, the queries of the API.
//! Leaves to others: cancelling and making way (`cancellation`), claiming (`claims`), the lease holder's writes (`record`),
//! what clients see (`operation_view`).
//!
//! Rows travel as one JSON value (`to_jsonb`) that is read by column name: the list of columns exists once, here.

pub(in crate::platform) use crate::platform::cancellation::unfinished;
pub use crate::platform::cancellation::{CancelOutcome, Preempted, preempt, request_cancel};
pub use crate::platform::events::{Event, events_after};
pub use crate::platform::journal::steps;
use crate::platform::readers::ask;
pub use domain::scope::Scope;

use crate::error::DbResult;
use crate::platform::audit::AuditContext;
use crate::platform::operation_view::OperationView;
use crate::platform::{LockClass, PlatformDb, PlatformTx, cancellation, events};
use crate::queue;
use chrono::{DateTime, Utc};
use domain::ids::{InstanceId, OperationId};
use domain::operation::{Class, Direction, Kind, Place, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgExecutor;
use sqlx::types::Json;
use std::collections::HashMap;
use std::time::Duration;
use uuid::Uuid;

/// Most operations that may wait in one scope (contract 11.2).
pub const QUEUE_LIMIT: i64 = 10;

/// As many unfinished operations of one customer and class are woken when they are accepted; what comes on top waits for the
/// sweeper.
const FLOOD: i64 = 8;

/// An operation to be accepted.
#[derive(Clone, Debug)]
pub struct NewOperation {
    /// Chosen by the caller, so that after a lost COMMIT answer it can look for it (engine 6).
    pub id: OperationId,
    /// What it has to itself.
    pub scope: Scope,
    /// The instance it is about, if any.
    pub instance_id: Option<InstanceId>,
    /// What it does.
    pub kind: Kind,
    /// Ids and choices only; never a secret.
    pub params: Value,
    /// Higher goes first within the scope and in the transport; of what closes access never below what the kind has by itself.
    pub priority: i16,
    /// Why, in the caller's words.
    pub reason: Option<String>,
    /// W3C trace context of the request.
    pub trace_parent: Option<String>,
}

/// What became of a [`NewOperation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Enqueued {
    /// A new row.
    Accepted(OperationId),
    /// An equal operation is last in the queue: this request joined it (contract 11.2).
    Joined(OperationId),
    /// Ten are waiting already; nothing was written.
    QueueFull,
}

/// A stored operation.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are the columns of the table, explained in the migration")]
pub struct Operation {
    pub id: OperationId,
    pub scope: String,
    pub instance_id: Option<InstanceId>,
    pub seq: i64,
    pub kind: Kind,
    pub class: Class,
    pub def_version: i32,
    pub params: Value,
    pub state: State,
    pub direction: Direction,
    pub priority: i16,
    pub lease_token: Option<i64>,
    pub claims: i32,
    pub attempts: i32,
    pub max_attempts: i32,
    pub next_run_at: DateTime<Utc>,
    pub deadline_at: Option<DateTime<Utc>>,
    pub unreachable_since: Option<DateTime<Utc>>,
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub cancel_reason: Option<String>,
    pub preempted_by: Option<Kind>,
    pub past_return: bool,
    pub wake_no: i32,
    pub write_no: i64,
    pub plan: Vec<PlannedStep>,
    pub percent: i16,
    pub current_step: Option<String>,
    pub error: Option<Fault>,
    pub result: Option<Value>,
    pub trace_parent: Option<String>,
    pub request_id: Option<String>,
    pub door: String,
    pub actor: String,
    pub reason: Option<String>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

impl Operation {
    /// Whether the row of its instance shows nothing of it, and nobody's request is put off by it: the platform's own work beside an instance,
    /// and a backup by schedule that has not begun.
    pub(in crate::platform) fn is_aside(&self) -> bool {
        self.kind.is_background()
            || self.kind == Kind::Backup && self.state == State::Queued && self.params["origin"] == "scheduled"
    }
}

/// One step of the saga, written when the operation is first claimed, so that clients see what is still to come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Name of the step.
    pub name: String,
    /// Where it acts.
    pub place: Place,
    /// Its share of the work.
    pub weight: u32,
}

/// Why something failed: two texts, never a secret in either (engine 8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Machine-readable word.
    pub code: String,
    /// For the customer.
    pub message: String,
    /// For us, with the cause.
    #[serde(default)]
    pub cause: String,
}

/// Which operations to list.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Of this instance.
    pub instance_id: Option<InstanceId>,
    /// In one of these stored states; empty means any.
    pub states: Vec<State>,
    /// Walking this way. Needing attention counts as both: clients see it as undoing, whichever way it went.
    pub direction: Option<Direction>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// Only those that are shown to customers ([`Kind::is_shown_to_customers`]).
    pub shown_to_customers: bool,
    /// How many to skip.
    pub offset: i64,
    /// How many at most.
    pub limit: i64,
}

/// One page, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The operations.
    pub operations: Vec<Operation>,
    /// How many match in all.
    pub total: i64,
}

/// Accepts an operation in the caller's transaction: row, event and, if its turn has come, the first wake-up. For an
/// instance's scope the caller holds the instance's row lock: it makes `seq` follow the order of commits.
///
/// # Errors
/// Database errors only.
pub async fn enqueue(tx: &mut PlatformTx, new: NewOperation, by: &AuditContext) -> DbResult<Enqueued> {
    let scope = new.scope.to_string();
    if !new.kind.is_forward_only() {
        let queue = queue_of(tx, &scope).await?;
        if let Some(last) = queue.last.filter(|last| new.kind.is_joinable() && last.kind == new.kind && last.params == new.params)
        {
            return Ok(Enqueued::Joined(last.id));
        }
        if queue.length >= QUEUE_LIMIT {
            return Ok(Enqueued::QueueFull);
        }
        if let Some(active) = queue.active {
            cancellation::give_way(tx, active, new.kind).await?;
        }
    }
    let operation = insert(tx, &new, &scope, by).await?;
    let position = position_of(tx.conn(), operation.id).await?;
    events::tell(tx, operation.id, None, &OperationView::new(&operation, &[], position)).await?;
    if is_ready(tx, operation.id).await? && !is_flood(tx, &operation).await? {
        queue::wake(tx, &[operation.id]).await?;
    }
    Ok(Enqueued::Accepted(operation.id))
}

struct Queue {
    length: i64,
    last: Option<Operation>,
    /// What is at work beside the instance.
    active: Option<OperationId>,
}

async fn queue_of(tx: &mut PlatformTx, scope: &str) -> DbResult<Queue> {
    let row = sqlx::query!(
        r#"SELECT count(*) AS "length!",
                  (SELECT to_jsonb(l) FROM instance_service.operations l
                    WHERE l.scope = $1 AND l.state = 'queued' ORDER BY l.seq DESC LIMIT 1) AS "last: Json<Operation>",
                  (SELECT a.id FROM instance_service.operations a
                    WHERE a.scope = $1 AND a.state IN ('running', 'waiting')
                      AND a.kind IN ('verify_backup', 'forget_replaced', 'prune_backups') LIMIT 1) AS active
             FROM instance_service.operations o WHERE o.scope = $1 AND o.state = 'queued'"#,
        scope
    )
    .fetch_one(tx.conn())
    .await?;
    let active = row.active.map(OperationId::from_uuid);
    Ok(Queue { length: row.length, last: row.last.map(|Json(last)| last), active })
}

async fn insert(tx: &mut PlatformTx, new: &NewOperation, scope: &str, by: &AuditContext) -> DbResult<Operation> {
    let Json(operation) = sqlx::query_scalar!(
        r#"INSERT INTO instance_service.operations AS o (id, scope, instance_id, kind, class, def_version, params, priority,
                                                         trace_parent, request_id, door, actor, reason)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
           RETURNING to_jsonb(o) AS "operation!: Json<Operation>""#,
        new.id.as_uuid(),
        scope,
        new.instance_id.map(|id| id.as_uuid()),
        new.kind.as_str(),
        new.kind.class().as_str(),
        new.kind.def_version(),
        new.params,
        if new.kind.is_forward_only() { new.priority.max(new.kind.priority()) } else { new.priority },
        new.trace_parent,
        by.request_id,
        by.door.as_str(),
        by.actor,
        new.reason
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(operation)
}

/// Whether the customer has so much to do already that another wake-up would only stand in the way of other customers': the
/// sweeper wakes it when the customer's share has room. Closing access never waits for that.
async fn is_flood(tx: &mut PlatformTx, operation: &Operation) -> DbResult<bool> {
    let Some(instance) = operation.instance_id.filter(|_| !operation.kind.is_forward_only()) else { return Ok(false) };
    let under_way = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT FROM instance_service.operations o JOIN public.instances i ON i.id = o.instance_id
                WHERE i.customer_id = (SELECT customer_id FROM public.instances WHERE id = $1)
                  AND o.class = $2 AND o.state IN ('queued', 'running', 'waiting') AND o.id <> $3 LIMIT $4) AS busy"#,
        instance.as_uuid(),
        operation.class.as_str(),
        operation.id.as_uuid(),
        FLOOD
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(under_way >= FLOOD)
}

async fn is_ready(tx: &mut PlatformTx, id: OperationId) -> DbResult<bool> {
    let ready = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM instance_service.operations_ready WHERE id = $1) AS "ready!""#,
        id.as_uuid()
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(ready)
}

/// One operation.
///
/// # Errors
/// Database errors only.
pub async fn get(db: &PlatformDb, id: OperationId) -> DbResult<Option<Operation>> {
    Ok(ask!(db, connection => find(&mut *connection, id)))
}

pub(crate) async fn find(executor: impl PgExecutor<'_>, id: OperationId) -> sqlx::Result<Option<Operation>> {
    let row = sqlx::query_scalar!(
        r#"SELECT to_jsonb(o) AS "operation!: Json<Operation>" FROM instance_service.operations o WHERE o.id = $1"#,
        id.as_uuid()
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|Json(operation)| operation))
}

/// Erases what a finished operation has fetched, once it was read: a tenant's log lines are nobody's to keep.
///
/// # Errors
/// Database errors only.
pub async fn forget_fetched(db: &PlatformDb, id: OperationId) -> DbResult<()> {
    sqlx::query!(
        "WITH fetched AS (
             UPDATE instance_service.operations SET result = NULL
              WHERE id = $1 AND kind = 'fetch_logs' AND finished_at IS NOT NULL RETURNING id),
         steps AS (
             UPDATE instance_service.operation_steps s SET output = NULL FROM fetched f WHERE s.operation_id = f.id)
         DELETE FROM instance_service.operation_events e USING fetched f WHERE e.operation_id = f.id",
        id.as_uuid()
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Removes operations that only fetched logs and ended longer ago than `age`, with journal, events and lease, read or not; says
/// how many.
///
/// # Errors
/// Database errors only.
pub async fn remove_fetched(db: &PlatformDb, age: Duration) -> DbResult<u64> {
    let done = sqlx::query!(
        "WITH gone AS (
             DELETE FROM instance_service.operations
              WHERE kind = 'fetch_logs' AND finished_at <= clock_timestamp() - make_interval(secs => $1)
          RETURNING scope)
         DELETE FROM instance_service.leases l USING gone WHERE l.resource = gone.scope",
        age.as_secs_f64()
    )
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected())
}

/// A page of operations, newest first.
///
/// # Errors
/// Database errors only.
pub async fn list(db: &PlatformDb, filter: &Filter) -> DbResult<Page> {
    let states: Vec<String> = filter.states.iter().map(|state| state.as_str().to_owned()).collect();
    let page = ask!(db, connection => sqlx::query!(
        r#"WITH matching AS NOT MATERIALIZED (
               SELECT o.* FROM instance_service.operations o
                WHERE ($1::uuid IS NULL OR o.instance_id = $1)
                  AND (cardinality($2::text[]) = 0 OR o.state = ANY($2))
                  AND ($3::text IS NULL OR o.direction = $3 OR o.state = 'needs_attention')
                  AND ($4::text IS NULL OR o.kind = $4)
                  AND (NOT $5 OR o.scope = 'instance:' || o.instance_id OR o.kind = 'export')),
           page AS (SELECT * FROM matching ORDER BY seq DESC OFFSET $6 LIMIT $7)
           SELECT (SELECT count(*) FROM matching) AS "total!",
                  coalesce((SELECT jsonb_agg(to_jsonb(p) ORDER BY p.seq DESC) FROM page p), '[]') AS "operations!: Json<Vec<Operation>>""#,
        filter.instance_id.map(|id| id.as_uuid()),
        &states,
        filter.direction.map(Direction::as_str),
        filter.kind.map(Kind::as_str),
        filter.shown_to_customers,
        filter.offset,
        filter.limit
    ).fetch_one(&mut *connection));
    Ok(Page { operations: page.operations.0, total: page.total })
}

/// Position in the queue of its scope, from 1; `None` unless queued.
pub(crate) async fn position_of(executor: impl PgExecutor<'_>, id: OperationId) -> DbResult<Option<i64>> {
    Ok(positions(executor, &[id.as_uuid()]).await?.remove(&id.as_uuid()))
}

/// The positions of those among them that are queued.
pub(crate) async fn positions(executor: impl PgExecutor<'_>, ids: &[Uuid]) -> sqlx::Result<HashMap<Uuid, i64>> {
    let rows = sqlx::query!(
        r#"SELECT o.id, (SELECT count(*) FROM instance_service.operations q
                          WHERE q.scope = o.scope AND q.state = 'queued'
                            AND (q.priority, -q.seq) >= (o.priority, -o.seq)) AS "position!"
             FROM instance_service.operations o WHERE o.id = ANY ($1) AND o.state = 'queued'"#,
        ids
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.position)).collect())
}

/// The operation of a scope that was accepted last. Whoever decides by it has the decision to itself until the end of the transaction: of many who miss the same template, one orders it.
///
/// # Errors
/// Database errors only.
pub async fn last_of(tx: &mut PlatformTx, scope: &Scope) -> DbResult<Option<Operation>> {
    tx.lock(LockClass::Scope, &scope.to_string()).await?;
    let row = sqlx::query_scalar!(
        r#"SELECT to_jsonb(o) AS "operation!: Json<Operation>"
             FROM instance_service.operations o WHERE o.scope = $1 ORDER BY o.seq DESC LIMIT 1"#,
        scope.to_string()
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(|Json(operation)| operation))
}
