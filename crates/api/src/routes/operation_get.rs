//! `GET /api/v1/operations/{id}`

use crate::input::PathId;
use crate::problem::{Problem, ProblemBody};
use crate::shapes::operation::OperationShape;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use db::platform::operation_view::OperationView;
use db::platform::progress;
use domain::ids::OperationId;

/// One operation with its steps
#[utoipa::path(get, operation_id = "get_operation", path = "/api/v1/operations/{id}", tag = "operations", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = OperationShape),
    (status = 404, description = "Operation not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    PathId(id): PathId<OperationId>,
) -> Result<Json<OperationView>, Problem> {
    progress::view(state.db(), id).await?.map(Json).ok_or_else(not_found)
}

/// 404 for an unknown operation.
pub(super) fn not_found() -> Problem {
    Problem::not_found("Operation not found")
}
