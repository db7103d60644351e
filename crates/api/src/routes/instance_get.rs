//! `GET /api/v1/instances/{id}`

use crate::input::PathId;
use crate::problem::{Problem, ProblemBody};
use crate::shapes::instance::InstanceShape;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use db::platform::instances;
use domain::ids::InstanceId;

/// One instance
#[utoipa::path(get, operation_id = "get_instance", path = "/api/v1/instances/{id}", tag = "instances", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = InstanceShape),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    PathId(id): PathId<InstanceId>,
) -> Result<Json<InstanceShape>, Problem> {
    let instance = instances::get(state.db(), id).await?.ok_or_else(Problem::no_instance)?;
    Ok(Json(instance.into()))
}
