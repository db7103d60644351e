//! Ends the tenant's access: its role may not log in, its database takes no connections, its sessions are ended.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;

pub(in crate::sagas) struct CloseDatabase(pub(in crate::sagas) Arc<Tools>);

#[async_trait]
impl Step for CloseDatabase {
    fn name(&self) -> &'static str {
        "close_database"
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
        fence.close_database(&site.placement.db_name, site.recorded()).await?;
        fence.release().await?;
        Ok(json!({ "there": true }))
    }
}
