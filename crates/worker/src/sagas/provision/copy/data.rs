//! Makes the data directory from the backup, each file compared with its checksum, with an `odoo.conf` of its own.

use super::super::data_directory::undo_directory;
use super::source::{self, Source};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::restore::{opened, there_must_be_room};
use crate::sagas::site::{Site, turn};
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use backup::Backup;
use domain::operation::Place as Where;
use runtime::directory::{Beside, Place};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const NAME: &str = "data_directory";
/// What is filled beside the empty data of the new directory.
const NUMBER: u32 = 1;

pub(in crate::sagas::provision) struct CopyData(pub(in crate::sagas::provision) Arc<Tools>);

#[async_trait]
impl Step for CopyData {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Where {
        Where::Storage
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(4 * 3600)
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        let site = Site::of(cx, &self.0).await?;
        Ok(match self.0.directories.check(&site.directory(), site.owner()).await? {
            Place::Absent => Seen::Absent,
            Place::Ours(_) => Seen::Partial,
            Place::Foreign => Seen::Foreign(format!("{} is not ours", site.placement.data_dir)),
        })
    }

    async fn apply(&self, cx: &Cx, seen: Seen) -> Result<Value, StepError> {
        let (site, source) = (Site::of(cx, &self.0).await?, cx.output::<Source>(source::NAME)?);
        let (backup, _) = opened(cx, &self.0, source.backup, source.instance).await?;
        let (directories, directory, owner, turn) = (&self.0.directories, site.directory(), site.owner(), turn(cx));
        if seen == Seen::Partial {
            directories.remove(&directory, owner, turn).await?;
        }
        directories.create(&directory, owner, turn).await?;
        let data = directories.stage(&directory, owner, turn, NUMBER).await?;
        let filestore = Backup::make_filestore(&data, site.placement.db_name.as_str())?;
        let written = unless_told_to_stop(cx, backup.unpack(data, filestore)).await.map_err(there_must_be_room)?;
        directories.hand_over(&directory, owner, turn, NUMBER).await?;
        directories.swap(&directory, owner, turn, NUMBER).await?;
        directories.remove_beside(&directory, owner, turn, Beside::Replaced(NUMBER)).await?;
        directories.write_conf(&site.workload(cx, &self.0)?, Arc::clone(&cx.services().entropy)).await?;
        Ok(json!({ "files": written.files, "bytes": written.files_bytes }))
    }
}

#[async_trait]
impl Undo for CopyData {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        undo_directory(cx, &self.0).await
    }
}
