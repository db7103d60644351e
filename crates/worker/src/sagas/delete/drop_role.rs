//! Drops the role, which owns nothing any more.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct DropRole(pub(super) Arc<Tools>);

#[async_trait]
impl Step for DropRole {
    fn name(&self) -> &'static str {
        "drop_role"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(json!({ "there": false })) };
        let mut fence = site.fence(cx).await?;
        fence.drop_role(&site.placement.db_user).await?;
        fence.release().await?;
        Ok(json!({ "there": true }))
    }
}
