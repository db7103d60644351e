//! Calls to what runs on this machine.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::time::Duration;

/// A client for loopback: no proxy, every answer is an answer.
#[derive(Debug)]
pub(super) struct Client(ureq::Agent);

impl Client {
    pub(super) fn new() -> Self {
        let config =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).http_status_as_error(false).proxy(None);
        Self(config.build().into())
    }

    /// The status of a page; `None` when nobody answers.
    pub(super) fn status(&self, url: &str) -> Option<u16> {
        self.0.get(url).call().ok().map(|answer| answer.status().as_u16())
    }

    pub(super) fn get(&self, url: &str) -> Result<Value> {
        let answer = self.0.get(url).call().with_context(|| format!("{url} does not answer"))?;
        read(url, answer)
    }

    pub(super) fn post(&self, url: &str, body: &Value) -> Result<Value> {
        let answer = self.0.post(url).send_json(body).with_context(|| format!("{url} does not answer"))?;
        read(url, answer)
    }
}

fn read(url: &str, mut answer: ureq::http::Response<ureq::Body>) -> Result<Value> {
    let status = answer.status();
    let text = answer.body_mut().read_to_string().with_context(|| format!("{url} broke off"))?;
    if !status.is_success() {
        bail!("{url} answered {status}: {text}");
    }
    serde_json::from_str(&text).with_context(|| format!("{url} did not answer JSON"))
}
