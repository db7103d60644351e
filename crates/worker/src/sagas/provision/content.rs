//! Hands what is inside the clone to the tenant's role.

use super::database;
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) struct Content(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Content {
    fn name(&self) -> &'static str {
        "content"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    /// Done again, it finds nothing to hand over.
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        let clone: database::Clone = cx.output(database::NAME)?;
        let mut fence = site.fence(cx).await?;
        fence.inside(&site.placement.db_name).await?.take_ownership(&clone.content_role, &site.placement.db_user).await?;
        fence.release().await?;
        Ok(json!({ "from": clone.content_role, "to": site.placement.db_user }))
    }
}
