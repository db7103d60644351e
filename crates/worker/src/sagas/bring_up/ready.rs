//! Waits until Odoo answers as a customer needs it: login page and an asset of it.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use crate::sagas::waiting::until_ready;
use async_trait::async_trait;
use db::platform::journal;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "ready";
/// Odoo did not become ready in time.
pub(in crate::sagas) const NOT_READY: &str = "odoo_not_ready";
/// Polled inside the step for this long; then the operation gives its slot back between looks (contract 11.5).
const INSIDE: Duration = Duration::from_secs(15);
const BETWEEN: Duration = Duration::from_secs(2);
/// Longest time to become ready.
const PATIENCE: Duration = Duration::from_secs(300);

pub(in crate::sagas) struct Ready(pub(in crate::sagas) Arc<Tools>);

#[async_trait]
impl Step for Ready {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    fn weight(&self) -> u32 {
        5
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        const PUBLIC: &str = "Odoo is starting.";
        let site = Site::of(cx, &self.0).await?;
        let waited = journal::age(&cx.services().db, cx.operation().id, NAME).await?.unwrap_or_default();
        // Once it is late, one look must not decide: it may have been started anew just now.
        let inside = if waited < INSIDE || waited > PATIENCE { INSIDE } else { Duration::ZERO };
        match until_ready(cx, &self.0, &site.server, &site.workload(cx, &self.0)?, inside).await? {
            None => Ok(json!({})),
            Some(reason) if waited > PATIENCE => Err(StepError::permanent(NOT_READY, "Odoo did not start in time.", reason)),
            Some(reason) => Err(StepError::snooze(BETWEEN, "odoo_not_ready_yet", PUBLIC, reason)),
        }
    }
}
