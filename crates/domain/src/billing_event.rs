//! What the billing engine pushes (contract 19.3). It has no signature and no order, so all that is taken of it is which thing to look
//! at; what that thing is like is asked of the engine.

use crate::words;
use serde_json::{Map, Value};
use uuid::Uuid;

words! {
    /// Events that may change an instance; all others are ignored.
    EventType {
        /// A subscription was made.
        SubscriptionCreation = "SUBSCRIPTION_CREATION",
        /// Its trial or another phase is over.
        SubscriptionPhase = "SUBSCRIPTION_PHASE",
        /// It has another plan.
        SubscriptionChange = "SUBSCRIPTION_CHANGE",
        /// It is cancelled, or will be.
        SubscriptionCancel = "SUBSCRIPTION_CANCEL",
        /// It came to its end.
        SubscriptionExpired = "SUBSCRIPTION_EXPIRED",
        /// Money came.
        InvoicePaymentSuccess = "INVOICE_PAYMENT_SUCCESS",
        /// Money did not come.
        InvoicePaymentFailed = "INVOICE_PAYMENT_FAILED",
        /// An account's debts are older, or settled.
        OverdueChange = "OVERDUE_CHANGE",
    }
}

/// What the id in an event names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// One subscription.
    Subscription,
    /// An invoice, which may be for several.
    Invoice,
    /// An account with all its subscriptions.
    Account,
}

impl EventType {
    /// What its id names.
    pub const fn subject(self) -> Subject {
        match self {
            Self::SubscriptionCreation
            | Self::SubscriptionPhase
            | Self::SubscriptionChange
            | Self::SubscriptionCancel
            | Self::SubscriptionExpired => Subject::Subscription,
            Self::InvoicePaymentSuccess | Self::InvoicePaymentFailed => Subject::Invoice,
            Self::OverdueChange => Subject::Account,
        }
    }
}

/// An event that may change an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillingEvent {
    /// What happened.
    pub kind: EventType,
    /// To what: see [`EventType::subject`].
    pub object: Uuid,
    /// Whose it is.
    pub account: Option<Uuid>,
    /// The payment, in events about one.
    pub payment: Option<String>,
    /// Those parts of its metadata that mean something here.
    pub metadata: Map<String, Value>,
}

/// The parts of the metadata that mean something here.
const KNOWN: &[&str] = &["paymentId", "actionType"];
const LONGEST: usize = 64;

impl BillingEvent {
    /// Reads the body of an event. `None`: nothing for us, because its type or its ids are unknown, or because a cancellation is only
    /// asked for.
    pub fn read(body: &Map<String, Value>) -> Option<Self> {
        let id = |name: &str| body.get(name).and_then(Value::as_str).and_then(|text| Uuid::parse_str(text).ok());
        let kind = body.get("eventType").and_then(Value::as_str).and_then(EventType::parse)?;
        let metadata = metadata(body.get("metaData"));
        let of = |name: &str| metadata.get(name).and_then(Value::as_str);
        if kind == EventType::SubscriptionCancel && of("actionType") == Some("REQUESTED") {
            return None;
        }
        let object = match kind.subject() {
            Subject::Account => id("objectId").or_else(|| id("accountId")),
            Subject::Subscription | Subject::Invoice => id("objectId"),
        };
        let payment = of("paymentId").filter(|_| kind.subject() == Subject::Invoice).map(str::to_owned);
        Some(Self { kind, object: object?, account: id("accountId"), payment, metadata })
    }
}

/// The metadata is null, text, or JSON in a text (contract 19.3).
fn metadata(given: Option<&Value>) -> Map<String, Value> {
    let inner = match given {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or(Value::Null),
        Some(value) => value.clone(),
        None => Value::Null,
    };
    let Value::Object(fields) = inner else { return Map::new() };
    let plain =
        |value: &Value| value.as_str().is_some_and(|text| text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic()));
    fields.into_iter().filter(|(name, value)| KNOWN.contains(&name.as_str()) && plain(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ID: &str = "00000000-0000-0000-0000-000000000007";

    fn read(body: Value) -> Option<BillingEvent> {
        BillingEvent::read(body.as_object().unwrap())
    }

    #[test]
    fn metadata_is_null_text_or_json_in_a_text() {
        let of = |metadata: Value| {
            read(json!({"eventType": "INVOICE_PAYMENT_SUCCESS", "objectId": ID, "metaData": metadata})).unwrap().payment
        };
        for nothing in [json!(null), json!(""), json!("some words"), json!("[1]"), json!("{\"paymentId\": 7}"), json!(7)] {
            assert_eq!(of(nothing.clone()), None, "{nothing}");
        }
        assert_eq!(of(json!("{\"paymentId\": \"p-1\", \"other\": {}}")).as_deref(), Some("p-1"));
        assert_eq!(of(json!({"paymentId": "p-1"})).as_deref(), Some("p-1"));
        assert_eq!(of(json!({"paymentId": "a\u{0}b"})), None, "the database takes no such text");
    }

    #[test]
    fn what_is_nothing_for_us_is_told_apart() {
        let requested = json!({"eventType": "SUBSCRIPTION_CANCEL", "objectId": ID, "metaData": "{\"actionType\":\"REQUESTED\"}"});
        let effective = json!({"eventType": "SUBSCRIPTION_CANCEL", "objectId": ID, "metaData": "{\"actionType\":\"EFFECTIVE\"}"});
        assert_eq!(read(requested), None);
        assert!(read(effective).is_some());
        for body in [
            json!({}),
            json!({"eventType": "TAG_CREATION", "objectId": ID}),
            json!({"eventType": "SUBSCRIPTION_CREATION", "objectId": "7"}),
            json!({"eventType": "SUBSCRIPTION_CREATION", "accountId": ID}),
            json!({"eventType": 7, "objectId": ID}),
        ] {
            assert_eq!(read(body.clone()), None, "{body}");
        }
        let account = read(json!({"eventType": "OVERDUE_CHANGE", "accountId": ID, "objectId": null})).unwrap();
        assert_eq!(account.object.to_string(), ID);
    }
}
