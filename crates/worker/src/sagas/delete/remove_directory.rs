//! Removes the data directory.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::{Site, turn};
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct RemoveDirectory(pub(super) Arc<Tools>);

#[async_trait]
impl Step for RemoveDirectory {
    fn name(&self) -> &'static str {
        "remove_directory"
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    /// A hundred thousand files on a network file system take their time.
    fn limit(&self) -> Duration {
        Duration::from_secs(30 * 60)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(json!({ "there": false })) };
        self.0.directories.remove(&site.directory(), site.owner(), turn(cx)).await?;
        Ok(json!({ "there": true }))
    }
}
