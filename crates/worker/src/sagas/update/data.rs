//! Copies the data directory beside itself: contents of the filestore under second names, the rest as it is.

use super::plan::{self, Planned};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::unless_foreign;
use crate::sagas::site::{Site, turn};
use async_trait::async_trait;
use domain::operation::Place;
use runtime::directory::Beside;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "copy_data";

pub(super) struct CopyData(pub(super) Arc<Tools>);

#[async_trait]
impl Step for CopyData {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(3600)
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        Ok(if cx.started_before(NAME) { Seen::Partial } else { Seen::Absent })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let (site, plan) = (Site::of(cx, &self.0).await?, cx.output::<Planned>(plan::NAME)?);
        let copied = self.0.directories.stage_copy(&site.directory(), site.owner(), turn(cx), plan.number).await?;
        Ok(json!({ "files": copied.files, "bytes": copied.bytes }))
    }
}

#[async_trait]
impl Undo for CopyData {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        let Some(plan) = cx.recorded::<Planned>(plan::NAME)? else { return Ok(()) };
        let staged = Beside::Incoming(plan.number);
        unless_foreign(self.0.directories.remove_beside(&site.directory(), site.owner(), turn(cx), staged).await)
    }
}
