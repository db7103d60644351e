//! `POST /api/v1/instances`

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::input::{QueryText, RawBody, RawQueryText};
use crate::order_body::{self, CreateBody};
use crate::problem::{Problem, ProblemBody};
use crate::shapes::instance::InstanceShape;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use db::platform::PlatformTx;
use db::platform::acceptance::{self, Create, Created};
use db::platform::audit::AuditContext;
use db::platform::instances::Instance;
use domain::order::Order;

/// Record a new instance
///
/// Nothing is provisioned before `provision` is called, unless `provision=true` asks for it at once. A repetition with the
/// same subscription answers 200 with the instance that is there.
#[utoipa::path(post, operation_id = "create_instance", path = "/api/v1/instances", tag = "instances", request_body = CreateBody, params(
    ("provision" = Option<bool>, Query, description = "Queue its provisioning in the same transaction"),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 201, description = "Recorded", body = InstanceShape),
    (status = 200, description = "The subscription has this instance already", body = InstanceShape),
    (status = 400, description = "A rule of the house is broken", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Host name or subscription in use", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A field of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    headers: HeaderMap,
    mut query: QueryText,
    raw_query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let provision = query.switch("provision");
    query.finish()?;
    let order = order_body::read(body.object(false)?, &state.policy().order)?;
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &raw_query.0 };
    change::run(&state, &asked, &Ordered { state: &state, order, provision }).await
}

struct Ordered<'a> {
    state: &'a AppState,
    order: Order,
    provision: bool,
}

impl Change for Ordered<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let request = Create { order: self.order.clone(), provision: self.provision };
        let reserved = &self.state.policy().order.reserved_hosts;
        match acceptance::create(tx, request, reserved, self.state.entropy(), by).await? {
            Created::New(instance) => answer(StatusCode::CREATED, instance),
            Created::Replayed(instance) => answer(StatusCode::OK, instance),
            Created::SubscriptionTaken => Err(Problem::conflict("This subscription already has an instance").into()),
            Created::Refused(refusal) => Err(Problem::from(refusal).into()),
            Created::LabelTaken(label) => {
                Err(Problem::rule(format!("Database name '{label}' already exists for this customer")).into())
            }
            Created::HostTaken(host) => Err(Problem::conflict(format!("Subdomain '{host}' is already taken")).into()),
        }
    }
}

fn answer(status: StatusCode, instance: Instance) -> Result<Answer, Failure> {
    let operation = instance.operation_id;
    Answer::new(status, &InstanceShape::from(instance), operation)
}
