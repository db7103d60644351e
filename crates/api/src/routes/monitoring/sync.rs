//! `POST /api/v1/monitoring/containers/{name}/sync`: looks at one service now, through a worker, and changes nothing.

use super::containers::find;
use super::reconcile::{Comparison, Mismatch, Reconciliation, read, task_of};
use crate::change::{self, Asked, Decided};
use crate::conventions::Call;
use crate::errand::{awaited, give_up};
use crate::input::{PathText, RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use db::platform::acceptance::Compare;
use domain::times;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A service as it is, and as its row says.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ContainerComparison {
    /// Its name.
    container_name: String,
    /// What was seen; null while an operation is at work on the instance.
    #[schema(required, example = "running")]
    docker_status: Option<String>,
    /// The status that the instance should have, by what was seen.
    #[schema(required, example = "running")]
    mapped_status: Option<String>,
    /// What its row says.
    metadata: ComparedRow,
    /// When it was looked at.
    #[serde(serialize_with = "times::serialize")]
    sync_time: DateTime<Utc>,
    /// In words.
    message: String,
}

/// The row of a service.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ComparedRow {
    /// The instance.
    instance_id: Uuid,
    /// Its status.
    instance_status: String,
    /// Whether its status differs from what was seen.
    needs_update: bool,
}

/// Compare one service with its instance
#[utoipa::path(post, operation_id = "compare_container", path = "/api/v1/monitoring/containers/{name}/sync", tag = "monitoring", params(
    ("name" = String, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = ContainerComparison),
    (status = 400, description = "Not the name of an instance's service", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "Container not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "The first request with this `Idempotency-Key` is still in progress", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "An `Idempotency-Key` of the wrong form, or used for something else", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "No worker answered in time, or it could not look", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathText(name): PathText,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let instance = find(&state, &name).await?;
    let compare = Compare { dry_run: true, force_update: false, only: Some(instance.id) };
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    let comparison = Comparison { state: &state, compare };
    let accepted = change::decide(&state, &asked, &comparison).await?;
    let (accepted, seen) = match looked(&state, &accepted).await {
        // A look that came to nothing is no answer to keep: whoever asks again gets another.
        Err(problem) if accepted.is_replayed() && problem.status().is_server_error() => {
            let anew = change::decide(&state, &Asked { headers: &HeaderMap::new(), ..asked }, &comparison).await?;
            let seen = looked(&state, &anew).await?;
            (anew, seen)
        }
        seen => (accepted, seen?),
    };
    let Some(seen) = seen else { return Ok(accepted.into_response()) };
    let sync_time = state.clock().now();
    let seen = seen.into_only();
    let message = match &seen {
        None => "An operation is at work on this instance".to_owned(),
        Some(Mismatch { error_message: Some(words), .. }) => words.clone(),
        Some(Mismatch { needs_update: true, .. }) => "The instance is not as its row says".to_owned(),
        Some(_) => "The instance is as its row says".to_owned(),
    };
    let body = ContainerComparison {
        container_name: name,
        metadata: ComparedRow {
            instance_id: instance.id.as_uuid(),
            instance_status: seen
                .as_ref()
                .and_then(|seen| seen.database_status.clone())
                .unwrap_or_else(|| instance.axes.status.to_string()),
            needs_update: seen.as_ref().is_some_and(|seen| seen.needs_update),
        },
        docker_status: seen.as_ref().and_then(|seen| seen.docker_status.clone()),
        mapped_status: seen.and_then(|seen| seen.expected_status),
        sync_time,
        message,
    };
    Ok(accepted.instead(StatusCode::OK, &body)?.into_response())
}

/// What the worker saw; `None` for a refusal that is repeated.
async fn looked(state: &AppState, accepted: &Decided) -> Result<Option<Reconciliation>, Problem> {
    let Some(task) = task_of(accepted) else { return Ok(None) };
    let Some(looked) = awaited(state, task, state.policy().reconcile_wait).await? else {
        give_up(state, task).await?;
        return Err(Problem::unavailable("No worker looked at the service in time"));
    };
    let seen = read(looked);
    if seen.success() != Some(true) {
        return Err(Problem::unavailable("The service could not be looked at"));
    }
    Ok(Some(seen))
}
