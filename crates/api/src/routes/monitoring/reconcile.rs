//! `POST /api/v1/monitoring/reconcile`: a worker compares; this process waits for it a while, and holds no connection meanwhile.

use crate::change::{self, Answer, Asked, Change, Decided, Failure};
use crate::conventions::Call;
use crate::errand::awaited;
use crate::fields::Fields;
use crate::input::{RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use db::platform::PlatformTx;
use db::platform::acceptance::{self, Compare};
use db::platform::audit::AuditContext;
use db::platform::operations::{Enqueued, Operation};
use domain::ids::OperationId;
use domain::operation::State as Stored;
use domain::times;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What a comparison found; all but `task_id` is null while it is at work.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
pub(super) struct Reconciliation {
    /// The operation.
    #[serde(default)]
    task_id: Uuid,
    /// Whether everything could be compared.
    #[serde(default)]
    #[schema(required)]
    success: Option<bool>,
    /// Rows compared.
    #[schema(required)]
    total_checked: Option<u64>,
    /// Rows and services that are not as they should be.
    #[schema(required)]
    mismatched: Option<u64>,
    /// Rows that moved, or for which work was queued.
    #[schema(required)]
    updated: Option<u64>,
    /// Rows that could not be compared.
    #[schema(required)]
    errors: Option<u64>,
    /// What is not as it should be; 100 at most.
    #[schema(required)]
    details: Option<Vec<Mismatch>>,
    /// When it ended.
    #[serde(default, serialize_with = "times::serialize_option")]
    #[schema(required)]
    completed_at: Option<DateTime<Utc>>,
}

/// A row, or a service, that is not as it should be.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Mismatch {
    /// The instance; of a service without a row, the one that it says it is of.
    pub(super) instance_id: Uuid,
    /// Its service.
    #[schema(required)]
    pub(super) container_name: Option<String>,
    /// The status of the row.
    #[schema(required)]
    pub(super) database_status: Option<String>,
    /// What was seen: `absent`, `starting`, `running`, `unhealthy`, `stopped` or `failed`.
    #[schema(required)]
    pub(super) docker_status: Option<String>,
    /// The status that the row should have.
    #[schema(required)]
    pub(super) expected_status: Option<String>,
    /// Whether the two statuses differ.
    pub(super) needs_update: bool,
    /// Whether something was done about it.
    pub(super) updated: bool,
    /// What is wrong, in words.
    #[schema(required)]
    pub(super) error_message: Option<String>,
}

/// Compare every instance with what runs
#[utoipa::path(post, operation_id = "reconcile", path = "/api/v1/monitoring/reconcile", tag = "monitoring", params(
    ("Idempotency-Key" = Option<String>, Header),
), request_body(content = Option<Object>, description = "`dry_run`: report only. `force_update`: also bring new limits to services \
    that run without them"), responses(
    (status = 200, body = Reconciliation),
    (status = 202, description = "It takes longer; follow `task_id`", body = Reconciliation),
    (status = 409, description = "Too much is waiting", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A value of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let mut fields = Fields::of(body.object(true)?);
    let compare = Compare {
        dry_run: fields.switch("dry_run").unwrap_or(false),
        force_update: fields.switch("force_update").unwrap_or(false),
        only: None,
    };
    fields.finish()?;
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    let accepted = change::decide(&state, &asked, &Comparison { state: &state, compare }).await?;
    // A refusal that is repeated names none.
    let Some(task) = task_of(&accepted) else { return Ok(accepted.into_response()) };
    match awaited(&state, task, state.policy().reconcile_wait).await? {
        Some(operation) => Ok(accepted.instead(StatusCode::OK, &read(operation))?.into_response()),
        None => Ok(accepted.into_response()),
    }
}

/// Asks for a comparison; the answer names its task.
pub(super) struct Comparison<'a> {
    pub(super) state: &'a AppState,
    pub(super) compare: Compare,
}

impl Change for Comparison<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        match acceptance::compare(tx, &self.compare, self.state.entropy(), by).await? {
            Enqueued::Accepted(id) | Enqueued::Joined(id) => {
                let body = Reconciliation { task_id: id.as_uuid(), ..Reconciliation::default() };
                Answer::new(StatusCode::ACCEPTED, &body, Some(id))
            }
            Enqueued::QueueFull => Err(Problem::queue_full().into()),
        }
    }
}

/// The task that an answer names.
pub(super) fn task_of(accepted: &Decided) -> Option<OperationId> {
    accepted.body().get("task_id")?.as_str()?.parse().ok()
}

/// What a comparison that has ended found.
pub(super) fn read(operation: Operation) -> Reconciliation {
    let succeeded = operation.state == Stored::Succeeded;
    let found: Reconciliation = operation.result.and_then(|found| serde_json::from_value(found).ok()).unwrap_or_default();
    Reconciliation {
        task_id: operation.id.as_uuid(),
        success: Some(succeeded && found.errors == Some(0)),
        completed_at: operation.finished_at,
        ..found
    }
}

impl Reconciliation {
    pub(super) const fn success(&self) -> Option<bool> {
        self.success
    }

    /// What is told of the one instance that was asked about.
    pub(super) fn into_only(self) -> Option<Mismatch> {
        self.details?.into_iter().next()
    }
}
