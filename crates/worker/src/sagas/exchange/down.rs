//! Brings the service down for the exchange. The way back starts it again, if it shall run.

use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use crate::sagas::takedown::StopService;
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

pub(in crate::sagas) struct Down(pub(in crate::sagas) Arc<Tools>);

#[async_trait]
impl Step for Down {
    fn name(&self) -> &'static str {
        "stop_service"
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(11 * 60)
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        StopService(Arc::clone(&self.0)).check(cx).await
    }

    async fn apply(&self, cx: &Cx, seen: Seen) -> Result<Value, StepError> {
        StopService(Arc::clone(&self.0)).apply(cx, seen).await
    }
}

#[async_trait]
impl Undo for Down {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        // Who pre-empted the restore does not want it up.
        if site.shall_run() {
            self.0.runtime.ensure(&site.workload(cx, &self.0)?).await?;
        }
        Ok(())
    }
}
