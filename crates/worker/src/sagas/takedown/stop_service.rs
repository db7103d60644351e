//! Brings the service down and looks whether it is. A missing one is down.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::{GRACE, Site, turn};
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(in crate::sagas) struct StopService(pub(in crate::sagas) Arc<Tools>);

#[async_trait]
impl Step for StopService {
    fn name(&self) -> &'static str {
        "stop_service"
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(90)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(json!({ "there": false })) };
        let service = site.service();
        self.0.runtime.stop(&service, turn(cx), GRACE).await?;
        let left = self.0.runtime.observe(&service).await?;
        if left.is_up() {
            return Err(StepError::retry(
                "service_not_down",
                "Odoo is still being stopped.",
                format!("after the stop: {left:?}"),
            ));
        }
        Ok(json!({ "there": true }))
    }
}
