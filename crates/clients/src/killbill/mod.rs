//! The billing engine: what it says of a subscription, its account and its invoices (KillBill API docs: subscriptions, bundles,
//! accounts, invoices). Read only.
//!
//! Owns: paths, headers, time and size limits, the words of its answers. Leaves to others: what they mean for an instance
//! (`worker::billing`).

mod answers;

pub use answers::{Account, Bundle, Invoice, Item, Overdue, Phase, State, Subscription};

use answers::{CustomField, Payment};
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use url::Url;
use uuid::Uuid;

/// Longest wait for one answer.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer that is read: all invoices of one account.
const LARGEST: usize = 8 * 1024 * 1024;

/// Result of a question.
pub type KillBillResult<T> = Result<T, KillBillError>;

/// A question without a usable answer. The texts carry nothing of the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KillBillError {
    /// No answer, or one that says "not now".
    #[error("the billing engine cannot be reached: {0}")]
    Unreachable(String),
    /// It does not let us ask: user, password or tenant are wrong.
    #[error("the billing engine refused with {0}")]
    Refused(u16),
    /// It knows no such thing.
    #[error("the billing engine knows no such {0}")]
    Absent(&'static str),
    /// An answer that we cannot read.
    #[error("the billing engine's answer about {0} cannot be read")]
    Invalid(&'static str),
}

/// Who asks, and for which tenant (KillBill API docs: authentication).
#[derive(Clone)]
pub struct KillBillAccess {
    /// User.
    pub username: String,
    /// Password.
    pub password: SecretString,
    /// `X-Killbill-ApiKey`.
    pub api_key: SecretString,
    /// `X-Killbill-ApiSecret`.
    pub api_secret: SecretString,
}

/// The billing engine over HTTP.
#[derive(Clone)]
pub struct KillBill {
    http: reqwest::Client,
    base: Url,
    access: KillBillAccess,
}

impl fmt::Debug for KillBill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KillBill").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl KillBill {
    /// The billing engine at `base`.
    pub const fn new(http: reqwest::Client, base: Url, access: KillBillAccess) -> Self {
        Self { http, base, access }
    }

    /// One subscription.
    ///
    /// # Errors
    /// See [`KillBillError`].
    pub async fn subscription(&self, id: Uuid) -> KillBillResult<Subscription> {
        self.ask("subscription", &format!("subscriptions/{id}")).await
    }

    /// The custom fields of a subscription; empty ones are absent.
    ///
    /// # Errors
    /// See [`KillBillError`].
    pub async fn custom_fields(&self, subscription: Uuid) -> KillBillResult<BTreeMap<String, String>> {
        let fields: Vec<CustomField> = self.ask("subscription", &format!("subscriptions/{subscription}/customFields")).await?;
        let filled = fields.into_iter().filter_map(|field| Some((field.name, field.value?.trim().to_owned())));
        Ok(filled.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// An account.
    ///
    /// # Errors
    /// See [`KillBillError`].
    pub async fn account(&self, id: Uuid) -> KillBillResult<Account> {
        self.ask("account", &format!("accounts/{id}")).await
    }

    /// How overdue an account is.
    ///
    /// # Errors
    /// See [`KillBillError`].
    pub async fn overdue(&self, account: Uuid) -> KillBillResult<Overdue> {
        self.ask("account", &format!("accounts/{account}/overdue")).await
    }

    /// The bundles of an account, with their subscriptions.
    ///
    /// # Errors
    /// See [`KillBillError`].
    pub async fn account_bundles(&self, account: Uuid) -> KillBillResult<Vec<Bundle>> {
        self.ask("account", &format!("accounts/{account}/bundles")).await
    }

    /// A page of all bundles of the tenant.
    ///
    /// # Errors
    /// See [`KillBillError`].
    pub async fn bundles(&self, offset: usize, limit: usize) -> KillBillResult<Vec<Bundle>> {
        self.ask("bundles", &format!("bundles/pagination?offset={offset}&limit={limit}")).await
    }

    /// An invoice with its items.
    ///
    /// # Errors
    /// See [`KillBillError`].
    pub async fn invoice(&self, id: Uuid) -> KillBillResult<Invoice> {
        self.ask("invoice", &format!("invoices/{id}?withItems=true")).await
    }

    /// All invoices of an account with their items. Older releases call for the items by another word.
    ///
    /// # Errors
    /// See [`KillBillError`].
    pub async fn account_invoices(&self, account: Uuid) -> KillBillResult<Vec<Invoice>> {
        self.ask("account", &format!("accounts/{account}/invoices?withItems=true&includeInvoiceComponents=true")).await
    }

    /// Whether a payment of this invoice was tried and failed.
    ///
    /// # Errors
    /// See [`KillBillError`].
    pub async fn payment_failed(&self, invoice: Uuid) -> KillBillResult<bool> {
        let payments: Vec<Payment> = self.ask("invoice", &format!("invoices/{invoice}/payments")).await?;
        Ok(payments.iter().any(Payment::has_failed))
    }

    async fn ask<T: DeserializeOwned>(&self, about: &'static str, path: &str) -> KillBillResult<T> {
        let address = format!("{}/1.0/kb/{path}", self.base.as_str().trim_end_matches('/'));
        let request = self
            .http
            .get(address)
            .timeout(TIMEOUT)
            .basic_auth(&self.access.username, Some(self.access.password.expose_secret()))
            .header("X-Killbill-ApiKey", self.access.api_key.expose_secret())
            .header("X-Killbill-ApiSecret", self.access.api_secret.expose_secret())
            .header("Accept", "application/json");
        let answer = request.send().await.map_err(transport)?;
        match answer.status() {
            StatusCode::NOT_FOUND => return Err(KillBillError::Absent(about)),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => return Err(not_now(answer.status())),
            status if status.is_server_error() => return Err(not_now(status)),
            status if !status.is_success() => return Err(KillBillError::Refused(status.as_u16())),
            _ => {}
        }
        let body = bounded(answer, about).await?;
        serde_json::from_slice(&body).map_err(|_| KillBillError::Invalid(about))
    }
}

/// The body, as long as it is not too large.
async fn bounded(mut answer: reqwest::Response, about: &'static str) -> KillBillResult<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(transport)? {
        if body.len() + part.len() > LARGEST {
            return Err(KillBillError::Invalid(about));
        }
        body.extend_from_slice(&part);
    }
    Ok(body)
}

fn not_now(status: StatusCode) -> KillBillError {
    KillBillError::Unreachable(format!("status {}", status.as_u16()))
}

fn transport(error: reqwest::Error) -> KillBillError {
    let what = if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "the connection broke"
    };
    KillBillError::Unreachable(what.to_owned())
}
