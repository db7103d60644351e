//! Writes filestore and data directory beside the live ones, each file compared with its checksum.

use super::plan::{self, Planned, opened};
use super::room::there_must_be_room;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::unless_foreign;
use crate::sagas::site::{Site, turn};
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use backup::Backup;
use domain::operation::Place;
use runtime::directory::Beside;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "new_data";

pub(super) struct Data(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Data {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn weight(&self) -> u32 {
        10
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(4 * 3600)
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        Ok(if cx.started_before(NAME) { Seen::Partial } else { Seen::Absent })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let (site, plan) = (Site::of(cx, &self.0).await?, cx.output::<Planned>(plan::NAME)?);
        let (backup, _) = opened(cx, &self.0, plan.backup, site.instance.id).await?;
        let (directory, owner) = (site.directory(), site.owner());
        let data = self.0.directories.stage(&directory, owner, turn(cx), plan.number).await?;
        let filestore = Backup::make_filestore(&data, site.placement.db_name.as_str())?;
        let written = unless_told_to_stop(cx, backup.unpack(data, filestore)).await.map_err(there_must_be_room)?;
        self.0.directories.hand_over(&directory, owner, turn(cx), plan.number).await?;
        Ok(json!({ "files": written.files, "bytes": written.files_bytes }))
    }
}

#[async_trait]
impl Undo for Data {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        let Some(plan) = cx.recorded::<Planned>(plan::NAME)? else { return Ok(()) };
        let staged = Beside::Incoming(plan.number);
        unless_foreign(self.0.directories.remove_beside(&site.directory(), site.owner(), turn(cx), staged).await)
    }
}
