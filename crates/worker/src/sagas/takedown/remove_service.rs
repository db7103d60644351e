//! Stops the service and forgets it. Its host name may soon belong to somebody else; the row has all that brings it back.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::{Site, turn};
use async_trait::async_trait;
use domain::operation::Place;
use runtime::Observed;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(in crate::sagas) struct RemoveService(pub(in crate::sagas) Arc<Tools>);

#[async_trait]
impl Step for RemoveService {
    fn name(&self) -> &'static str {
        "remove_service"
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
        self.0.runtime.remove(&service, turn(cx)).await?;
        match self.0.runtime.observe(&service).await? {
            Observed::Absent => Ok(json!({ "there": true })),
            left => Err(StepError::retry("service_not_gone", "Odoo is still being stopped.", format!("after removal: {left:?}"))),
        }
    }
}
