//! `POST /admin/operations/{id}/retry`

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::input::{PathId, RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::routes::operation_get;
use crate::shapes::admin::JobAnswer;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use db::platform::PlatformTx;
use db::platform::attention::{self, Decided, Decision};
use db::platform::audit::AuditContext;
use domain::ids::OperationId;

/// Go on with an operation that could not be finished
///
/// It goes on from its first unfinished step. One that failed was undone, and is ordered again instead.
#[utoipa::path(post, operation_id = "retry_operation", path = "/admin/operations/{id}/retry", tag = "administration", params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = JobAnswer),
    (status = 404, description = "Operation not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "It waits for nobody, or another operation of the instance is at work", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<OperationId>,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Retry { id }).await
}

struct Retry {
    id: OperationId,
}

impl Change for Retry {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let refused = match attention::decide(tx, self.id, Decision::Retry, by).await? {
            Decided::Done => {
                let answer = JobAnswer::new("The operation goes on", None, Some(self.id));
                return Answer::new(StatusCode::OK, &answer, Some(self.id));
            }
            Decided::Unknown => operation_get::not_found(),
            Decided::Busy => Problem::conflict("Another operation of this instance is at work"),
            Decided::InState(state) => Problem::conflict(format!("The operation does not wait for an operator (it is {state})")),
            Decided::NeverUndone(kind) => Problem::conflict(format!("A {kind} is never taken back")),
        };
        Err(refused.into())
    }
}
