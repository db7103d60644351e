//! Makes the directory that Odoo initialises into. Its filestore is what every clone gets a copy of.

use super::ground::Ground;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::unless_foreign;
use crate::sagas::site::turn;
use async_trait::async_trait;
use domain::operation::Place as Where;
use runtime::directory::Place;
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
        let ground = Ground::of(cx, &self.0)?;
        let directory = ground.directory(&self.0)?;
        Ok(match self.0.directories.check(&directory, ground.owner()).await? {
            Place::Absent => Seen::Absent,
            Place::Ours(_) => Seen::Partial,
            Place::Foreign => Seen::Foreign(format!("{} is not ours", directory.display())),
        })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let ground = Ground::of(cx, &self.0)?;
        make_empty(cx, &self.0, &ground).await?;
        Ok(json!({ "directory": ground.plan.directory }))
    }
}

#[async_trait]
impl Undo for DataDirectory {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(ground) = Ground::find(cx, &self.0)? else { return Ok(()) };
        unless_foreign(self.0.directories.remove(&ground.directory(&self.0)?, ground.owner(), turn(cx)).await)
    }
}

/// An empty directory with a configuration, whatever was there before of this build.
pub(super) async fn make_empty(cx: &Cx, tools: &Tools, ground: &Ground) -> Result<(), StepError> {
    let directory = ground.directory(tools)?;
    tools.directories.remove(&directory, ground.owner(), turn(cx)).await?;
    tools.directories.create(&directory, ground.owner(), turn(cx)).await?;
    Ok(tools.directories.write_conf(&ground.workload(cx, tools, None)?, Arc::clone(&cx.services().entropy)).await?)
}
