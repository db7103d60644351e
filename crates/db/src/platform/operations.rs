//! Operations as rows: accepting, reading, cancelling and pre-empting them (contract 5 and 11, engine 5, 6 and 10).
//!
//! Owns: the row types, acceptance into the queue of a scope, and everything the API may do to an operation.
//! Leaves to others: claiming and walking one (`engine`), its journal (`journal`), what clients see of it (`view`).

use crate::error::DbResult;
use crate::platform::audit::AuditContext;
use crate::platform::journal::JournalStep;
use crate::platform::{PlatformDb, PlatformTx};
use chrono::{DateTime, Utc};
use domain::ids::{InstanceId, OperationId, ServerId};
use domain::operation::{Class, Direction, Kind, State};
use domain::version::OdooVersion;
use serde_json::Value;

/// What an operation has to itself while it is active: at most one active operation each (engine 10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One instance.
    Instance(InstanceId),
    /// One template build.
    Template {
        /// Server that will hold it.
        server: ServerId,
        /// Odoo version.
        version: OdooVersion,
        /// With demo data.
        demo: bool,
    },
    /// Nothing but itself: kinds that change no instance (contract 11.2).
    Own,
}

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
    /// Higher goes first within the scope and in the transport.
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
#[derive(Clone, Debug)]
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
    pub cancel_requested_at: Option<DateTime<Utc>>,
    pub cancel_reason: Option<String>,
    pub preempted_by: Option<Kind>,
    pub past_return: bool,
    pub wake_no: i32,
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

/// One step of the saga, written when the operation is first claimed, so that clients see what is still to come.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PlannedStep {
    /// Name of the step.
    pub name: String,
    /// Where it acts.
    pub place: domain::operation::Place,
    /// Its share of the work.
    pub weight: u32,
}

/// Why something failed: two texts, never a secret in either (engine 8).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
    /// Walking this way.
    pub direction: Option<Direction>,
    /// Of this kind.
    pub kind: Option<Kind>,
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
    /// No such operation.
    Unknown,
}

/// What pre-emption did to the operations of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preempted {
    /// Queued ones, cancelled now.
    pub cancelled: Vec<OperationId>,
    /// The active one, asked to give up.
    pub asked: Option<OperationId>,
    /// An equal or stronger one is active or queued: the caller returns it instead of a new one.
    pub absorbed_by: Option<OperationId>,
}

/// Accepts an operation in the caller's transaction: row, event and first wake-up. The caller holds the instance's row lock.
///
/// # Errors
/// Database errors only.
pub async fn enqueue(_tx: &mut PlatformTx, _new: NewOperation, _by: &AuditContext) -> DbResult<Enqueued> {
    todo!()
}
/// One operation.
///
/// # Errors
/// Database errors only.
pub async fn get(_db: &PlatformDb, _id: OperationId) -> DbResult<Option<Operation>> {
    todo!()
}
/// A page of operations, newest first.
///
/// # Errors
/// Database errors only.
pub async fn list(_db: &PlatformDb, _filter: &Filter) -> DbResult<Page> {
    todo!()
}
/// The journal of one operation, in step order.
///
/// # Errors
/// Database errors only.
pub async fn steps(_db: &PlatformDb, _id: OperationId) -> DbResult<Vec<JournalStep>> {
    todo!()
}
/// Position in the queue of its scope, from 1; `None` unless queued.
///
/// # Errors
/// Database errors only.
pub async fn queue_position(_db: &PlatformDb, _id: OperationId) -> DbResult<Option<i64>> {
    todo!()
}
/// Events after `seq`, oldest first.
///
/// # Errors
/// Database errors only.
pub async fn events_after(_db: &PlatformDb, _id: OperationId, _seq: i64, _limit: i64) -> DbResult<Vec<Event>> {
    todo!()
}
/// Cancels a queued operation, or asks the worker to give up an active one (contract 5).
///
/// # Errors
/// Database errors only.
pub async fn request_cancel(_tx: &mut PlatformTx, _id: OperationId, _reason: &str) -> DbResult<CancelOutcome> {
    todo!()
}
/// Makes way for `by` (suspend, terminate or delete), as the table in engine 10 says. The caller holds the instance's row lock.
///
/// # Errors
/// Database errors only.
pub async fn preempt(_tx: &mut PlatformTx, _instance: InstanceId, _by: Kind) -> DbResult<Preempted> {
    todo!()
}
/// The active operation of an instance, else the next in its queue.
///
/// # Errors
/// Database errors only.
pub async fn active_or_next(_db: &PlatformDb, _instance: InstanceId) -> DbResult<Option<Operation>> {
    todo!()
}
/// The same, inside a transaction.
///
/// # Errors
/// Database errors only.
pub async fn active_or_next_tx(_tx: &mut PlatformTx, _instance: InstanceId) -> DbResult<Option<Operation>> {
    todo!()
}
