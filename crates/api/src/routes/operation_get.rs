//! `GET /api/v1/operations/{id}`

use crate::conventions::Call;
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
    call: Call,
    PathId(id): PathId<OperationId>,
) -> Result<Json<OperationView>, Problem> {
    seen(&state, &call, id).await.map(Json)
}

/// The operation, if it is there and the caller's to see.
pub(super) async fn seen(state: &AppState, call: &Call, id: OperationId) -> Result<OperationView, Problem> {
    let view = progress::view(state.db(), id).await?.ok_or_else(not_found)?;
    if call.caller.may_see_operation(state, &view).await? { Ok(view) } else { Err(not_found()) }
}

/// 404 for an unknown operation.
pub(super) fn not_found() -> Problem {
    Problem::not_found("Operation not found")
}
