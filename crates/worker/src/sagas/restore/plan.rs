//! Looks whether the backup can be restored here and now, before anything is made, and chooses the names of what will be.

use super::opened::Opened;
use super::room::{fits_into, tools_for};
use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::errors::inconsistent;
use crate::sagas::site::Site;
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use db::odoo::beside;
use db::platform::backups;
use db::platform::instances::Placement;
use db::platform::replaced;
use domain::backup::State;
use domain::ids::{BackupId, InstanceId};
use domain::names::PhysicalName;
use domain::operation::{Kind, Place};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(in crate::sagas) const NAME: &str = "plan";

pub(super) struct Plan(pub(super) Arc<Tools>);

#[derive(Deserialize)]
struct Parameters {
    backup: BackupId,
}

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(in crate::sagas) struct Planned {
    pub(in crate::sagas) backup: BackupId,
    /// As clients see it.
    pub(in crate::sagas) name: String,
    /// Of everything that stands beside the live data.
    pub(in crate::sagas) number: u32,
    /// The database before.
    pub(in crate::sagas) live_oid: u32,
    /// Whether the instance was to run before.
    #[serde(default)]
    pub(in crate::sagas) run_before: Option<bool>,
}

impl Planned {
    /// The name of the new database until it is the live one.
    pub(in crate::sagas) fn incoming(&self, placement: &Placement) -> Result<PhysicalName, StepError> {
        Ok(beside(&placement.db_name, 'n', self.number)?)
    }
}

/// A backup of this instance that is whole, to be read. A check may find it whole again that was found damaged.
pub(in crate::sagas) async fn opened(
    cx: &Cx,
    tools: &Tools,
    id: BackupId,
    of: InstanceId,
) -> Result<(Opened, backups::Backup), StepError> {
    const GONE: &str = "This backup is not there any more.";
    let row = backups::get(&cx.services().db, id).await?;
    let is_check = cx.operation().kind == Kind::VerifyBackup;
    let may_be_read = |row: &backups::Backup| row.state == State::Completed || is_check && row.state == State::Failed;
    let row = row.filter(|row| may_be_read(row) && row.instance == of);
    let row = row.ok_or_else(|| StepError::permanent("backup_gone", GONE, format!("backup {id} cannot be restored")))?;
    if let Some(legacy) = &row.legacy {
        let opened = Opened::Legacy(tools.legacy.open(legacy).await?, row.odoo_version.clone());
        return Ok((opened, row));
    }
    let (Some(attempt), Some(sum)) = (row.attempt, row.manifest_sha256.as_deref()) else {
        return Err(inconsistent("a whole backup without a sum"));
    };
    Ok((Opened::Own(Box::new(tools.backups.open(id, attempt, sum).await?)), row))
}

#[async_trait]
impl Step for Plan {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn weight(&self) -> u32 {
        5
    }

    /// All that only this backup has is read here once.
    fn limit(&self) -> Duration {
        Duration::from_secs(4 * 3600)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let Parameters { backup } = cx.params()?;
        let site = Site::of(cx, &self.0).await?;
        let (opened, row) = opened(cx, &self.0, backup, site.instance.id).await?;
        fits(&site, &opened)?;
        tools_for(&site, opened.postgres_version()).await?;
        fits_into(self.0.directories.free_space().await?, opened.unpacked_bytes())?;
        unless_told_to_stop(cx, opened.verify(false)).await?;
        let (number, live_oid) = number_beside(cx, &site).await?;
        Ok(json!(Planned { backup, name: row.name, number, live_oid, run_before: Some(site.shall_run()) }))
    }
}

/// The number of what is to stand beside the live data, and the OID of the live database.
pub(in crate::sagas) async fn number_beside(cx: &Cx, site: &Site) -> Result<(u32, u32), StepError> {
    let former = replaced::of(&cx.services().db, site.instance.id).await?;
    let live_oid = site.instance.db_oid.ok_or_else(|| inconsistent("the database has no OID"))?;
    Ok((former.last().map_or(1, |(former, _)| former.number + 1), live_oid))
}

/// Whether the instance runs what the backup was made with: updating all modules is not a migration between major versions.
pub(in crate::sagas) fn fits(site: &Site, backup: &Opened) -> Result<(), StepError> {
    let (made, here) = (backup.odoo_version(), site.instance.version()?.to_string());
    if made == here {
        return Ok(());
    }
    let public = format!("This backup was made with Odoo {made}, and the instance runs Odoo {here}.");
    Err(StepError::permanent("other_odoo_version", public.clone(), public))
}
