//! `GET /api/v1/monitoring/tasks/{id}/status`: an operation in the words of the earlier service.

use crate::input::PathId;
use crate::problem::{Problem, ProblemBody};
use crate::routes::operation_get::not_found;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use db::platform::operation_view::PublicState;
use db::platform::progress;
use domain::ids::OperationId;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

/// An operation in the words of the earlier service.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskStatus {
    /// The operation.
    task_id: Uuid,
    /// `PENDING`, `STARTED`, `SUCCESS`, `FAILURE` or `REVOKED`.
    #[schema(example = "STARTED")]
    status: &'static str,
    /// What came of it.
    #[schema(required, value_type = Option<Object>)]
    result: Option<Value>,
    /// How far it is.
    info: TaskInfo,
    /// Whether it has succeeded.
    successful: bool,
    /// Whether it has failed.
    failed: bool,
}

/// How far an operation is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TaskInfo {
    /// What it does.
    #[schema(example = "reconcile")]
    kind: &'static str,
    /// Done share of its steps.
    #[schema(minimum = 0, maximum = 100)]
    percent: i16,
    /// The step at work.
    #[schema(required)]
    current_step: Option<String>,
    /// Why it failed.
    #[schema(required)]
    error: Option<String>,
}

/// How far a task is
#[utoipa::path(get, operation_id = "get_task_status", path = "/api/v1/monitoring/tasks/{id}/status", tag = "monitoring", params(
    ("id" = uuid::Uuid, Path),
), responses(
    (status = 200, body = TaskStatus),
    (status = 404, description = "Operation not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(State(state): State<AppState>, PathId(id): PathId<OperationId>) -> Result<Json<TaskStatus>, Problem> {
    let view = progress::view(state.db(), id).await?.ok_or_else(not_found)?;
    Ok(Json(TaskStatus {
        task_id: view.id,
        status: match view.state {
            PublicState::Queued => "PENDING",
            PublicState::Running | PublicState::Compensating => "STARTED",
            PublicState::Succeeded => "SUCCESS",
            PublicState::Failed => "FAILURE",
            PublicState::Cancelled => "REVOKED",
        },
        successful: view.state == PublicState::Succeeded,
        failed: view.state == PublicState::Failed,
        result: view.result,
        info: TaskInfo {
            kind: view.kind.as_str(),
            percent: view.percent,
            current_step: view.current_step,
            error: view.error.map(|error| error.message),
        },
    }))
}
