//! Looks through the archive before anything is made, and chooses the names of what will be.

use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::transfer_failed;
use crate::sagas::restore::number_beside;
use crate::sagas::site::Site;
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use backup::BackupError;
use backup::odoo_zip::{Limits, OdooZip};
use domain::backup::transfer::Archive;
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAME: &str = "read";

pub(super) struct ReadArchive(pub(super) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(super) struct Read {
    /// Of everything that stands beside the live data.
    pub(super) number: u32,
    /// The live database.
    pub(super) live_oid: u32,
    /// How many files the archive has that no archive of Odoo's needs.
    pub(super) ignored: usize,
}

/// The archive that the operation is about.
pub(super) async fn archive(cx: &Cx, tools: &Tools) -> Result<OdooZip, StepError> {
    const GONE: &str = "The archive is not there any more. Please send it again.";
    let archive = Archive::imported(cx.operation().id);
    let file = tools.transfer.open(archive).await.map_err(transfer_failed)?;
    let file = file.ok_or_else(|| StepError::permanent("archive_gone", GONE, format!("there is no {}", archive.whole())))?;
    unless_told_to_stop(cx, async { OdooZip::read(file, Limits::default()).await.map_err(refused) }).await
}

/// What is wrong with an archive is for whoever has sent it; the words are ours.
fn refused(error: BackupError) -> StepError {
    match error {
        BackupError::Refused(why) => {
            StepError::permanent("archive_refused", format!("The archive cannot be imported: {why}."), &why)
        }
        other => other.into(),
    }
}

#[async_trait]
impl Step for ReadArchive {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(1800)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        let archive = archive(cx, &self.0).await?;
        fits(&site, &archive.manifest().major_version)?;
        let (number, live_oid) = number_beside(cx, &site).await?;
        Ok(json!(Read { number, live_oid, ignored: archive.ignored().count }))
    }
}

/// Nobody needs the archive any more.
#[async_trait]
impl Undo for ReadArchive {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        self.0.transfer.clear(Archive::imported(cx.operation().id)).await.map_err(transfer_failed)
    }
}

/// Whether the instance runs the series of Odoo (`19.0`) that something was made with.
pub(super) fn fits(site: &Site, series: &str) -> Result<(), StepError> {
    let here = site.instance.version()?;
    if series == format!("{here}.0") {
        return Ok(());
    }
    let series: String = series.chars().filter(|c| c.is_ascii_graphic()).take(20).collect();
    let public = format!("This archive was made with Odoo {series}, and the instance runs Odoo {here}.");
    Err(StepError::permanent("other_odoo_version", public.clone(), public))
}
