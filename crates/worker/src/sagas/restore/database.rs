//! Loads the dump into a new database beside the live one, as its tenant, and puts its permissions and Odoo's state in order (contract 16.3).

use super::plan::{self, Planned, opened};
use super::room::{there_must_be_room, tools_for};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::backup::target;
use crate::sagas::site::Site;
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use backup::tools::Target;
use db::odoo::{OdooError, Reset};
use domain::backup::Origin;
use domain::names::PhysicalName;
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(in crate::sagas) const NAME: &str = "new_database";

pub(in crate::sagas) struct Database(pub(in crate::sagas) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(in crate::sagas) struct Loaded {
    pub(in crate::sagas) oid: u32,
    /// What of Odoo's state could not be put in order, and need not be.
    skipped: Vec<String>,
}

#[async_trait]
impl Step for Database {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn weight(&self) -> u32 {
        20
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(4 * 3600)
    }

    /// How far an interrupted load got cannot be told: it begins with an empty database again.
    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        Ok(if cx.started_before(NAME) { Seen::Partial } else { Seen::Absent })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        self.load(cx).await.map(|loaded| json!(loaded)).map_err(there_must_be_room)
    }
}

impl Database {
    async fn load(&self, cx: &Cx) -> Result<Loaded, StepError> {
        let (site, plan) = (Site::of(cx, &self.0).await?, cx.output::<Planned>(plan::NAME)?);
        let (backup, row) = opened(cx, &self.0, plan.backup, site.instance.id).await?;
        let name = plan.incoming(&site.placement)?;
        let owner = &site.placement.db_user;
        let mut fence = site.fence(cx).await?;
        let oid = fence.create_fresh_database(&name, owner, &[plan.live_oid]).await?;
        fence.release().await?;

        let client = tools_for(&site, backup.postgres_version()).await?;
        let into = Target { database: name.as_str().to_owned(), ..target(&site, &self.0)? };
        unless_told_to_stop(cx, backup.load(&client, &into, self.0.directories.root())).await?;

        let renew_identity = row.origin == Origin::Imported && self.is_another(&site, &name).await?;
        let mut fence = site.fence(cx).await?;
        fence.inside(&name).await?.repair(owner).await?;
        let reset = Reset { base_url: site.url(&self.0)?, renew_identity };
        let skipped = fence.as_tenant(&name, owner, &site.password(&self.0)?).await?.reset_state(&reset).await?;
        fence.release().await?;
        Ok(Loaded { oid, skipped })
    }
    /// Whether what was brought from elsewhere was another instance: two databases must not sign with one secret, nor be one to in-app
    /// services (contract 16.3). A live database that cannot say who it is decides nothing.
    async fn is_another(&self, site: &Site, loaded: &PhysicalName) -> Result<bool, StepError> {
        let brought = site.snapshot(&self.0, loaded).await?.uuid().await?;
        match site.snapshot(&self.0, &site.placement.db_name).await?.uuid().await {
            Ok(live) => Ok(brought.is_none() || brought != live),
            Err(OdooError::Unfit { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl Undo for Database {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        let Some(plan) = cx.recorded::<Planned>(plan::NAME)? else { return Ok(()) };
        let mut fence = site.fence(cx).await?;
        let (live, owner) = (&site.placement.db_name, &site.placement.db_user);
        fence.drop_beside(live, Some(plan.live_oid), &plan.incoming(&site.placement)?, owner).await?;
        Ok(fence.release().await?)
    }
}
