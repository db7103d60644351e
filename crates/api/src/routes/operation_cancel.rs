//! `POST /api/v1/operations/{id}/cancel`

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::input::{PathId, RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::routes::operation_get;
use crate::shapes::operation::OperationShape;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use db::platform::PlatformTx;
use db::platform::acceptance::{self, CancelRequest, Cancelled};
use db::platform::audit::AuditContext;
use db::platform::progress;
use domain::ids::OperationId;

/// Ask an operation to give up and undo what it did
#[utoipa::path(post, operation_id = "cancel_operation", path = "/api/v1/operations/{id}/cancel", tag = "operations", params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 202, description = "Cancelled, or asked to give up", body = OperationShape),
    (status = 404, description = "Operation not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Finished, past its point of no return, not cancellable, or waiting for an operator", body = ProblemBody, content_type = "application/problem+json"),
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
    change::run(&state, &asked, &Cancel { id }).await
}

struct Cancel {
    id: OperationId,
}

impl Change for Cancel {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let request = CancelRequest { operation_id: self.id, reason: "cancelled by request".to_owned() };
        match acceptance::cancel(tx, &request, by).await? {
            Cancelled::Cancelled | Cancelled::Requested => {}
            Cancelled::Finished => return Err(Problem::conflict("The operation has already ended").into()),
            Cancelled::PastReturn => return Err(Problem::conflict("The operation is past its point of no return").into()),
            Cancelled::NotCancellable => return Err(Problem::conflict("This kind of operation cannot be cancelled").into()),
            Cancelled::NeedsAttention => {
                return Err(Problem::conflict("The operation could not be finished and waits for an operator").into());
            }
            Cancelled::Unknown => return Err(operation_get::not_found().into()),
        }
        let view = progress::view_tx(tx, self.id).await?.ok_or_else(operation_get::not_found)?;
        Answer::new(StatusCode::ACCEPTED, &view, Some(self.id))
    }
}
