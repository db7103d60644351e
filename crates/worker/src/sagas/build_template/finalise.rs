//! Turns the filled database into a template: owned by the admin, closed, its content role without login.

use super::ground::Ground;
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct Finalise(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Finalise {
    fn name(&self) -> &'static str {
        "finalise"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let ground = Ground::of(cx, &self.0)?;
        let mut fence = ground.fence(cx).await?;
        fence.finalise_template(&ground.plan.database, &ground.plan.content_role).await?;
        fence.release().await?;
        Ok(json!({ "database": ground.plan.database }))
    }
}
