//! Records what runs on the data that serve from now on.

use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::site::{Site, instance_id};
use async_trait::async_trait;
use db::platform::instances;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

/// What ran before, and what runs afterwards; none: as before.
pub(in crate::sagas) struct Images {
    pub(in crate::sagas) before: Option<String>,
    pub(in crate::sagas) after: Option<String>,
}

/// With how a saga finds it out; `None` while nothing is planned.
pub(in crate::sagas) struct UseImage(
    pub(in crate::sagas) Arc<Tools>,
    pub(in crate::sagas) fn(&Cx) -> Result<Option<Images>, StepError>,
);

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
        let after = (self.1)(cx)?.and_then(|images| images.after);
        if let Some(image) = &after {
            write(cx, image).await?;
        }
        Ok(json!({ "image": after }))
    }
}

#[async_trait]
impl Undo for UseImage {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        if Site::find(cx, &self.0).await?.is_none() {
            return Ok(());
        }
        match (self.1)(cx)?.and_then(|images| images.before) {
            Some(before) => write(cx, &before).await,
            None => Ok(()),
        }
    }
}

async fn write(cx: &Cx, image: &str) -> Result<(), StepError> {
    let mut tx = cx.fenced_tx().await?;
    instances::set_image(&mut tx, instance_id(cx)?, image).await?;
    Ok(tx.commit().await?)
}
