//! Writes `odoo.conf` as the row says now. The data directory must be there: an Odoo on an empty one would have lost its files.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use domain::operation::Place as Where;
use runtime::directory::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(in crate::sagas) struct Configuration(pub(in crate::sagas) Arc<Tools>);

#[async_trait]
impl Step for Configuration {
    fn name(&self) -> &'static str {
        "configuration"
    }

    fn place(&self) -> Where {
        Where::Storage
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        const GONE: &str = "The files of this instance are missing; our staff looks at it.";
        let site = Site::of(cx, &self.0).await?;
        match self.0.directories.check(&site.directory(), site.owner()).await? {
            Place::Ours(_) => Ok(Seen::Partial),
            Place::Foreign => Ok(Seen::Foreign(format!("{} is not ours", site.placement.data_dir))),
            Place::Absent => Err(StepError::permanent("files_missing", GONE, &site.placement.data_dir)),
        }
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        self.0.directories.write_conf(&site.workload(cx, &self.0)?, Arc::clone(&cx.services().entropy)).await?;
        Ok(json!({}))
    }
}
