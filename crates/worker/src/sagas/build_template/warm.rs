//! Runs Odoo on the template once and fetches what login page and web client name, so that every clone has its assets
//! already: building them takes seconds.

use super::ground::Ground;
use super::plan;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::unless_foreign;
use crate::sagas::hashing;
use crate::sagas::site::turn;
use crate::sagas::waiting::{unless_told_to_stop, until_ready};
use async_trait::async_trait;
use db::platform::instances;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The first look at the login page builds its assets.
const PATIENCE: Duration = Duration::from_secs(180);
const LOGIN: &str = "admin";

pub(super) struct WarmAssets(pub(super) Arc<Tools>);

#[async_trait]
impl Step for WarmAssets {
    fn name(&self) -> &'static str {
        "warm_assets"
    }

    fn place(&self) -> Place {
        Place::Runtime
    }

    fn weight(&self) -> u32 {
        10
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(10 * 60)
    }

    /// Assets that exist already are served, not built again.
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let (ground, runtime) = (Ground::of(cx, &self.0)?, &self.0.runtime);
        let password = ground.plan.sealed.admin.open(cx, &self.0, plan::ADMIN_PASSWORD)?;
        let hash = hashing::compute(password.clone(), ground.plan.admin_salt).await;
        let mut fence = ground.fence(cx).await?;
        fence.inside(&ground.plan.database).await?.set_admin_password(&ground.plan.content_role, &hash).await?;
        fence.release().await?;
        let port = runtime.free_port(&instances::ports(&cx.services().db).await?).await?;
        let workload = ground.workload(cx, &self.0, port)?;
        runtime.ensure(&workload).await?;
        if let Some(reason) = until_ready(cx, &self.0, &ground.server, &workload, PATIENCE).await? {
            return Err(StepError::retry("odoo_not_ready", "Odoo did not start in time.", reason));
        }
        let assets = unless_told_to_stop(cx, runtime.warm_assets(&workload, LOGIN, &password)).await?;
        runtime.remove(&ground.service(), turn(cx)).await?;
        Ok(json!({ "assets": assets }))
    }
}

#[async_trait]
impl Undo for WarmAssets {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(ground) = Ground::find(cx, &self.0)? else { return Ok(()) };
        unless_foreign(self.0.runtime.remove(&ground.service(), turn(cx)).await)
    }
}
