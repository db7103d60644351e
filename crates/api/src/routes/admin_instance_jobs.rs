//! `GET /admin/instance-jobs/{id}`

use crate::input::PathId;
use crate::problem::{Problem, ProblemBody};
use crate::shapes::operation::OperationShape;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use db::platform::operation_view::OperationView;
use db::platform::operations::{self, Filter};
use db::platform::{instances, progress};
use domain::ids::InstanceId;
use domain::times;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Most operations that are shown.
const MOST: i64 = 100;

/// What was done to an instance.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct InstanceJobs {
    /// The instance.
    instance_id: Uuid,
    /// Its status now.
    current_status: &'static str,
    /// Why it is as it is.
    #[schema(required)]
    error_message: Option<String>,
    /// Its last change.
    #[serde(serialize_with = "times::serialize")]
    last_updated: DateTime<Utc>,
    /// Its operations, the newest 100, newest first.
    #[schema(value_type = Vec<OperationShape>)]
    job_history: Vec<OperationView>,
}

/// What was done to an instance
#[utoipa::path(get, operation_id = "get_instance_jobs", path = "/admin/instance-jobs/{id}", tag = "administration", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = InstanceJobs),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    PathId(id): PathId<InstanceId>,
) -> Result<Json<InstanceJobs>, Problem> {
    let instance = instances::get(state.db(), id).await?.ok_or_else(Problem::no_instance)?;
    let filter = Filter { instance_id: Some(id), limit: MOST, ..Filter::default() };
    let found = operations::list(state.db(), &filter).await?;
    let job_history = progress::views(state.db(), &found.operations).await?;
    Ok(Json(InstanceJobs {
        instance_id: id.as_uuid(),
        current_status: instance.axes.status.as_str(),
        error_message: instance.error_message,
        last_updated: instance.updated_at,
        job_history,
    }))
}
