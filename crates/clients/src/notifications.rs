//! The notification service: mails made from its templates.

use crate::error::{ClientError, ClientResult};
use async_trait::async_trait;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fmt;
use std::time::Duration;
use url::Url;
use uuid::Uuid;

const NAME: &str = "notification service";
/// Longest wait for one answer (contract 11.5).
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// One mail. `Debug` shows neither address nor variables: both are personal, and one variable may be a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Mail {
    /// Stays the same over all attempts, so that the receiver can tell a repetition.
    pub id: Uuid,
    /// Where it goes.
    pub to: String,
    /// Which template.
    pub template: String,
    /// What the template shows.
    pub variables: Map<String, Value>,
    /// Labels for the sender's statistics.
    pub tags: Vec<String>,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail").field("id", &self.id).field("template", &self.template).finish_non_exhaustive()
    }
}

/// Sends mails.
#[async_trait]
pub trait NotificationService: Send + Sync {
    /// Hands a mail over. `Ok` means accepted, not received.
    ///
    /// # Errors
    /// [`ClientError::UnknownTemplate`] for ever; anything else may be tried again.
    async fn send(&self, mail: &Mail) -> ClientResult<()>;
}

/// The notification service over HTTP.
#[derive(Clone, Debug)]
pub struct HttpNotificationService {
    http: reqwest::Client,
    base: Url,
}

impl HttpNotificationService {
    /// The notification service at `base`.
    pub const fn new(http: reqwest::Client, base: Url) -> Self {
        Self { http, base }
    }
}

#[async_trait]
impl NotificationService for HttpNotificationService {
    async fn send(&self, mail: &Mail) -> ClientResult<()> {
        let address = format!("{}/api/v1/emails/send-template", self.base.as_str().trim_end_matches('/'));
        let body = json!({
            "to_emails": [mail.to],
            "template_name": mail.template,
            "template_variables": mail.variables,
            "priority": "normal",
            "tags": mail.tags,
        });
        let request = self.http.post(address).timeout(TIMEOUT).header("Idempotency-Key", mail.id.to_string()).json(&body);
        let answer = request.send().await.map_err(|error| ClientError::transport(NAME, error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        if status == StatusCode::NOT_FOUND && names_template(answer, &mail.template).await {
            return Err(ClientError::UnknownTemplate { template: mail.template.clone() });
        }
        Err(ClientError::status(NAME, status))
    }
}

/// Whether a 404 is about the template. One from a proxy, or for a path that is not there yet, is not.
async fn names_template(answer: reqwest::Response, template: &str) -> bool {
    #[derive(Deserialize)]
    struct Problem {
        detail: String,
    }
    answer.json::<Problem>().await.is_ok_and(|problem| problem.detail.contains(template))
}

/// In memory, for tests.
#[cfg(feature = "fake")]
pub mod fake {
    use super::{ClientError, ClientResult, Mail, NotificationService, async_trait};
    use std::collections::VecDeque;
    use std::sync::{Mutex, MutexGuard, PoisonError};

    /// Keeps what it accepts; answers with scripted errors first, if there are any.
    #[derive(Debug, Default)]
    pub struct FakeNotifications {
        errors: Mutex<VecDeque<ClientError>>,
        accepted: Mutex<Vec<Mail>>,
    }

    impl FakeNotifications {
        /// The next mail is answered with this error.
        pub fn fail_next(&self, error: ClientError) {
            lock(&self.errors).push_back(error);
        }

        /// Every mail accepted so far.
        pub fn accepted(&self) -> Vec<Mail> {
            lock(&self.accepted).clone()
        }
    }

    #[async_trait]
    impl NotificationService for FakeNotifications {
        async fn send(&self, mail: &Mail) -> ClientResult<()> {
            if let Some(error) = lock(&self.errors).pop_front() {
                return Err(error);
            }
            lock(&self.accepted).push(mail.clone());
            Ok(())
        }
    }

    fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
