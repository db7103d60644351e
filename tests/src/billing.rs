//! Acting as the billing service does: plain HTTP on the internal door, no credentials, a new connection for each call.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body; null when it is empty or not JSON.
    pub body: Value,
}

impl Answer {
    /// The text at `name`.
    ///
    /// # Errors
    /// When there is none.
    pub fn text(&self, name: &str) -> Result<String> {
        Ok(self.body[name].as_str().with_context(|| format!("no {name} in {self:?}"))?.to_owned())
    }

    /// Itself, if the status is this one.
    ///
    /// # Errors
    /// With the whole answer, if it is not.
    pub fn expect(self, status: u16) -> Result<Self> {
        ensure!(self.status == status, "expected {status}: {self:?}");
        Ok(self)
    }
}

/// Calls `method` on `url`, with a JSON body if there is one.
///
/// # Errors
/// When no answer comes within 30 s.
pub fn call(method: &str, url: &str, body: Option<&Value>) -> Result<Answer> {
    call_with(method, url, body, &[])
}

/// The same, with headers.
///
/// # Errors
/// As [`call`].
pub fn call_with(method: &str, url: &str, body: Option<&Value>, headers: &[(&str, &str)]) -> Result<Answer> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .max_idle_connections(0)
        .build()
        .into();
    let request = ureq::http::Request::builder().method(method).uri(url);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let mut response = match body {
        Some(body) => agent.run(request.header("content-type", "application/json").body(body.to_string())?),
        None => agent.run(request.body(())?),
    }
    .with_context(|| format!("{method} {url}"))?;
    let text = response.body_mut().read_to_string()?;
    Ok(Answer { status: response.status().as_u16(), body: serde_json::from_str(&text).unwrap_or(Value::Null) })
}

/// Fetches a file, which must be there.
///
/// # Errors
/// When it is not served with status 200.
pub fn fetch(url: &str) -> Result<Vec<u8>> {
    let mut response = patient().get(url).call().with_context(|| url.to_owned())?;
    ensure!(response.status().as_u16() == 200, "{url} answers {}", response.status());
    Ok(response.body_mut().with_config().limit(256 * 1024 * 1024).read_to_vec()?)
}

/// Posts a zip archive.
///
/// # Errors
/// When no answer comes.
pub fn bring(url: &str, archive: &[u8]) -> Result<Answer> {
    let sent = patient().post(url).header("content-type", "application/zip").send(archive);
    let mut response = sent.with_context(|| url.to_owned())?;
    let text = response.body_mut().read_to_string()?;
    Ok(Answer { status: response.status().as_u16(), body: serde_json::from_str(&text).unwrap_or(Value::Null) })
}

fn patient() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(120)));
    config.max_idle_connections(0).build().into()
}

/// What a customer orders.
#[derive(Clone, Debug)]
pub struct Order(Value);

impl Order {
    /// An order of customer `customer` with subscription `subscription`, labelled `label`.
    pub fn new(customer: &str, subscription: &str, label: &str) -> Self {
        Self(json!({
            "name": format!("Shop {label}"), "customer_id": customer, "subscription_id": subscription, "database_name": label,
            "admin_email": format!("owner@{}.example", label.replace('_', "-")), "billing_status": "paid", "odoo_version": "19",
        }))
    }

    /// The same with another value at `field`.
    pub fn with(mut self, field: &str, value: Value) -> Self {
        self.0[field] = value;
        self
    }

    /// The request body.
    pub const fn body(&self) -> &Value {
        &self.0
    }
}
