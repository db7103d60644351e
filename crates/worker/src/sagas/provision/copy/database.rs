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
use std::collections::BTreeMap;
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
        let (site, source) = (Site::of(cx, &self.0).await?, cx.output::<Source>(source::NAME)?);
        let (backup, _) = opened(cx, &self.0, source.backup, source.instance).await?;
        let (name, owner) = (&site.placement.db_name, &site.placement.db_user);
        let mut fence = site.fence(cx).await?;
        let made = fence.create_fresh_database(name, owner, &[]).await;
        let oid = made.map_err(StepError::from).map_err(there_must_be_room)?;
        fence.release().await?;
        let mut tx = cx.fenced_tx().await?;
        instances::set_database_oid(&mut tx, site.instance.id, Some(oid)).await?;
        tx.commit().await?;

        let facts = &backup.manifest().facts;
        let client = tools_for(&site, &backup).await?;
        let loaded = unless_told_to_stop(cx, client.restore(&target(&site, &self.0)?, backup.dump())).await;
        loaded.map_err(there_must_be_room)?;

        let expected: BTreeMap<String, u64> = facts.rows.iter().map(|row| (row.table.clone(), row.count)).collect();
        let mut snapshot = site.server.snapshot(name, owner).await?;
        snapshot.verify_restored(&expected).await?;
        let original_uuid = snapshot.uuid().await?;
        drop(snapshot);

        let mut fence = site.fence(cx).await?;
        fence.inside(name).await?.repair(owner).await?;
        let reset = Reset { base_url: site.url(&self.0)?, renew_identity: true };
        fence.as_tenant(name, owner, &site.password(&self.0)?).await?.reset_state(&reset).await?;
        fence.release().await?;
        Ok(json!(Loaded { oid, original_uuid }))
    }
}

#[async_trait]
impl Undo for LoadCopy {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        undo_database(cx, &self.0).await
    }
}
