//! `POST /api/v1/instances/{id}/restart-with-subscription`: a terminated instance comes back (contract 8.2).

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::fields::Fields;
use crate::input::{PathId, RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use db::platform::PlatformTx;
use db::platform::acceptance::{self, Reactivate, Reactivated};
use db::platform::audit::AuditContext;
use domain::ids::{InstanceId, SubscriptionId};
use domain::instance::BillingStatus;
use domain::times;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

const REASON: &str = "Instance reactivated with new subscription";

/// Under which subscription it comes back.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ReactivateInstance, example = json!({
    "subscription_id": "7b1f6c52-90ad-4a5e-8a57-3f4f2b9d1c60", "billing_status": "paid", "skip_status_change": false,
}))]
#[expect(dead_code, reason = "bodies are read field by field, so that every refusal names its field")]
pub(super) struct ReactivateBody {
    /// What pays from now on.
    subscription_id: Uuid,
    /// `payment_required`, `trial` or `paid`.
    #[schema(default = "paid")]
    billing_status: Option<String>,
    /// Why.
    #[schema(default = "Instance reactivated with new subscription")]
    reason: Option<String>,
    /// It is ordered only, and stays terminated until its payment arrives.
    #[schema(default = false)]
    skip_status_change: Option<bool>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReactivateAnswer {
    /// Fixed.
    #[schema(example = "success")]
    status: &'static str,
    /// In words.
    message: String,
    /// The instance.
    instance_id: Uuid,
    /// What pays from now on.
    subscription_id: Uuid,
    /// The billing status now.
    #[schema(example = "paid")]
    billing_status: &'static str,
    /// `starting`, or `terminated` while the payment is awaited.
    #[schema(example = "starting")]
    instance_status: &'static str,
    /// The operation that brings it up.
    #[schema(required)]
    job_id: Option<Uuid>,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
}

/// Bring a terminated instance back under a new subscription
///
/// It keeps its data. One that never had any is provisioned.
#[utoipa::path(post, operation_id = "reactivate_instance", path = "/api/v1/instances/{id}/restart-with-subscription", tag = "instances", request_body = ReactivateBody, params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = ReactivateAnswer),
    (status = 400, description = "Not terminated, or no subscription", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Deleted, or its subscription, host name or database name is in use by another instance", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A field of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let request = read(id, &body)?;
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Ordered { state: &state, request }).await
}

fn read(id: InstanceId, body: &RawBody) -> Result<Reactivate, Problem> {
    let mut fields = Fields::of(body.object(true)?);
    let subscription_id = fields.parsed("subscription_id", "a UUID", "uuid_parsing", |text| text.parse::<SubscriptionId>().ok());
    let must = "one of payment_required, trial, paid";
    let billing_status = fields.parsed("billing_status", must, "enum", BillingStatus::parse_client);
    let reason = fields.note("reason").filter(|reason| !reason.trim().is_empty());
    let skip = fields.switch("skip_status_change");
    fields.finish()?;
    Ok(Reactivate {
        instance_id: id,
        subscription_id: subscription_id
            .ok_or_else(|| Problem::rule("A subscription_id is required to reactivate an instance"))?,
        billing_status: billing_status.unwrap_or(BillingStatus::Paid),
        skip_status_change: skip.unwrap_or(false),
        reason: reason.or_else(|| Some(REASON.to_owned())),
    })
}

struct Ordered<'a> {
    state: &'a AppState,
    request: Reactivate,
}

impl Change for Ordered<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let (request, reserved) = (self.request.clone(), &self.state.policy().order.reserved_hosts);
        let (instance, operation) = match acceptance::reactivate(tx, request, reserved, self.state.entropy(), by).await? {
            Reactivated::Waiting(instance) => (instance, None),
            Reactivated::Started(instance, id) => (instance, Some(id)),
            refused => return Err(problem(refused).into()),
        };
        let (subscription, status) = (self.request.subscription_id, instance.axes.status);
        let body = ReactivateAnswer {
            status: "success",
            message: format!("Instance reactivated with subscription {subscription} - status: {status}"),
            instance_id: instance.id.as_uuid(),
            subscription_id: subscription.as_uuid(),
            billing_status: instance.axes.billing.as_str(),
            instance_status: status.as_str(),
            job_id: operation.map(|id| id.as_uuid()),
            timestamp: self.state.clock().now(),
        };
        Answer::new(StatusCode::OK, &body, operation)
    }
}

fn problem(refused: Reactivated) -> Problem {
    match refused {
        Reactivated::NotTerminated(status) => {
            Problem::rule(format!("Instance must be terminated to restart with new subscription (current: {status})"))
        }
        Reactivated::Purged => Problem::deleted(),
        Reactivated::NotAdopted => Problem::not_adopted(),
        Reactivated::SubscriptionTaken => Problem::conflict("Another instance already has this subscription"),
        Reactivated::HostTaken(host) => Problem::conflict(format!("Subdomain '{host}' is already taken")),
        Reactivated::LabelTaken(label) => {
            Problem::conflict(format!("Database name '{label}' is in use by another instance of this customer"))
        }
        Reactivated::NotFound | Reactivated::Waiting(_) | Reactivated::Started(..) => Problem::no_instance(),
    }
}
