//! `PUT /api/v1/instances/{id}`

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::input::{PathId, RawBody};
use crate::order_body::{self, AmendBody};
use crate::problem::{Problem, ProblemBody};
use crate::shapes::instance::InstanceShape;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use db::platform::PlatformTx;
use db::platform::acceptance::{self, Amend, Amended};
use db::platform::audit::AuditContext;
use domain::ids::InstanceId;

/// Change an instance
///
/// New limits reach a running instance with `apply-resources`, any other at its next start.
#[utoipa::path(put, operation_id = "change_instance", path = "/api/v1/instances/{id}", tag = "instances", request_body = AmendBody, params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, description = "As it is now", body = InstanceShape),
    (status = 400, description = "A rule of the house is broken", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Deleted", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A field of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
    headers: HeaderMap,
    body: RawBody,
) -> Result<Response, Problem> {
    let request = Amend { instance_id: id, amendment: order_body::read_amendment(body.object(true)?)? };
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: "" };
    change::run(&state, &asked, &Changed { request }).await
}

struct Changed {
    request: Amend,
}

impl Change for Changed {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        match acceptance::amend(tx, &self.request, by).await? {
            Amended::Done(instance) => Answer::new(StatusCode::OK, &InstanceShape::from(instance), None),
            Amended::NotFound => Err(Problem::no_instance().into()),
            Amended::Purged => Err(Problem::deleted().into()),
        }
    }
}
