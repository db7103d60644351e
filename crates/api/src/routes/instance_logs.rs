//! `GET /api/v1/instances/{id}/logs`: this process has no access to the runtime, so a worker reads the lines on request.
//! While it does, no connection is held.

use crate::conventions::Call;
use crate::errand::{awaited, give_up};
use crate::input::{PathId, QueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use db::platform::instances;
use db::platform::operations::{self, Enqueued, NewOperation, Scope};
use domain::ids::{InstanceId, OperationId};
use domain::operation::{Kind, State as Stored};
use domain::sources::random_uuid;
use domain::times;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

/// The last lines of an instance's service.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Logs {
    /// The instance.
    instance_id: Uuid,
    /// Lines, oldest first; known secrets are masked.
    logs: Vec<String>,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
}

/// The last lines that the instance's service wrote
#[utoipa::path(get, operation_id = "get_instance_logs", path = "/api/v1/instances/{id}/logs", tag = "instances", params(
    ("id" = uuid::Uuid, Path),
    ("lines" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "100 unless given"),
), responses(
    (status = 200, body = Logs),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A value of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "No worker answered in time", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
    mut query: QueryText,
) -> Result<Json<Logs>, Problem> {
    let lines = query.number("lines", 1..=1000, 100);
    query.finish()?;
    let instance = call.caller.own(instances::get(state.db(), id).await?)?;
    // Never placed, or removed: there is no service that could have written anything.
    let logs = match instance.placement {
        Some(_) => fetch(&state, &call, id, lines).await?,
        None => Vec::new(),
    };
    Ok(Json(Logs { instance_id: id.as_uuid(), logs, timestamp: state.clock().now() }))
}

async fn fetch(state: &AppState, call: &Call, instance: InstanceId, lines: u32) -> Result<Vec<String>, Problem> {
    let operation = OperationId::from_uuid(random_uuid(state.entropy()));
    ask(state, call, instance, operation, lines).await?;
    let Some(found) = awaited(state, operation, state.policy().logs_wait).await? else {
        give_up(state, operation).await?;
        return Err(Problem::unavailable("The logs could not be fetched in time"));
    };
    operations::forget_fetched(state.db(), operation).await?;
    let result = found.result.filter(|_| found.state == Stored::Succeeded);
    let Some(Value::Array(lines)) = result.as_ref().and_then(|result| result.get("logs")) else {
        return Err(Problem::unavailable("The logs could not be fetched"));
    };
    Ok(lines.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

async fn ask(state: &AppState, call: &Call, instance: InstanceId, id: OperationId, lines: u32) -> Result<(), Problem> {
    let by = call.audit();
    let new = NewOperation {
        id,
        scope: Scope::Own(id),
        instance_id: Some(instance),
        kind: Kind::FetchLogs,
        params: json!({ "lines": lines }),
        priority: 0,
        reason: None,
        trace_parent: None,
    };
    let mut tx = state.db().begin().await?;
    match operations::enqueue(&mut tx, new, &by).await? {
        Enqueued::Accepted(_) | Enqueued::Joined(_) => Ok(tx.commit().await?),
        Enqueued::QueueFull => Err(Problem::queue_full()),
    }
}
