//! Finds what to run for the ordered version. One that is not installed fails the operation here, before anything is made.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::instance;
use async_trait::async_trait;
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) const NAME: &str = "image";

pub(super) struct Image(pub(super) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) image: runtime::Image,
}

#[async_trait]
impl Step for Image {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let version = instance(cx).await?.version()?;
        Ok(json!(Found { image: self.0.runtime.resolve_image(version).await? }))
    }
}
