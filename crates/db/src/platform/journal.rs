//! The journal: what each step of an operation did, in each direction (engine 9).

use crate::error::DbResult;
use crate::platform::PlatformDb;
use crate::platform::operations::Fault;
use chrono::{DateTime, Utc};
use domain::ids::{InstanceId, OperationId};
use domain::operation::{Kind, Place, StepStatus};
use serde_json::Value;

domain::words! {
    /// Direction of a journal entry.
    Phase {
        /// The effect.
        Apply = "apply",
        /// Taking it back.
        Undo = "undo",
    }
}

/// One journal entry: a step in one direction.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are the columns of the table")]
pub struct JournalStep {
    pub operation_id: OperationId,
    pub step: String,
    pub phase: Phase,
    pub step_version: i32,
    pub position: i16,
    pub place: Place,
    pub status: StepStatus,
    pub attempt: i32,
    pub output: Option<Value>,
    pub error: Option<Fault>,
    pub lease_token: i64,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// Every journal entry of every operation of an instance, oldest first: what a delete works from (engine 9, rule 6).
///
/// # Errors
/// Database errors only.
pub async fn of_instance(_db: &PlatformDb, _instance: InstanceId) -> DbResult<Vec<(Kind, JournalStep)>> {
    todo!()
}
