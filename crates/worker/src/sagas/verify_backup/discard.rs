//! Drops the database into which the backup was loaded.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::restore::{DATABASE, Loaded, PLAN, Planned};
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::odoo::Recorded;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Discard(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Discard {
    fn name(&self) -> &'static str {
        "discard_database"
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
        let (site, plan) = (Site::of(cx, &self.0).await?, cx.output::<Planned>(PLAN)?);
        let oid = cx.output::<Loaded>(DATABASE)?.oid;
        let mut fence = site.fence(cx).await?;
        fence
            .drop_database(&plan.incoming(&site.placement)?, Recorded { oid: Some(oid), owner: &site.placement.db_user })
            .await?;
        fence.release().await?;
        Ok(json!({}))
    }
}
