//! Runs the service with the new limits. Where its engine cannot change them under way, it is started anew.

use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// It records what the service has from then on.
pub(super) const NAME: &str = "limits";

pub(super) struct NewLimits(pub(super) Arc<Tools>);

#[async_trait]
impl Step for NewLimits {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(120)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        self.run(cx, &site).await?;
        Ok(json!(site.instance.limits()))
    }
}

impl NewLimits {
    async fn run(&self, cx: &Cx, site: &Site) -> Result<(), StepError> {
        let workload = site.workload(cx, &self.0)?;
        self.0.directories.write_conf(&workload, Arc::clone(&cx.services().entropy)).await?;
        self.0.runtime.ensure(&workload).await?;
        Ok(())
    }
}

/// The limits from before, unless somebody has taken the instance down meanwhile.
#[async_trait]
impl Undo for NewLimits {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(mut site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        let Some(before) = site.instance.running_limits.take().filter(|_| site.shall_run()) else { return Ok(()) };
        (site.instance.cpu_limit, site.instance.memory_limit) = (before.cpu_limit, before.memory_limit);
        self.run(cx, &site).await
    }
}
