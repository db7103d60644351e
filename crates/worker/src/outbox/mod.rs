//! Sends what the outbox holds: claims due mails, completes them, hands them to the notification service, marks them.
//!
//! Owns: the delivery loop, what is looked up at the last moment, what counts as given up.
//! Leaves to others: writing a mail, which happens in the transaction of the fact that it reports (`sagas`), the rows (`db`).
//!
//! Delivery is at least once under a constant id. Several workers may deliver side by side: a claimed mail belongs to its
//! claimer for [`HOLD`], which is longer than an attempt can take.

mod variables;

use clients::{ClientError, Mail, NotificationService, UserService};
use db::DbError;
use db::platform::PlatformDb;
use db::platform::outbox::{self, AfterFailure, DueMail};
use db::secrets::Keyring;
use futures::future::join_all;
use metrics::counter;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use url::Url;

/// How many mails are sent at a time.
const BATCH: i64 = 10;
/// How long a claim holds; an attempt takes 15 s of calls at most.
const HOLD: Duration = Duration::from_secs(60);
/// How often due mails are looked for.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause while postgres1 does not answer.
const PAUSE_WITHOUT_DATABASE: Duration = Duration::from_secs(5);

/// Why one attempt failed. The texts are stored in the row and logged: nothing personal, nothing secret.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Call(#[from] ClientError),
    #[error("the sealed variables cannot be opened: {0}")]
    Sealed(DbError),
    #[error("the row holds something else than variables and tags")]
    Form,
}

impl Failure {
    /// Whether trying again cannot help.
    const fn is_for_good(&self) -> bool {
        match self {
            Self::Call(error) => error.is_permanent(),
            Self::Sealed(_) => false,
            Self::Form => true,
        }
    }
}

/// The sender of the outbox.
pub struct Delivery {
    /// postgres1.
    pub db: PlatformDb,
    /// Opens the sealed variables.
    pub keyring: Arc<Keyring>,
    /// Knows address and first name.
    pub users: Arc<dyn UserService>,
    /// Takes the mails.
    pub notifications: Arc<dyn NotificationService>,
    /// For links.
    pub frontend: Url,
}

impl Delivery {
    /// Delivers until `stop`; what is being sent then is finished first.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.deliver_due().await {
                Ok(sent) if sent > 0 => continue,
                Ok(_) => PAUSE,
                Err(error) => {
                    tracing::warn!(error = %error, "the outbox cannot be read");
                    PAUSE_WITHOUT_DATABASE
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One attempt for each mail that is due, [`BATCH`] at most. Returns how many were tried.
    ///
    /// # Errors
    /// postgres1 could not be read or written; the claims lapse and are taken again.
    pub async fn deliver_due(&self) -> Result<usize, DbError> {
        let due = outbox::claim_due(&self.db, BATCH, HOLD).await?;
        let attempts = due.iter().map(|mail| self.attempt(mail));
        for outcome in join_all(attempts).await {
            outcome?;
        }
        Ok(due.len())
    }

    async fn attempt(&self, due: &DueMail) -> Result<(), DbError> {
        let failure = match self.send(due).await {
            Ok(()) => {
                counter!("outbox_delivered_total", "template" => due.template.clone()).increment(1);
                tracing::info!(mail_id = %due.id, template = due.template, attempt = due.attempt, "mail accepted");
                return outbox::delivered(&self.db, due.id).await;
            }
            Err(failure) => failure,
        };
        let after = outbox::failed(&self.db, due.id, &failure.to_string(), failure.is_for_good()).await?;
        counter!("outbox_failed_total", "template" => due.template.clone()).increment(1);
        match after {
            AfterFailure::Again => {
                tracing::warn!(mail_id = %due.id, template = due.template, attempt = due.attempt, error = %failure, "mail not accepted");
            }
            AfterFailure::Dead => {
                tracing::error!(mail_id = %due.id, template = due.template, attempt = due.attempt, error = %failure, "mail given up");
            }
        }
        Ok(())
    }

    async fn send(&self, due: &DueMail) -> Result<(), Failure> {
        let customer = self.users.customer(due.customer_id).await?;
        let secrets = outbox::open_secrets(due, &self.keyring).map_err(Failure::Sealed)?;
        let mail = Mail {
            id: due.id,
            to: customer.email.clone(),
            template: due.template.clone(),
            variables: variables::complete(due, &secrets, &customer, &self.frontend).ok_or(Failure::Form)?,
            tags: serde_json::from_value(due.tags.clone()).map_err(|_| Failure::Form)?,
        };
        Ok(self.notifications.send(&mail).await?)
    }
}
