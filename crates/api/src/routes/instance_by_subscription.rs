//! `GET /api/v1/instances/by-subscription/{subscription_id}`
//!
//! The billing-service reads every 404 as "no instance" and may then create a second one: 404 means exactly that here,
//! never a fault and never a malformed id.

use crate::input::PathId;
use crate::problem::{Problem, ProblemBody};
use crate::shapes::instance::InstanceShape;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use db::platform::instances;
use domain::ids::SubscriptionId;

/// The instance of a subscription: the live one, else one waiting for reactivation, else the newest
#[utoipa::path(get, operation_id = "get_instance_by_subscription", path = "/api/v1/instances/by-subscription/{subscription_id}", tag = "instances",
    params(("subscription_id" = uuid::Uuid, Path)),
    responses(
        (status = 200, body = InstanceShape),
        (status = 404, description = "There is none", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn handler(
    State(state): State<AppState>,
    PathId(id): PathId<SubscriptionId>,
) -> Result<Json<InstanceShape>, Problem> {
    let found = instances::by_subscription(state.db(), id).await?;
    let instance = found.ok_or_else(|| Problem::not_found("Instance not found for subscription"))?;
    Ok(Json(instance.into()))
}
