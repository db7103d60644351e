//! `POST /api/v1/instances/{id}/actions`: of the words of contract 4.4 this release carries out `terminate`.

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
use db::platform::acceptance::{self, Terminate, Terminated};
use db::platform::audit::AuditContext;
use db::platform::instances;
use domain::ids::InstanceId;
use domain::times;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

domain::words! {
    /// What can be asked of an instance.
    Action {
        /// Run it.
        Start = "start",
        /// Stop it.
        Stop = "stop",
        /// Stop and start it.
        Restart = "restart",
        /// Update Odoo.
        Update = "update",
        /// Copy database and files.
        Backup = "backup",
        /// Load a backup.
        Restore = "restore",
        /// Take it down for debt.
        Suspend = "suspend",
        /// Lift a suspension.
        Unsuspend = "unsuspend",
        /// Run it after a suspension.
        Unpause = "unpause",
        /// Take it out of service and keep its data.
        Terminate = "terminate",
    }
}

/// What is asked of an instance.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = InstanceAction)]
#[expect(dead_code, reason = "bodies are read field by field, so that every refusal names its field")]
pub(super) struct ActionBody {
    /// start, stop, restart, update, backup, restore, suspend, unsuspend, unpause or terminate.
    #[schema(example = "terminate")]
    action: String,
    /// What the action needs; `reason` for most.
    #[schema(value_type = Option<Object>, example = json!({"reason": "Subscription cancelled"}))]
    parameters: Option<Value>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActionAnswer {
    /// The instance.
    instance_id: Uuid,
    /// The word.
    action: &'static str,
    /// `queued` or `success`.
    #[schema(example = "success")]
    status: &'static str,
    /// In words.
    #[schema(example = "Instance terminated successfully")]
    message: &'static str,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
    /// The queued work, if there is any.
    #[schema(required)]
    job_id: Option<Uuid>,
}

/// Ask something of an instance
#[utoipa::path(post, operation_id = "act_on_instance", path = "/api/v1/instances/{id}/actions", tag = "instances", request_body = ActionBody, params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = ActionAnswer),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Unknown action, or a field of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
    (status = 501, description = "An action that this release does not carry out", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let (action, reason) = read(&body)?;
    if action != Action::Terminate {
        instances::get(state.db(), id).await?.ok_or_else(Problem::no_instance)?;
        return Err(Problem::not_built(&format!("The action '{action}'")));
    }
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Termination { state: &state, id, reason }).await
}

fn read(body: &RawBody) -> Result<(Action, Option<String>), Problem> {
    let mut fields = Fields::of(body.object(false)?);
    fields.require("action");
    let words: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
    let action = fields.parsed("action", &format!("one of {}", words.join(", ")), "enum", Action::parse);
    let reason = fields.inner("parameters", |parameters| parameters.note("reason"));
    fields.finish()?;
    let action = action.ok_or_else(|| Problem::invalid_field("body", "action", "is required", "missing"))?;
    Ok((action, reason.filter(|reason| !reason.trim().is_empty())))
}

struct Termination<'a> {
    state: &'a AppState,
    id: InstanceId,
    reason: Option<String>,
}

impl Change for Termination<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let request = Terminate { instance_id: self.id, reason: self.reason.clone() };
        let operation = match acceptance::terminate(tx, request, self.state.entropy(), by).await? {
            Terminated::Done { operation, .. } => operation,
            Terminated::NotFound => return Err(Problem::no_instance().into()),
        };
        let body = ActionAnswer {
            instance_id: self.id.as_uuid(),
            action: Action::Terminate.as_str(),
            status: "success",
            message: "Instance terminated successfully",
            timestamp: self.state.clock().now(),
            job_id: operation.map(|id| id.as_uuid()),
        };
        Answer::new(StatusCode::OK, &body, operation)
    }
}
