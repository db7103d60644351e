//! `POST /api/v1/instances/{id}/undo-restore` (contract 16.4)

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::fields::Fields;
use crate::input::{PathId, RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use db::platform::PlatformTx;
use db::platform::acceptance::{self, Acted};
use db::platform::audit::AuditContext;
use domain::ids::{InstanceId, OperationId};
use domain::times;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// Which way back.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WayBack, example = json!({"job_id": null}))]
#[expect(dead_code, reason = "bodies are read field by field, so that every refusal names its field")]
pub(super) struct BackBody {
    /// The restore or update that is taken back; without one, the last.
    job_id: Option<Uuid>,
}

/// A way back that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UndoQueued {
    /// The instance.
    instance_id: Uuid,
    /// Fixed.
    #[schema(example = "queued")]
    status: &'static str,
    /// Fixed.
    #[schema(example = "Taking back the last restore is queued for processing")]
    message: &'static str,
    /// The operation that does it.
    job_id: Uuid,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
}

/// Take back the last restore or update
///
/// What it replaced serves again, while it is kept (RESTORE_KEEP_OLD_HOURS). What served meanwhile is kept in its turn.
#[utoipa::path(post, operation_id = "undo_restore", path = "/api/v1/instances/{id}/undo-restore", tag = "backups", request_body = Option<BackBody>, params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = UndoQueued),
    (status = 400, description = "Not allowed in this status", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Nothing is kept, too much is waiting, or the instance is not taken over yet", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let mut fields = Fields::of(body.object(true)?);
    let restore = fields.parsed("job_id", "a UUID", "uuid_parsing", |text| text.parse().ok());
    fields.finish()?;
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Back { state: &state, id, restore }).await
}

struct Back<'a> {
    state: &'a AppState,
    id: InstanceId,
    restore: Option<OperationId>,
}

impl Change for Back<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let operation = match acceptance::undo_restore(tx, self.id, self.restore, self.state.entropy(), by).await? {
            Acted::Queued(_, id) | Acted::UnderWay(_, Some(id)) => id,
            Acted::NotFound => return Err(Problem::no_instance().into()),
            Acted::NoSuchBackup => return Err(Problem::conflict("Nothing is kept that this instance could go back to").into()),
            Acted::NotAllowed(refused) => return Err(Problem::rule(refused.to_string()).into()),
            Acted::Unpaid(why) => return Err(Problem::unpaid(why).into()),
            Acted::NotAdopted => return Err(Problem::not_adopted().into()),
            Acted::QueueFull => return Err(Problem::queue_full().into()),
            Acted::UnderWay(_, None) | Acted::Running(_) | Acted::OtherVersion(_) => {
                return Err(Problem::fault("a way back has no such answer").into());
            }
        };
        let body = UndoQueued {
            instance_id: self.id.as_uuid(),
            status: "queued",
            message: "Taking back the last restore is queued for processing",
            job_id: operation.as_uuid(),
            timestamp: self.state.clock().now(),
        };
        Answer::new(StatusCode::OK, &body, Some(operation))
    }
}
