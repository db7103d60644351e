//! `GET /api/v1/instances/{id}/status`

use crate::conventions::Call;
use crate::input::PathId;
use crate::problem::{Problem, ProblemBody};
use crate::shapes::instance::StatusShape;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use db::platform::instances;
use domain::ids::InstanceId;

/// How an instance is
#[utoipa::path(get, operation_id = "get_instance_status", path = "/api/v1/instances/{id}/status", tag = "instances", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = StatusShape),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
) -> Result<Json<StatusShape>, Problem> {
    let instance = call.caller.own(instances::get(state.db(), id).await?)?;
    Ok(Json(instance.into()))
}
