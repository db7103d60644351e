//! `POST /admin/retry-mail/{id}`

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::input::{PathId, RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::shapes::admin::JobAnswer;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use db::platform::PlatformTx;
use db::platform::audit::AuditContext;
use db::platform::outbox::{self, Replayed};
use uuid::Uuid;

/// Send a mail after all that was given up
///
/// It is tried for another day, under the same id.
#[utoipa::path(post, operation_id = "retry_mail", path = "/admin/retry-mail/{id}", tag = "administration", params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = JobAnswer),
    (status = 404, description = "Mail not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "It was not given up, or what it said is erased", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<Uuid>,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Retry { id }).await
}

struct Retry {
    id: Uuid,
}

impl Change for Retry {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let refused = match outbox::replay(tx, self.id, by).await? {
            Replayed::Due => {
                let answer = JobAnswer::new("The mail is sent again", None, None);
                return Answer::new(StatusCode::OK, &answer, None);
            }
            Replayed::Unknown => Problem::not_found("Mail not found"),
            Replayed::NotDead => Problem::conflict("The mail was not given up"),
            Replayed::Erased => Problem::conflict("What the mail said is erased"),
        };
        Err(refused.into())
    }
}
