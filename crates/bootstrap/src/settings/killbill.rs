//! The direct webhook of the billing engine (contract 19.3), off by default. The API needs its secret, the worker needs to be able to
//! ask the engine: what a webhook says is never believed.

use super::reader::{Reader, plain_base_url};
use super::variables as v;
use secrecy::{ExposeSecret as _, SecretString};
use std::time::Duration;
use url::Url;

/// A secret that is part of an address has to look like one.
const SHORTEST_SECRET: usize = 16;

/// How the worker asks the billing engine.
#[derive(Clone, Debug)]
pub struct KillBillSettings {
    /// Where it is.
    pub url: Url,
    /// User.
    pub username: String,
    /// Password.
    pub password: SecretString,
    /// Which tenant.
    pub api_key: SecretString,
    /// That we may ask for this tenant.
    pub api_secret: SecretString,
    /// Whether the overdue state of an account counts, too.
    pub overdue: bool,
    /// How often every subscription is looked at, webhook or not.
    pub sync_every: Duration,
}

/// The secret of the webhook, if there is one.
pub(super) fn webhook_secret(reader: &mut Reader<'_>) -> Option<Option<SecretString>> {
    let enabled = reader.switch(&v::KILLBILL_WEBHOOK_ENABLED);
    let before = reader.problem_count();
    let secret = reader.optional_secret(&v::KILLBILL_WEBHOOK_SECRET);
    if let Some(text) = secret.as_ref().map(|secret| secret.expose_secret())
        && (text.len() < SHORTEST_SECRET || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)))
    {
        let must = "at least 16 letters, digits, `-` or `_`: it is part of an address";
        reader.problem(format!("KILLBILL_WEBHOOK_SECRET must have {must}"));
    }
    if enabled == Some(true) && secret.is_none() && reader.problem_count() == before {
        reader.problem("KILLBILL_WEBHOOK_ENABLED=true needs KILLBILL_WEBHOOK_SECRET (or KILLBILL_WEBHOOK_SECRET_FILE)");
    }
    Some(secret.filter(|_| enabled == Some(true))).filter(|_| enabled.is_some())
}

impl KillBillSettings {
    /// `Some(None)`: the webhook is off.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Option<Self>> {
        let enabled = reader.switch(&v::KILLBILL_WEBHOOK_ENABLED);
        let required = enabled == Some(true);
        let must = "an http or https address without user, query or fragment";
        let url = reader.parsed_optional(&v::KILLBILL_URL, must, plain_base_url);
        if required && matches!(url, Some(None)) {
            missing(reader, v::KILLBILL_URL.name);
        }
        let username = reader.optional(&v::KILLBILL_USERNAME);
        if required && username.is_none() {
            missing(reader, v::KILLBILL_USERNAME.name);
        }
        let password = secret(reader, &v::KILLBILL_PASSWORD, required);
        let api_key = secret(reader, &v::KILLBILL_API_KEY, required);
        let api_secret = secret(reader, &v::KILLBILL_API_SECRET, required);
        let overdue = reader.switch(&v::KILLBILL_OVERDUE_ENABLED);
        let sync_every = reader.seconds(&v::KILLBILL_SYNC_INTERVAL_SECONDS, 10..=86_400);
        if !enabled? {
            return Some(None);
        }
        Some(Some(Self {
            url: url??,
            username: username?,
            password: password?,
            api_key: api_key?,
            api_secret: api_secret?,
            overdue: overdue?,
            sync_every: sync_every?,
        }))
    }
}

fn secret(reader: &mut Reader<'_>, variable: &v::Variable, required: bool) -> Option<SecretString> {
    let before = reader.problem_count();
    let value = reader.optional_secret(variable);
    if required && value.is_none() && reader.problem_count() == before {
        missing(reader, variable.name);
    }
    value
}

fn missing(reader: &mut Reader<'_>, name: &str) {
    reader.problem(format!("KILLBILL_WEBHOOK_ENABLED=true needs {name}"));
}
