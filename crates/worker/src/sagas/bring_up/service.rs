//! Makes the service run as the row says: a missing one is made, one with other limits or variables is started anew.

use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::unless_foreign;
use crate::sagas::site::{GRACE, Site, turn};
use async_trait::async_trait;
use domain::operation::Place;
use runtime::Observed;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// It records the limits that the service has from then on.
pub(in crate::sagas) const NAME: &str = "service";

pub(in crate::sagas) struct RunService(pub(in crate::sagas) Arc<Tools>);

#[async_trait]
impl Step for RunService {
    fn name(&self) -> &'static str {
        NAME
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
        self.0.runtime.ensure(&site.workload(cx, &self.0)?).await?;
        Ok(json!(site.instance.limits()))
    }
}

/// It is down again; the service itself belongs to the instance, whoever made it.
#[async_trait]
impl Undo for RunService {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        unless_foreign(self.0.runtime.stop(&site.service(), turn(cx), GRACE).await)
    }
}
