//! `GET /api/v1/monitoring/containers` and `/containers/{name}/status`: services as they were last seen.

use crate::input::{PathText, QueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use db::platform::instances::{self, Instance};
use domain::instance::ObservedState;
use domain::times;
use serde::Serialize;
use utoipa::ToSchema;

/// Services of instances have names that begin so, ours and those of the earlier service.
const PREFIX: &str = "odoo-";

/// An answer older than this says nothing about now.
const LATELY: TimeDelta = TimeDelta::minutes(3);

/// The service of an instance, as it was last seen.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Container {
    /// Its name.
    #[schema(example = "odoo-0123456789abcdef")]
    container_name: String,
    /// The engine's id; null where the engine gives none.
    #[schema(required)]
    container_id: Option<String>,
    /// What was seen: `unknown`, `absent`, `starting`, `running`, `unhealthy`, `stopped` or `failed`.
    #[schema(example = "running")]
    docker_status: &'static str,
    /// The status of the instance.
    #[schema(example = "running")]
    instance_status: &'static str,
    /// Whether Odoo answers; null while nobody can tell.
    #[schema(required)]
    is_healthy: Option<bool>,
    /// Not measured.
    #[schema(required)]
    uptime_seconds: Option<i64>,
    /// Not measured.
    #[schema(required)]
    restart_count: Option<i64>,
    /// When the instance last became running.
    #[serde(serialize_with = "times::serialize_option")]
    #[schema(required)]
    started_at: Option<DateTime<Utc>>,
    /// When it was last looked at.
    #[serde(serialize_with = "times::serialize_option")]
    #[schema(required)]
    last_checked: Option<DateTime<Utc>>,
}

impl Container {
    fn of(instance: &Instance, now: DateTime<Utc>) -> Option<Self> {
        let observed = instance.axes.observed;
        let asked_lately = instance.last_health_check.is_some_and(|at| now - at < LATELY);
        Some(Self {
            container_name: instance.placement.as_ref()?.service_name.clone(),
            container_id: None,
            docker_status: observed.as_str(),
            instance_status: instance.axes.status.as_str(),
            is_healthy: match observed {
                ObservedState::Running if asked_lately => Some(true),
                // That it runs was seen; whether Odoo answers, nobody has asked lately.
                ObservedState::Running | ObservedState::Unknown | ObservedState::Starting => None,
                _ => Some(false),
            },
            uptime_seconds: None,
            restart_count: None,
            started_at: instance.started_at,
            last_checked: instance.observed_at,
        })
    }
}

/// The services of all instances, in the order of their names
#[utoipa::path(get, operation_id = "list_containers", path = "/api/v1/monitoring/containers", tag = "monitoring", params(
    ("page" = Option<i64>, Query, minimum = 1),
    ("page_size" = Option<i64>, Query, minimum = 1, maximum = 1000, description = "1000 unless given"),
), responses(
    (status = 200, body = Vec<Container>),
    (status = 422, description = "A query value of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list(State(state): State<AppState>, mut query: QueryText) -> Result<Json<Vec<Container>>, Problem> {
    let page = query.long_page();
    query.finish()?;
    let now = state.clock().now();
    let found = instances::services(state.db(), page.offset(), i64::from(page.size)).await?;
    Ok(Json(found.iter().filter_map(|instance| Container::of(instance, now)).collect()))
}

/// One service
#[utoipa::path(get, operation_id = "get_container_status", path = "/api/v1/monitoring/containers/{name}/status", tag = "monitoring", params(
    ("name" = String, Path),
), responses(
    (status = 200, body = Container),
    (status = 400, description = "Not the name of an instance's service", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "Container not found", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn get(State(state): State<AppState>, PathText(name): PathText) -> Result<Json<Container>, Problem> {
    let instance = find(&state, &name).await?;
    Container::of(&instance, state.clock().now()).map(Json).ok_or_else(not_found)
}

/// The instance whose service has this name.
pub(super) async fn find(state: &AppState, name: &str) -> Result<Instance, Problem> {
    if !name.starts_with(PREFIX) || name.contains('\0') {
        return Err(Problem::rule("Not a SaaS Odoo container"));
    }
    instances::by_service(state.db(), name).await?.ok_or_else(not_found)
}

fn not_found() -> Problem {
    Problem::not_found("Container not found")
}
