//! Copies the database while nobody is in it.

use super::plan::{self, Planned};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::restore::there_must_be_room;
use crate::sagas::site::Site;
use async_trait::async_trait;
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAME: &str = "copy_database";

pub(super) struct CopyDatabase(pub(super) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(super) struct Copied {
    pub(super) oid: u32,
}

#[async_trait]
impl Step for CopyDatabase {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn weight(&self) -> u32 {
        5
    }

    /// A copy goes as fast as the disk does.
    fn limit(&self) -> Duration {
        Duration::from_secs(2 * 3600)
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        Ok(if cx.started_before(NAME) { Seen::Partial } else { Seen::Absent })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let (site, plan) = (Site::of(cx, &self.0).await?, cx.output::<Planned>(plan::NAME)?);
        let live = &site.placement.db_name;
        let mut fence = site.fence(cx).await?;
        fence.shut_database(live, site.recorded()).await?;
        let copied = fence.copy_database(live, site.recorded(), &plan.copy(&site.placement)?).await;
        let oid = copied.map_err(StepError::from).map_err(there_must_be_room)?;
        fence.release().await?;
        Ok(json!(Copied { oid }))
    }
}

#[async_trait]
impl Undo for CopyDatabase {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        let Some(plan) = cx.recorded::<Planned>(plan::NAME)? else { return Ok(()) };
        let (live, owner) = (&site.placement.db_name, &site.placement.db_user);
        let mut fence = site.fence(cx).await?;
        fence.drop_beside(live, Some(plan.live_oid), &plan.copy(&site.placement)?, owner).await?;
        // One that was terminated meanwhile stays closed.
        if site.instance.axes.is_live() {
            fence.let_in(live, site.recorded()).await?;
        }
        Ok(fence.release().await?)
    }
}
