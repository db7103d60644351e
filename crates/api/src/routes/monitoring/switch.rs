//! `POST /api/v1/monitoring/start`, `/stop` and `/restart`: what is wished is kept, and every worker follows it within seconds.

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::fields::Fields;
use crate::input::{RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use db::platform::PlatformTx;
use db::platform::acceptance::{self, Compare};
use db::platform::audit::AuditContext;
use db::platform::monitoring::{Wishes, wish};
use db::platform::operations::Enqueued;
use domain::ids::OperationId;
use domain::times;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Monitoring begins.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MonitoringStarted {
    /// Always true.
    success: bool,
    /// In words.
    message: &'static str,
    /// The comparison that begins it; null when none was asked for.
    #[schema(required)]
    task_id: Option<Uuid>,
    /// When it was asked for.
    #[serde(serialize_with = "times::serialize")]
    started_at: DateTime<Utc>,
}

/// Monitoring ends.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MonitoringStopped {
    /// Always true.
    success: bool,
    /// In words.
    message: &'static str,
    /// When it was asked for.
    #[serde(serialize_with = "times::serialize")]
    stopped_at: DateTime<Utc>,
}

/// Start watching, comparing and checking
#[utoipa::path(post, operation_id = "start_monitoring", path = "/api/v1/monitoring/start", tag = "monitoring", params(
    ("Idempotency-Key" = Option<String>, Header),
), request_body(content = Option<Object>, description = "`auto_reconcile`: whether everything is compared at once; true unless given"), responses(
    (status = 200, body = MonitoringStarted),
    (status = 409, description = "The first request with this `Idempotency-Key` is still in progress", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A value of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn start(
    State(state): State<AppState>,
    call: Call,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let mut fields = Fields::of(body.object(true)?);
    let compare = fields.switch("auto_reconcile").unwrap_or(true);
    fields.finish()?;
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Switch { state: &state, to: To::Start { compare } }).await
}

/// Stop watching, comparing and checking
#[utoipa::path(post, operation_id = "stop_monitoring", path = "/api/v1/monitoring/stop", tag = "monitoring", params(
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = MonitoringStopped),
    (status = 409, description = "The first request with this `Idempotency-Key` is still in progress", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "An `Idempotency-Key` of the wrong form, or used for something else", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn stop(
    State(state): State<AppState>,
    call: Call,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Switch { state: &state, to: To::Stop }).await
}

/// Begin watching anew
#[utoipa::path(post, operation_id = "restart_monitoring", path = "/api/v1/monitoring/restart", tag = "monitoring", params(
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = MonitoringStarted),
    (status = 409, description = "The first request with this `Idempotency-Key` is still in progress", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "An `Idempotency-Key` of the wrong form, or used for something else", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn restart(
    State(state): State<AppState>,
    call: Call,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Switch { state: &state, to: To::Restart }).await
}

#[derive(Clone, Copy)]
enum To {
    Start { compare: bool },
    Stop,
    Restart,
}

struct Switch<'a> {
    state: &'a AppState,
    to: To,
}

impl Change for Switch<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let now = self.state.clock().now();
        match self.to {
            To::Start { compare } => {
                wish(tx, by, "monitoring_start", |wishes, at| ask(wishes, at, true)).await?;
                let task_id = if compare { self.compare(tx, by).await? } else { None };
                started("Monitoring started", task_id, now)
            }
            To::Stop => {
                wish(tx, by, "monitoring_stop", |wishes, at| ask(wishes, at, false)).await?;
                let body = MonitoringStopped { success: true, message: "Monitoring stopped", stopped_at: now };
                Answer::new(StatusCode::OK, &body, None)
            }
            To::Restart => {
                let anew = |wishes: &mut Wishes, at| {
                    ask(wishes, at, true);
                    wishes.asked_at = Some(at);
                    wishes.restarts += 1;
                };
                wish(tx, by, "monitoring_restart", anew).await?;
                started("Monitoring restarted", self.compare(tx, by).await?, now)
            }
        }
    }
}

impl Switch<'_> {
    /// None when so many wait that the next one comes anyway.
    async fn compare(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Option<OperationId>, Failure> {
        Ok(match acceptance::compare(tx, &Compare::default(), self.state.entropy(), by).await? {
            Enqueued::Accepted(id) | Enqueued::Joined(id) => Some(id),
            Enqueued::QueueFull => None,
        })
    }
}

fn ask(wishes: &mut Wishes, at: DateTime<Utc>, run: bool) {
    // Asked for what is so already, nothing begins anew.
    if wishes.run != Some(run) {
        wishes.asked_at = Some(at);
    }
    wishes.run = Some(run);
}

fn started(message: &'static str, task: Option<OperationId>, now: DateTime<Utc>) -> Result<Answer, Failure> {
    let body = MonitoringStarted { success: true, message, task_id: task.map(|id| id.as_uuid()), started_at: now };
    Answer::new(StatusCode::OK, &body, task)
}
