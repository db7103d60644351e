//! `DELETE /api/v1/instances/{id}`

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::input::PathId;
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use db::platform::PlatformTx;
use db::platform::acceptance::{self, Delete, Deleted};
use db::platform::audit::AuditContext;
use domain::ids::InstanceId;
use domain::times;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A delete that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeleteAccepted {
    /// Fixed.
    #[schema(example = "success")]
    status: &'static str,
    /// Fixed.
    #[schema(example = "Instance deletion started")]
    message: &'static str,
    /// The instance.
    instance_id: Uuid,
    /// The operation that removes it.
    job_id: Uuid,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
}

/// Remove an instance for good
///
/// The row is `terminated` at once and its names are free; repeated, the same operation is answered.
#[utoipa::path(delete, operation_id = "delete_instance", path = "/api/v1/instances/{id}", tag = "instances", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = DeleteAccepted),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Not taken over from the earlier service yet", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, description = "More removals within an hour than DELETE_BRAKE_PER_HOUR", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let asked = Asked { call: &call, headers: &headers, body: &[], query: "" };
    change::run(&state, &asked, &Removal { state: &state, id }).await
}

/// When to ask again while the brake is on.
const BRAKE_SECONDS: u32 = 600;

struct Removal<'a> {
    state: &'a AppState,
    id: InstanceId,
}

impl Change for Removal<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let request = Delete { instance_id: self.id, reason: None, brake: self.state.policy().delete_brake };
        let operation = match acceptance::delete(tx, request, self.state.entropy(), by).await? {
            Deleted::Accepted { operation, .. } => operation,
            Deleted::NotFound => return Err(Problem::no_instance().into()),
            Deleted::Braked => {
                let detail = "Too many instances were removed within the last hour; please try again later";
                return Err(Problem::too_many(detail, BRAKE_SECONDS).into());
            }
            Deleted::NotAdopted => return Err(Problem::not_adopted().into()),
        };
        let body = DeleteAccepted {
            status: "success",
            message: "Instance deletion started",
            instance_id: self.id.as_uuid(),
            job_id: operation.as_uuid(),
            timestamp: self.state.clock().now(),
        };
        Answer::new(StatusCode::OK, &body, Some(operation))
    }
}
