//! The operation object (contract 5), for the description of the API. What is sent is `db`'s projection, which is also what
//! the event stream stores; a test holds the two together.

use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// A piece of work on an instance. `job_id` in other answers is the id of one.
#[derive(Debug, ToSchema)]
#[schema(as = Operation)]
#[expect(dead_code, reason = "described here, sent as db's projection")]
pub(crate) struct OperationShape {
    /// Its id.
    id: Uuid,
    /// What it does.
    #[schema(example = "provision")]
    kind: String,
    /// `queued`, `running`, `compensating`, `succeeded`, `failed` or `cancelled`.
    #[schema(example = "running")]
    state: String,
    /// The instance it is about.
    #[schema(required)]
    instance_id: Option<Uuid>,
    /// Who asked for it.
    requested_by: RequestedBy,
    /// Why, in the caller's words.
    #[schema(required)]
    reason: Option<String>,
    /// Done share of the steps; 100 only when succeeded.
    #[schema(minimum = 0, maximum = 100)]
    percent: i16,
    /// The step at work.
    #[schema(required)]
    current_step: Option<String>,
    /// Whole attempts used.
    attempts: i32,
    /// Whole attempts allowed.
    max_attempts: i32,
    /// Place in the queue of the instance, from 1, while queued.
    #[schema(required)]
    queue_position: Option<i64>,
    /// Whether somebody asked for its end.
    cancel_requested: bool,
    /// Why it failed.
    #[schema(required)]
    error: Option<OperationError>,
    /// What came of it.
    #[schema(required, value_type = Option<Object>)]
    result: Option<Value>,
    /// When it was accepted.
    #[schema(format = DateTime)]
    created_at: String,
    /// When a worker first took it.
    #[schema(required, format = DateTime)]
    started_at: Option<String>,
    /// When it ended.
    #[schema(required, format = DateTime)]
    finished_at: Option<String>,
    /// Its steps in order, also those still to come.
    steps: Vec<Step>,
}

/// Who asked for an operation.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "as above")]
pub(crate) struct RequestedBy {
    /// By which door: `internal`, `public` or `worker`.
    door: String,
    /// Who, in the door's words.
    actor: String,
}

/// Why something failed, in words fit for a customer.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "as above")]
pub(crate) struct OperationError {
    /// Machine-readable word.
    code: String,
    /// One sentence.
    message: String,
}

/// One step of an operation.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "as above")]
pub(crate) struct Step {
    /// Its name.
    #[schema(example = "create_database")]
    name: String,
    /// `pending`, `running`, `done`, `skipped`, `failed`, `undoing` or `undone`.
    #[schema(example = "done")]
    state: String,
    /// `postgres1`, `postgres2`, `storage`, `runtime` or `notification`.
    #[schema(example = "postgres2")]
    server: String,
    /// Attempts so far.
    attempts: i32,
    /// When it began.
    #[schema(required, format = DateTime)]
    started_at: Option<String>,
    /// When it ended.
    #[schema(required, format = DateTime)]
    finished_at: Option<String>,
    /// How long it took.
    #[schema(required)]
    duration_ms: Option<i64>,
    /// Why it failed.
    #[schema(required)]
    error: Option<OperationError>,
}
