//! Sessions by way of the user service: `GET /auth/me` with the token.

use super::{Session, SessionStore, Stored};
use crate::error::{ClientError, ClientResult};
use crate::users::TIMEOUT;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

const NAME: &str = "user service";

/// Whom it answers for. Its `id` is the customer's; in Redis a session may have an `id` of its own.
#[derive(Deserialize)]
struct Me {
    #[serde(default)]
    id: Option<String>,
    #[serde(flatten)]
    stored: Stored,
}

/// The user service, asked whose a token is.
#[derive(Clone, Debug)]
pub struct UserServiceSessions {
    http: reqwest::Client,
    base: Url,
}

impl UserServiceSessions {
    /// The user service at `base`.
    pub const fn new(http: reqwest::Client, base: Url) -> Self {
        Self { http, base }
    }
}

#[async_trait]
impl SessionStore for UserServiceSessions {
    async fn session(&self, token: &SecretString, now: DateTime<Utc>) -> ClientResult<Option<Session>> {
        let address = format!("{}/auth/me", self.base.as_str().trim_end_matches('/'));
        let ask = self.http.get(address).bearer_auth(token.expose_secret()).timeout(TIMEOUT);
        let answer = ask.send().await.map_err(|error| ClientError::transport(NAME, error))?;
        match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
            status if status.is_success() => {
                let me: Me = answer.json().await.map_err(|error| ClientError::transport(NAME, error))?;
                let stored = Stored { customer_id: me.stored.customer_id.or(me.id), ..me.stored };
                // It answers for sessions that count; the word is there where accounts are blocked.
                Ok(stored.counts(now, true))
            }
            status => Err(ClientError::status(NAME, status)),
        }
    }
}
