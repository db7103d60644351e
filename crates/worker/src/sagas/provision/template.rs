//! Makes sure that there is a template for this version and demo flag; else orders one and waits for it.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use crate::sagas::template::usable;
use async_trait::async_trait;
use domain::ids::TemplateId;
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) const NAME: &str = "template";

pub(super) struct Template(pub(super) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(super) struct Choice {
    pub(super) template: TemplateId,
}

#[async_trait]
impl Step for Template {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        let template = usable(cx, &self.0, &site).await?;
        Ok(json!(Choice { template: template.id }))
    }
}
