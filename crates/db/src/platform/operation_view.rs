//! What clients see of an operation (contract 5): one projection for the answers and for the event stream.

use crate::platform::journal::{JournalStep, Phase};
use crate::platform::operations::{Fault, Operation, PlannedStep};
use chrono::{DateTime, Utc};
use domain::operation::{Direction, Kind, Place, State, StepStatus};
use serde::{Deserialize, Serialize};
use serde_json::Value;

domain::words! {
    /// State of an operation, in the clients' words.
    PublicState {
        /// Its turn has not come.
        Queued = "queued",
        /// Under way, or waiting for something.
        Running = "running",
        /// Taking back what was done.
        Compensating = "compensating",
        /// Done.
        Succeeded = "succeeded",
        /// Failed and fully undone.
        Failed = "failed",
        /// Cancelled and fully undone.
        Cancelled = "cancelled",
    }
}

domain::words! {
    /// State of a step, in the clients' words.
    StepState {
        /// Still to come.
        Pending = "pending",
        /// Under way.
        Running = "running",
        /// Done.
        Done = "done",
        /// Not needed.
        Skipped = "skipped",
        /// Failed; it may be tried again.
        Failed = "failed",
        /// Being taken back.
        Undoing = "undoing",
        /// Taken back.
        Undone = "undone",
    }
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestedBy {
    /// Through which door.
    pub door: String,
    /// Who.
    pub actor: String,
}

/// Why something failed, in words for the customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicFault {
    /// Machine-readable word.
    pub code: String,
    /// The words.
    pub message: String,
}

/// An operation as clients see it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of contract 5")]
pub struct OperationView {
    pub id: uuid::Uuid,
    pub kind: Kind,
    pub state: PublicState,
    pub instance_id: Option<uuid::Uuid>,
    pub requested_by: RequestedBy,
    pub reason: Option<String>,
    pub percent: i16,
    pub current_step: Option<String>,
    pub attempts: i32,
    pub max_attempts: i32,
    pub queue_position: Option<i64>,
    pub cancel_requested: bool,
    pub error: Option<PublicFault>,
    pub result: Option<Value>,
    #[serde(serialize_with = "domain::times::serialize")]
    pub created_at: DateTime<Utc>,
    #[serde(serialize_with = "domain::times::serialize_option")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "domain::times::serialize_option")]
    pub finished_at: Option<DateTime<Utc>>,
    pub steps: Vec<StepView>,
}

/// A step as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of contract 5")]
pub struct StepView {
    pub name: String,
    pub state: StepState,
    pub server: Place,
    pub attempts: i32,
    #[serde(serialize_with = "domain::times::serialize_option")]
    pub started_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "domain::times::serialize_option")]
    pub finished_at: Option<DateTime<Utc>>,
    pub duration_ms: Option<i64>,
    pub error: Option<PublicFault>,
}

impl From<&Fault> for PublicFault {
    fn from(fault: &Fault) -> Self {
        Self { code: fault.code.clone(), message: fault.message.clone() }
    }
}

impl OperationView {
    /// The operation with its journal. `queue_position` counts from 1 and is given for queued ones only.
    pub fn new(operation: &Operation, journal: &[JournalStep], queue_position: Option<i64>) -> Self {
        Self {
            id: operation.id.as_uuid(),
            kind: operation.kind,
            state: public_state(operation),
            instance_id: operation.instance_id.map(|id| id.as_uuid()),
            requested_by: RequestedBy { door: operation.door.clone(), actor: operation.actor.clone() },
            reason: operation.reason.clone(),
            percent: operation.percent,
            current_step: operation.current_step.clone(),
            attempts: operation.attempts,
            max_attempts: operation.max_attempts,
            queue_position,
            cancel_requested: operation.cancel_requested_at.is_some(),
            error: operation.error.as_ref().map(PublicFault::from),
            // What was fetched is the requester's alone, who reads it from the row.
            result: operation.result.clone().filter(|_| operation.kind != Kind::FetchLogs),
            created_at: operation.created_at,
            started_at: operation.started_at,
            finished_at: operation.finished_at,
            steps: operation.plan.iter().map(|planned| StepView::new(planned, operation.state, journal)).collect(),
        }
    }
}

/// Waiting is an inner state; undoing and needing attention are both shown as compensating (engine 5).
fn public_state(operation: &Operation) -> PublicState {
    match (operation.state, operation.direction) {
        (State::Queued, _) => PublicState::Queued,
        (State::Succeeded, _) => PublicState::Succeeded,
        (State::Failed, _) => PublicState::Failed,
        (State::Cancelled, _) => PublicState::Cancelled,
        (State::NeedsAttention, _) | (State::Running | State::Waiting, Direction::Undo) => PublicState::Compensating,
        (State::Running | State::Waiting, Direction::Forward) => PublicState::Running,
    }
}

impl StepView {
    pub(crate) fn new(planned: &PlannedStep, state: State, journal: &[JournalStep]) -> Self {
        let entry = |phase| journal.iter().find(|entry| entry.step == planned.name && entry.phase == phase);
        let (apply, undo) = (entry(Phase::Apply), entry(Phase::Undo));
        let last = undo.or(apply);
        let started_at = apply.map(|entry| entry.started_at);
        let finished_at = last.and_then(|entry| entry.finished_at);
        Self {
            name: planned.name.clone(),
            state: step_state(apply, undo, state),
            server: planned.place,
            attempts: apply.map_or(0, |entry| entry.attempt + i32::from(entry.status != StepStatus::Failed)),
            started_at,
            finished_at,
            duration_ms: started_at.zip(finished_at).map(|(from, to)| (to - from).num_milliseconds()),
            error: last.and_then(|entry| entry.error.as_ref()).map(PublicFault::from),
        }
    }
}

fn step_state(apply: Option<&JournalStep>, undo: Option<&JournalStep>, operation: State) -> StepState {
    match (apply.map(|entry| entry.status), undo.map(|entry| entry.status)) {
        (_, Some(StepStatus::Done | StepStatus::Skipped)) => StepState::Undone,
        (_, Some(StepStatus::Failed)) if operation == State::NeedsAttention => StepState::Failed,
        (_, Some(StepStatus::Started | StepStatus::Failed)) => StepState::Undoing,
        (None, None) => StepState::Pending,
        (Some(StepStatus::Started), None) => StepState::Running,
        (Some(StepStatus::Done), None) => StepState::Done,
        (Some(StepStatus::Failed), None) => StepState::Failed,
        (Some(StepStatus::Skipped), None) => StepState::Skipped,
    }
}
