//! Puts the directory that is kept where an exchange finds it.

use super::plan::{self, Planned};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::unless_foreign;
use crate::sagas::site::{Site, turn};
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct Recall(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Recall {
    fn name(&self) -> &'static str {
        "recall_data"
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let (site, plan) = (Site::of(cx, &self.0).await?, cx.output::<Planned>(plan::NAME)?);
        self.0.directories.recall(&site.directory(), site.owner(), turn(cx), plan.kept, plan.number).await?;
        Ok(json!({}))
    }
}

#[async_trait]
impl Undo for Recall {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        let Some(plan) = cx.recorded::<Planned>(plan::NAME)? else { return Ok(()) };
        unless_foreign(self.0.directories.shelve(&site.directory(), site.owner(), turn(cx), plan.kept, plan.number).await)
    }
}
