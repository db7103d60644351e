//! `POST /admin/retry-instance/{id}`

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
use db::platform::acceptance::{self, Act, Acted};
use db::platform::audit::AuditContext;
use db::platform::instances;
use domain::ids::InstanceId;
use domain::instance::{Action, Status};

/// Try an instance in `error` again
///
/// One with data is started, one without is provisioned.
#[utoipa::path(post, operation_id = "retry_instance", path = "/admin/retry-instance/{id}", tag = "administration", params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = JobAnswer),
    (status = 400, description = "Not in error", body = ProblemBody, content_type = "application/problem+json"),
    (status = 402, description = "A payment is outstanding", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Too much is waiting for this instance, or it is not taken over yet", body = ProblemBody, content_type = "application/problem+json"),
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
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Retry { state: &state, id }).await
}

struct Retry<'a> {
    state: &'a AppState,
    id: InstanceId,
}

impl Change for Retry<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let instance = instances::lock(tx, self.id).await?.ok_or_else(Problem::no_instance)?;
        let status = instance.axes.status;
        if status != Status::Error {
            return Err(Problem::rule(format!("Instance is not in ERROR status (current: {status})")).into());
        }
        let reason = Some("tried again by an operator".to_owned());
        let request = Act::new(self.id, Action::Start, reason);
        let operation = match acceptance::act(tx, request, self.state.entropy(), by).await? {
            Acted::Queued(_, id) => Some(id),
            Acted::UnderWay(_, operation) => operation,
            Acted::Running(_) => None,
            Acted::NotFound => return Err(Problem::no_instance().into()),
            Acted::NotAllowed(refused) => return Err(Problem::rule(refused.to_string()).into()),
            Acted::Unpaid(why) => return Err(Problem::unpaid(why).into()),
            Acted::NotAdopted => return Err(Problem::not_adopted().into()),
            Acted::QueueFull => return Err(Problem::queue_full().into()),
            Acted::OtherVersion(_) | Acted::NoSuchBackup => return Err(Problem::not_built("Trying again").into()),
        };
        Answer::new(StatusCode::OK, &JobAnswer::new("Instance is tried again", Some(self.id), operation), operation)
    }
}
