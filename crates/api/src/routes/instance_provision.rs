//! `POST /api/v1/instances/{id}/provision`: what the billing-service calls at every occasion (contract 8.1).
//!
//! All values are checked before anything is written.

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
use db::platform::acceptance::{self, Provision, Provisioned, Skip, Trigger};
use db::platform::audit::AuditContext;
use domain::ids::{InstanceId, SubscriptionId};
use domain::instance::{BillingStatus, Suspension};
use domain::times;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

/// What billing says.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = ProvisionInstance, example = json!({
    "subscription_id": "7b1f6c52-90ad-4a5e-8a57-3f4f2b9d1c60", "billing_status": "paid", "provisioning_trigger": "invoice_payment_success",
}))]
#[expect(dead_code, reason = "bodies are read field by field, so that every refusal names its field")]
pub(super) struct ProvisionBody {
    /// The subscription that pays from now on.
    subscription_id: Option<Uuid>,
    /// `payment_required`, `trial` or `paid`.
    #[schema(default = "paid")]
    billing_status: Option<String>,
    /// The occasion; three of them only note the billing status.
    #[schema(example = "invoice_payment_success")]
    provisioning_trigger: Option<String>,
    /// Who says so.
    triggered_by: Option<String>,
}

/// What came of the call.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ProvisionAnswer {
    /// `success` or `skipped`.
    #[schema(example = "success")]
    status: &'static str,
    /// In words.
    #[schema(example = "Instance provisioning started")]
    message: String,
    /// The operation that was accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Uuid>)]
    job_id: Option<Option<Uuid>>,
    /// The billing status now; not in skipped answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    billing_status: Option<&'static str>,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
}

/// Provision an instance, or note what billing says
#[utoipa::path(post, operation_id = "provision_instance", path = "/api/v1/instances/{id}/provision", tag = "instances", request_body = Option<ProvisionBody>, params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = ProvisionAnswer),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Another live instance has the subscription, or too much is queued", body = ProblemBody, content_type = "application/problem+json"),
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

fn read(id: InstanceId, body: &RawBody) -> Result<Provision, Problem> {
    let mut fields = Fields::of(body.object(true)?);
    let subscription_id = fields.parsed("subscription_id", "a UUID", "uuid_parsing", |text| text.parse::<SubscriptionId>().ok());
    let must = "one of payment_required, trial, paid";
    let billing_status = fields.parsed("billing_status", must, "enum", BillingStatus::parse_client);
    let trigger = fields.note("provisioning_trigger");
    let by = fields.note("triggered_by");
    fields.finish()?;
    Ok(Provision {
        instance_id: id,
        subscription_id,
        billing_status: billing_status.unwrap_or(BillingStatus::Paid),
        trigger: Trigger::parse(trigger.as_deref()),
        reason: reason(trigger, by),
    })
}

fn reason(trigger: Option<String>, by: Option<String>) -> Option<String> {
    let parts: Vec<String> = trigger.into_iter().chain(by).filter(|part| !part.is_empty()).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

struct Ordered<'a> {
    state: &'a AppState,
    request: Provision,
}

impl Change for Ordered<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let billing = self.request.billing_status;
        let (message, operation) = match acceptance::provision(tx, self.request.clone(), self.state.entropy(), by).await? {
            Provisioned::Started { operation, .. } => ("Instance provisioning started".to_owned(), Some(operation)),
            Provisioned::BillingUpdated(_) => (noted(billing, self.request.trigger), None),
            Provisioned::Skipped(skip) => return self.skipped(skip),
            Provisioned::NotFound => return Err(Problem::no_instance().into()),
            Provisioned::SubscriptionTaken => {
                return Err(Problem::conflict("Another instance already has this subscription").into());
            }
            Provisioned::NotAdopted => return Err(Problem::not_adopted().into()),
            Provisioned::QueueFull => return Err(Problem::queue_full().into()),
        };
        let body = ProvisionAnswer {
            status: "success",
            message,
            job_id: operation.map(|operation| operation.map(|id| id.as_uuid())),
            billing_status: Some(billing.as_str()),
            timestamp: self.state.clock().now(),
        };
        Answer::new(StatusCode::OK, &body, operation.flatten())
    }
}

impl Ordered<'_> {
    fn skipped(&self, skip: Skip) -> Result<Answer, Failure> {
        let message = match skip {
            Skip::NotPending(current) => format!("Instance not in pending state (current: {current})"),
            Skip::Terminated => "Instance is terminated".to_owned(),
            Skip::Suspended(Suspension::Operator) => "Instance is suspended by an operator".to_owned(),
            Skip::Suspended(_) => "Instance is suspended because a payment is outstanding".to_owned(),
        };
        let timestamp = self.state.clock().now();
        let body = ProvisionAnswer { status: "skipped", message, job_id: None, billing_status: None, timestamp };
        Answer::new(StatusCode::OK, &body, None)
    }
}

fn noted(billing: BillingStatus, trigger: Trigger) -> String {
    let after = if trigger == (Trigger::BillingUpdate { write_off: true }) { " after invoice write-off" } else { "" };
    format!("Billing status updated to {billing}{after}")
}
