//! Loads the backup into the new database as its new owner, with an identity of its own.

use super::super::database::undo_database;
use super::source::{self, Source};
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::backup::target;
use crate::sagas::restore::{opened, there_must_be_room, tools_for};
use crate::sagas::site::Site;
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use db::odoo::Reset;
use db::platform::instances;
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAME: &str = "database";

pub(in crate::sagas::provision) struct LoadCopy(pub(in crate::sagas::provision) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(super) struct Loaded {
    oid: u32,
    /// By what in-app services know the original.
    pub(super) original_uuid: Option<String>,
}

#[async_trait]
impl Step for LoadCopy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres2
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

impl LoadCopy {
    async fn load(&self, cx: &Cx) -> Result<Loaded, StepError> {
        let (site, source) = (Site::of(cx, &self.0).await?, cx.output::<Source>(source::NAME)?);
        let (backup, _) = opened(cx, &self.0, source.backup, source.instance).await?;
        let (name, owner) = (&site.placement.db_name, &site.placement.db_user);
        let mut fence = site.fence(cx).await?;
        let oid = fence.create_fresh_database(name, owner, &[]).await?;
        fence.release().await?;
        let mut tx = cx.fenced_tx().await?;
        instances::set_database_oid(&mut tx, site.instance.id, Some(oid)).await?;
        tx.commit().await?;

        let client = tools_for(&site, backup.postgres_version()).await?;
        unless_told_to_stop(cx, backup.load(&client, &target(&site, &self.0)?, self.0.directories.root())).await?;

        let mut snapshot = site.snapshot(&self.0, name).await?;
        snapshot.verify_restored(&backup.rows()).await?;
        let original_uuid = snapshot.uuid().await?;
        drop(snapshot);

        let mut fence = site.fence(cx).await?;
        fence.inside(name).await?.repair(owner).await?;
        let reset = Reset { base_url: site.url(&self.0)?, renew_identity: true };
        fence.as_tenant(name, owner, &site.password(&self.0)?).await?.reset_state(&reset).await?;
        fence.release().await?;
        Ok(Loaded { oid, original_uuid })
    }
}

#[async_trait]
impl Undo for LoadCopy {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        undo_database(cx, &self.0).await
    }
}
