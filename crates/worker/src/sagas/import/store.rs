//! Dumps what was loaded, and stores it with the files that it refers to as a backup of the instance.

use super::load::{NOT_ODOO, no_odoo};
use super::read::{self, Read, archive};
use super::scratch::Scratch;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::backup::{CATALOGUE, Catalogued, Stored, dump_into, facts, major, remove_if_possible, wanted, whole};
use crate::sagas::errors::{NO_ROOM, UNFIT};
use crate::sagas::site::Site;
use crate::sagas::waiting::{steadily, unless_told_to_stop};
use async_trait::async_trait;
use backup::odoo_zip::OdooZip;
use backup::tools::{ClientTools, Target};
use backup::{BackupError, ContentName, Wanted, Writer};
use chrono::{DateTime, Utc};
use db::odoo::Snapshot;
use db::platform::backups::Whole;
use domain::operation::Place;
use futures::TryStreamExt as _;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(super) const NAME: &str = "store";

pub(super) struct StoreArchive(pub(super) Arc<Tools>);

#[async_trait]
impl Step for StoreArchive {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn weight(&self) -> u32 {
        20
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(4 * 3600)
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        Ok(if cx.started_before(NAME) { Seen::Partial } else { Seen::Absent })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let (site, archive) = (Site::of(cx, &self.0).await?, archive(cx, &self.0).await?);
        let scratch = Scratch::of(&site, &cx.output::<Read>(read::NAME)?)?;
        let mut fence = site.fence(cx).await?;
        let password = scratch.role(cx, &self.0, &mut fence).await?;
        fence.release().await?;
        let target = scratch.target(&site, &self.0, password)?;
        let Catalogued { backup, .. } = cx.output(CATALOGUE)?;
        let writer = self.0.backups.writer(backup, site.instance.id, cx.token());
        let sent = writer.sent();
        let write = write(&site, &scratch, &target, &archive, (writer, cx.token()));
        match unless_told_to_stop(cx, steadily(move || sent.bytes(), write)).await {
            Ok(whole) => Ok(json!(Stored(whole))),
            Err(error) if error.code == NO_ROOM => {
                const FULL: &str = "There is no room to import this archive at the moment.";
                Err(StepError::permanent("no_room", FULL, error.cause))
            }
            // What is read of its tables is not what Odoo makes.
            Err(error) if error.code == UNFIT => Err(StepError::permanent("archive_not_odoo", NOT_ODOO, error.cause)),
            Err(error) => Err(error),
        }
    }
}

/// Nothing of the backup is left, but for contents in the pool.
#[async_trait]
impl Undo for StoreArchive {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(Catalogued { backup, .. }) = cx.recorded(CATALOGUE)? else { return Ok(()) };
        remove_if_possible(cx, &self.0, backup).await
    }
}

async fn write(
    site: &Site,
    scratch: &Scratch,
    target: &Target,
    archive: &OdooZip,
    (mut writer, attempt): (Writer, i64),
) -> Result<Whole, StepError> {
    let mut snapshot = site.server.snapshot(&scratch.database, &scratch.role, &target.password).await?;
    // psql does not wait for the disk: a server that fell since has lost what was loaded.
    snapshot.verify_restored(&BTreeMap::new()).await.map_err(no_odoo)?;
    let taken_at = DateTime::<Utc>::from(SystemTime::now());
    let extent = snapshot.extent().await?;
    let client = ClientTools::find(major(&extent), &[]).await?;
    writer.begin().await?;
    dump_into(&mut writer, &client, target, &snapshot.export().await?).await?;
    let needed = needed(&mut snapshot, &archive.names()).await?;
    writer.files_from(archive.files(&needed)).await.map_err(not_what_it_says)?;
    writer.no_data().await?;
    let facts = facts(site, &mut snapshot, &extent, &client, taken_at).await?;
    whole(attempt, &extent, writer, facts).await
}

/// The files that the database refers to. A backup without one of them would be one of an instance that cannot be backed up. However many
/// the database names, no more are remembered than the archive has.
async fn needed(snapshot: &mut Snapshot, names: &BTreeSet<ContentName>) -> Result<BTreeSet<ContentName>, StepError> {
    let (mut needed, mut lacking, mut first) = (BTreeSet::new(), 0_u64, None);
    let mut files = pin!(wanted(snapshot));
    while let Some(Wanted { name, .. }) = files.try_next().await? {
        if names.contains(&name) {
            needed.insert(name);
        } else {
            lacking += 1;
            first.get_or_insert(name);
        }
    }
    let Some(first) = first else { return Ok(needed) };
    let public = format!("The archive lacks {lacking} of the files that its database refers to.");
    Err(StepError::permanent("archive_incomplete", public, format!("the first is {first}")))
}

fn not_what_it_says(error: BackupError) -> StepError {
    match error {
        BackupError::Refused(why) => StepError::permanent("archive_refused", "A file of the archive is damaged.", why),
        other => other.into(),
    }
}
