//! `GET /api/v1/instances/{id}`

use crate::conventions::Call;
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
    call: Call,
    PathId(id): PathId<InstanceId>,
) -> Result<Json<InstanceShape>, Problem> {
    let instance = call.caller.own(instances::get(state.db(), id).await?)?;
    Ok(Json(instance.into()))
}
