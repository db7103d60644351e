//! Removes what a restore had replaced and was kept.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::forget_replaced::remove;
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::platform::replaced;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct DropReplaced(pub(super) Arc<Tools>);

#[async_trait]
impl Step for DropReplaced {
    fn name(&self) -> &'static str {
        "drop_replaced"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(300)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(json!({ "there": false })) };
        let former = replaced::of(&cx.services().db, site.instance.id).await?;
        for (former, _) in &former {
            remove(cx, &self.0, &site, former).await?;
        }
        Ok(json!({ "removed": former.len() }))
    }
}
