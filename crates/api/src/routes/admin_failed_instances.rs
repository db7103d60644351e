//! `GET /admin/failed-instances`

use crate::input::QueryText;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use db::platform::instances::{self, Instance};
use domain::times;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Instances in `error`, newest change first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FailedInstances {
    /// Those of this page.
    failed_instances: Vec<FailedInstance>,
    /// How many there are in all.
    count: i64,
}

/// An instance in `error`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FailedInstance {
    /// Its id.
    id: Uuid,
    /// What the customer calls it.
    name: String,
    /// Whose it is.
    customer_id: Uuid,
    /// Always `error`.
    #[schema(example = "error")]
    status: &'static str,
    /// Why.
    #[schema(required)]
    error_message: Option<String>,
    /// When it was recorded.
    #[serde(serialize_with = "times::serialize")]
    created_at: DateTime<Utc>,
    /// Last change.
    #[serde(serialize_with = "times::serialize")]
    updated_at: DateTime<Utc>,
}

impl From<Instance> for FailedInstance {
    fn from(instance: Instance) -> Self {
        Self {
            id: instance.id.as_uuid(),
            name: instance.name,
            customer_id: instance.customer_id.as_uuid(),
            status: instance.axes.status.as_str(),
            error_message: instance.error_message,
            created_at: instance.created_at,
            updated_at: instance.updated_at,
        }
    }
}

/// Instances in `error`, newest change first
#[utoipa::path(get, operation_id = "list_failed_instances", path = "/admin/failed-instances", tag = "administration", params(
    ("page" = Option<i64>, Query, minimum = 1),
    ("page_size" = Option<i64>, Query, minimum = 1, maximum = 100),
), responses(
    (status = 200, body = FailedInstances),
    (status = 422, description = "A query value of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(State(state): State<AppState>, mut query: QueryText) -> Result<Json<FailedInstances>, Problem> {
    let page = query.page();
    query.finish()?;
    let found = instances::failed(state.db(), page.offset(), i64::from(page.size)).await?;
    let failed_instances = found.instances.into_iter().map(FailedInstance::from).collect();
    Ok(Json(FailedInstances { failed_instances, count: found.total }))
}
