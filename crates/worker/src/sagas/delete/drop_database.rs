//! Drops the database, after the same comparison under the same lock.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct DropDatabase(pub(super) Arc<Tools>);

#[async_trait]
impl Step for DropDatabase {
    fn name(&self) -> &'static str {
        "drop_database"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(180)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(json!({ "there": false })) };
        let mut fence = site.fence(cx).await?;
        fence.drop_database(&site.placement.db_name, site.recorded()).await?;
        fence.release().await?;
        Ok(json!({ "there": true }))
    }
}
