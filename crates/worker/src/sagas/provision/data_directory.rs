//! Makes the data directory with the template's filestore and `odoo.conf`.

use super::database;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::unless_foreign;
use crate::sagas::site::{Site, turn};
use async_trait::async_trait;
use domain::operation::Place as Where;
use runtime::Owner;
use runtime::directory::{Filestore, Place};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct DataDirectory(pub(super) Arc<Tools>);

#[async_trait]
impl Step for DataDirectory {
    fn name(&self) -> &'static str {
        "data_directory"
    }

    fn place(&self) -> Where {
        Where::Storage
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
        let (site, directories, turn) = (Site::of(cx, &self.0).await?, &self.0.directories, turn(cx));
        let clone: database::Clone = cx.output(database::NAME)?;
        if seen == Seen::Partial {
            directories.remove(&site.directory(), site.owner(), turn).await?;
        }
        directories.create(&site.directory(), site.owner(), turn).await?;
        let from = Filestore {
            directory: directories.path(&clone.template_directory)?,
            owner: Owner::Template(clone.template),
            database: clone.template_database,
        };
        let to = Filestore { directory: site.directory(), owner: site.owner(), database: site.placement.db_name.clone() };
        let copied = directories.copy_filestore(&from, &to, turn).await?;
        directories.write_conf(&site.workload(cx, &self.0)?, Arc::clone(&cx.services().entropy)).await?;
        Ok(json!({ "files": copied.map(|copied| copied.files), "bytes": copied.map(|copied| copied.bytes) }))
    }
}

#[async_trait]
impl Undo for DataDirectory {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        undo_directory(cx, &self.0).await
    }
}

/// However it was made.
pub(super) async fn undo_directory(cx: &Cx, tools: &Tools) -> Result<(), StepError> {
    let Some(site) = Site::find(cx, tools).await? else { return Ok(()) };
    unless_foreign(tools.directories.remove(&site.directory(), site.owner(), turn(cx)).await)
}
