//! `POST /admin/unsuspend-instance/{id}`

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::fields::Fields;
use crate::input::{PathId, RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::shapes::admin::JobAnswer;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use db::platform::PlatformTx;
use db::platform::acceptance::{self, Unsuspend, Unsuspended};
use db::platform::audit::AuditContext;
use domain::ids::InstanceId;

/// Lift a suspension, whoever ordered it
///
/// One that ran before, and is paid or on trial, is started.
#[utoipa::path(post, operation_id = "unsuspend_instance", path = "/admin/unsuspend-instance/{id}", tag = "administration", params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), request_body(content = Option<Object>, description = "`reason`: why"), responses(
    (status = 200, body = JobAnswer),
    (status = 400, description = "Not in this status", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id or reason", body = ProblemBody, content_type = "application/problem+json"),
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
    let reason = fields.note("reason").filter(|reason| !reason.trim().is_empty());
    fields.finish()?;
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Ordered { state: &state, id, reason }).await
}

struct Ordered<'a> {
    state: &'a AppState,
    id: InstanceId,
    reason: Option<String>,
}

impl Change for Ordered<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let request = Unsuspend { instance_id: self.id, reason: self.reason.clone() };
        match acceptance::unsuspend(tx, request, self.state.entropy(), by).await? {
            Unsuspended::Done { operation, .. } => {
                let answer = JobAnswer::new("Instance unsuspended successfully", Some(self.id), operation);
                Answer::new(StatusCode::OK, &answer, operation)
            }
            Unsuspended::NotAllowed(refused) => Err(Problem::rule(refused.to_string()).into()),
            Unsuspended::NotFound => Err(Problem::no_instance().into()),
        }
    }
}
