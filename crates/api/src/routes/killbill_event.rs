//! `POST /webhooks/killbill/{secret}`: the billing engine says that something happened (contract 19.3).
//!
//! The event is kept and answered, nothing more: the sender waits 15 s at most. What it is about is looked at by the worker.

use crate::doors::same_secret;
use crate::input::{PathText, RawBody};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use db::platform::webhook_events::{self, DedupeKey};
use domain::billing_event::BillingEvent;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

/// An event. Whatever its type, only what the billing engine says when it is asked counts.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = KillBillEvent, example = json!({
    "eventType": "INVOICE_PAYMENT_SUCCESS", "accountId": "0d2f8a4e-2c6b-4f53-9d3e-6a1b7c8d9e0f", "objectType": "INVOICE", "objectId": "7b1f6c52-90ad-4a5e-8a57-3f4f2b9d1c60", "metaData": null,
}))]
#[expect(dead_code, reason = "what is of the wrong form is ignored, not refused")]
pub(super) struct EventBody {
    /// What happened.
    #[schema(example = "INVOICE_PAYMENT_SUCCESS")]
    #[serde(rename = "eventType")]
    event_type: String,
    /// Whose.
    #[serde(rename = "accountId")]
    account_id: Option<uuid::Uuid>,
    /// What the next field names.
    #[schema(example = "INVOICE")]
    #[serde(rename = "objectType")]
    object_type: Option<String>,
    /// To what: a subscription, an invoice or an account.
    #[serde(rename = "objectId")]
    object_id: Option<uuid::Uuid>,
    /// More about it: text, or JSON in a text.
    #[serde(rename = "metaData")]
    metadata: Option<String>,
}

/// What became of an event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KillBillEventAnswer)]
pub(super) struct EventAnswer {
    /// `stored`, `repeated` or `ignored`.
    #[schema(example = "stored")]
    status: &'static str,
}

/// An event of the billing engine
#[utoipa::path(post, operation_id = "receive_killbill_event", path = "/webhooks/killbill/{secret}", tag = "billing", request_body = Option<EventBody>, params(
    ("secret" = String, Path, description = "KILLBILL_WEBHOOK_SECRET"),
), responses(
    (status = 200, body = EventAnswer, description = "Kept, known already, or of no interest here"),
    (status = 400, description = "The body is not JSON", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "The secret is wrong, or the webhook is off", body = ProblemBody, content_type = "application/problem+json"),
    (status = 413, description = "The body is larger than 1 MiB", body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, description = "It cannot be kept at the moment", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    PathText(secret): PathText,
    body: RawBody,
) -> Result<Json<EventAnswer>, Problem> {
    let expected = state.policy().webhook_secret.as_ref();
    if !expected.is_some_and(|expected| same_secret(expected.expose_secret().as_bytes(), secret.as_bytes())) {
        return Err(Problem::not_found("There is no such webhook"));
    }
    let status = match read(&body)? {
        Some(event) => keep(&state, &event).await?,
        None => "ignored",
    };
    state.measures().record(|| metrics::counter!("killbill_events_total", "status" => status).increment(1));
    Ok(Json(EventAnswer { status }))
}

/// The event, if it is one that we know.
fn read(body: &RawBody) -> Result<Option<BillingEvent>, Problem> {
    let text = body.0.trim_ascii();
    if text.is_empty() {
        return Ok(None);
    }
    let body: Value = serde_json::from_slice(text).map_err(|_| Problem::rule("The request body is not valid JSON"))?;
    Ok(body.as_object().and_then(BillingEvent::read))
}

async fn keep(state: &AppState, event: &BillingEvent) -> Result<&'static str, Problem> {
    let key = key(event);
    let kept = webhook_events::receive(state.db(), event, &key);
    let unavailable = || Problem::unavailable("The event cannot be kept at the moment");
    // The sender comes again, so whatever stands in the way is answered alike.
    match tokio::time::timeout(state.policy().change_limit, kept).await {
        Ok(Ok(true)) => Ok("stored"),
        Ok(Ok(false)) => Ok("repeated"),
        Ok(Err(error)) => Err(unavailable().because(error)),
        Err(_) => Err(unavailable().because("postgres1 took too long")),
    }
}

/// A payment has an id; of everything else only its fields are known.
fn key(event: &BillingEvent) -> DedupeKey {
    if let Some(payment) = &event.payment {
        return DedupeKey::Lasting(format!("{} {payment}", event.kind));
    }
    let BillingEvent { kind, object, account, metadata, .. } = event;
    let mut sum = Sha256::new();
    sum.update(format!("{kind} {object} {account:?} {}", fields(metadata)));
    DedupeKey::Brief(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn fields(metadata: &Map<String, Value>) -> String {
    metadata.iter().map(|(name, value)| format!("{name}={value};")).collect()
}
