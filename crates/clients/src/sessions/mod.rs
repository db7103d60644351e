//! Login sessions: whose a bearer token is. Kept by the platform in Redis, and known to the user service.
//!
//! Owns: how a session is stored there, and when it counts. Leaves to others: what its customer may do (`api`).

#[cfg(feature = "fake")]
pub mod fake;
mod redis_store;
mod user_service;

pub use redis_store::{RedisAddress, RedisSessions};
pub use user_service::UserServiceSessions;

use crate::error::ClientResult;
use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime, Utc};
use domain::ids::CustomerId;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::Value;

/// A session that counts now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who has logged in.
    pub customer: CustomerId,
    /// From then on it does not count any more, if that is known.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Knows the sessions.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// The session of a token; `None` if there is none, or none that counts at `now`.
    ///
    /// # Errors
    /// The store did not answer, or not in a way that can be used: it says nothing about the token.
    async fn session(&self, token: &SecretString, now: DateTime<Utc>) -> ClientResult<Option<Session>>;
}

/// A session as the platform writes it; there are more fields.
#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    customer_id: Option<String>,
    #[serde(default)]
    is_active: Option<bool>,
    #[serde(default)]
    expires_at: Option<Value>,
}

impl Stored {
    /// `active_by_itself`: being there without the word counts as active.
    fn counts(&self, now: DateTime<Utc>, active_by_itself: bool) -> Option<Session> {
        let customer = self.customer_id.as_deref()?.parse().ok()?;
        let expires_at = match &self.expires_at {
            None | Some(Value::Null) => None,
            // One that cannot be read must not count for ever.
            Some(stored) => Some(time(stored)?),
        };
        let active = self.is_active.unwrap_or(active_by_itself);
        (active && expires_at.is_none_or(|end| end > now)).then_some(Session { customer, expires_at })
    }
}

/// A time as RFC 3339, the same without an offset (UTC), or seconds since 1970.
fn time(stored: &Value) -> Option<DateTime<Utc>> {
    match stored {
        Value::String(text) => DateTime::parse_from_rfc3339(text)
            .map(|time| time.with_timezone(&Utc))
            .or_else(|_| text.parse::<NaiveDateTime>().map(|time| time.and_utc()))
            .ok(),
        Value::Number(seconds) => DateTime::from_timestamp(seconds.as_f64()? as i64, 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const WHO: &str = "0d2f8a4e-2c6b-4f53-9d3e-6a1b7c8d9e0f";

    fn counts(stored: Value) -> bool {
        let now = DateTime::parse_from_rfc3339("2026-11-23T12:00:00Z").unwrap().with_timezone(&Utc);
        serde_json::from_value::<Stored>(stored).ok().and_then(|stored| stored.counts(now, false)).is_some()
    }

    #[test]
    fn a_session_counts_while_it_is_active_and_not_over() {
        for (end, expected) in [
            (json!(null), true),
            (json!("2026-11-23T12:00:01+00:00"), true),
            (json!("2026-11-23T13:00:01+02:00"), false),
            (json!("2026-11-23T12:00:00.500000"), true),
            (json!("2026-11-23T11:59:59"), false),
            (json!(1_795_435_201_i64), true),
            (json!(1_695_435_201_i64), false),
            (json!("soon"), false),
            (json!([]), false),
        ] {
            let stored = json!({ "customer_id": WHO, "is_active": true, "expires_at": end });
            assert_eq!(counts(stored), expected, "{end}");
        }
        assert!(!counts(json!({ "customer_id": WHO, "is_active": false })));
        assert!(!counts(json!({ "customer_id": WHO })), "it has to say so");
        assert!(!counts(json!({ "customer_id": "7", "is_active": true })));
        assert!(!counts(json!({ "is_active": true })));
        assert!(!counts(json!({ "id": WHO, "is_active": true })), "that is the session's own");
        assert!(counts(json!({ "id": "any", "customer_id": WHO, "is_active": true })));
    }
}
