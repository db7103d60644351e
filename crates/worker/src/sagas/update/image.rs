//! Records what runs from now on.

use super::plan::{self, Planned};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::site::{Site, instance_id};
use async_trait::async_trait;
use db::platform::instances;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct UseImage(pub(super) Arc<Tools>);

#[async_trait]
impl Step for UseImage {
    fn name(&self) -> &'static str {
        "use_image"
    }

    fn place(&self) -> Place {
        Place::Postgres1
    }

    /// Written again, it is the same.
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let plan: Planned = cx.output(plan::NAME)?;
        write(cx, plan.image.as_str()).await?;
        Ok(json!({ "image": plan.image }))
    }
}

#[async_trait]
impl Undo for UseImage {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        if Site::find(cx, &self.0).await?.is_none() {
            return Ok(());
        }
        match cx.recorded::<Planned>(plan::NAME)?.and_then(|plan| plan.former_image) {
            Some(former) => write(cx, &former).await,
            None => Ok(()),
        }
    }
}

async fn write(cx: &Cx, image: &str) -> Result<(), StepError> {
    let mut tx = cx.fenced_tx().await?;
    instances::set_image(&mut tx, instance_id(cx)?, image).await?;
    Ok(tx.commit().await?)
}
