//! `POST /api/v1/operations/{id}/cancel`

use crate::caller::Caller;
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
use db::platform::{instances, progress};
use domain::ids::{InstanceId, OperationId};
use domain::operation::Kind;

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
    change::run(&state, &asked, &Cancel { id, caller: call.caller }).await
}

struct Cancel {
    id: OperationId,
    caller: Caller,
}

/// What a customer may start, and so may cancel.
const CUSTOMERS: &[Kind] =
    &[Kind::Start, Kind::Stop, Kind::Restart, Kind::Unpause, Kind::Backup, Kind::Restore, Kind::Update, Kind::Export];

impl Cancel {
    /// A customer cancels what a customer may start, on an instance of theirs.
    async fn may(&self, tx: &mut PlatformTx) -> Result<(), Failure> {
        let Some(customer) = self.caller.customer() else { return Ok(()) };
        let view = progress::view_tx(tx, self.id).await?.ok_or_else(operation_get::not_found)?;
        let instance = match view.instance_id.filter(|_| view.kind.is_shown_to_customers()) {
            Some(id) => instances::lock(tx, InstanceId::from_uuid(id)).await?,
            None => None,
        };
        if instance.is_none_or(|instance| instance.customer_id != customer.id) {
            return Err(operation_get::not_found().into());
        }
        if !CUSTOMERS.contains(&view.kind) {
            return Err(Problem::forbidden("This operation was not started by a customer").into());
        }
        Ok(())
    }
}

impl Change for Cancel {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        self.may(tx).await?;
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
