//! Makes the service at the runtime and starts it.

use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::unless_foreign;
use crate::sagas::site::{Site, turn};
use async_trait::async_trait;
use db::mutation::{Mutation, is_on};
use domain::operation::Place;
use runtime::Observed;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct StartService(pub(super) Arc<Tools>);

#[async_trait]
impl Step for StartService {
    fn name(&self) -> &'static str {
        "service"
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    /// Includes the download of an image.
    fn limit(&self) -> Duration {
        Duration::from_secs(11 * 60)
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        let site = Site::of(cx, &self.0).await?;
        Ok(match self.0.runtime.observe(&site.service()).await? {
            Observed::Absent => Seen::Absent,
            _ => Seen::Partial,
        })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        let mut workload = site.workload(cx, &self.0)?;
        if is_on(Mutation::ServicePerOwner) {
            workload.service.name.push_str(&format!("-{}", cx.token()));
        }
        self.0.runtime.ensure(&workload).await?;
        Ok(json!({ "service": site.placement.service_name }))
    }
}

#[async_trait]
impl Undo for StartService {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        unless_foreign(self.0.runtime.remove(&site.service(), turn(cx)).await)
    }
}
