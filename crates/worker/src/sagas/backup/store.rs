//! Dumps the database and stores what the dump refers to, as of one moment; everything is read back before the step is done.

use super::catalogue::{self, Catalogued};
use crate::engine::{Cx, Seen, Step, StepError, Undo, Verdict};
use crate::sagas::Tools;
use crate::sagas::errors::{NO_ROOM, VANISHED};
use crate::sagas::site::{Site, locked};
use crate::sagas::waiting::{steadily, unless_told_to_stop};
use async_trait::async_trait;
use backup::tools::{ClientTools, Target};
use backup::{Attachments, BackupError, BackupResult, ContentName, Facts, Row, Wanted, Writer};
use chrono::{DateTime, Utc};
use db::odoo::{Extent, KEY_TABLES, OdooError, Snapshot, StoredFile};
use db::platform::backups::{self, Summary, Whole};
use domain::backup::Origin;
use domain::ids::BackupId;
use domain::operation::Place;
use futures::{Stream, StreamExt, TryFutureExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub(super) const NAME: &str = "store";
/// The operation's own limit is what ends it; and it is given up when nothing moves any more (contract 11.5).
const LIMIT: Duration = Duration::from_secs(4 * 3600);
/// How many snapshots are looked at before a file counts as missing.
const SNAPSHOTS: usize = 2;

pub(super) struct Store(pub(super) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(in crate::sagas) struct Stored(pub(in crate::sagas) Whole);

#[async_trait]
impl Step for Store {
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
        LIMIT
    }

    /// What an interrupted try left is as of another moment.
    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        Ok(if cx.started_before(NAME) { Seen::Partial } else { Seen::Absent })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        let Catalogued { backup, .. } = cx.output(catalogue::NAME)?;
        let is_scheduled = catalogue::origin(cx)? == Origin::Scheduled;
        match take(cx, &self.0, &site, backup).await {
            // Nobody asked for it, and while it waited others would have to: it is tried again in an hour.
            Err(error) if is_scheduled && matches!(error.verdict, Verdict::Snooze { .. }) => {
                const LATER: &str = "This backup could not be taken at its time; it is tried again later.";
                Err(StepError::permanent(error.code, LATER, error.cause))
            }
            taken => Ok(json!(Stored(taken?))),
        }
    }
}

/// Nothing of the backup is left. Contents of its files may be: the next backup of the instance finds them in the pool, and nobody who was
/// overtaken must ever remove what another one relies on.
#[async_trait]
impl Undo for Store {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(Catalogued { backup, .. }) = cx.recorded(catalogue::NAME)? else { return Ok(()) };
        remove_if_possible(cx, &self.0, backup).await
    }
}

/// Takes a backup of the instance as it is now; it counts when the catalogue says so.
pub(in crate::sagas) async fn take(cx: &Cx, tools: &Tools, site: &Site, backup: BackupId) -> Result<Whole, StepError> {
    let mut last = None;
    for _ in 0..SNAPSHOTS {
        let writer = tools.backups.writer(backup, site.instance.id, cx.token());
        match unless_told_to_stop(cx, write(tools, site, writer, cx.token())).await {
            // In a newer snapshot it may not be asked for any more, or be there.
            Err(error) if error.code == VANISHED => last = Some(error),
            // Others wait for room as well.
            Err(error) if error.code == NO_ROOM => {
                remove_if_possible(cx, tools, backup).await?;
                return Err(error);
            }
            other => return other,
        }
    }
    const MISSING: &str = "A file of this instance is missing in its filestore, so that no whole backup can be taken.";
    Err(StepError::permanent("filestore_incomplete", MISSING, last.map(|error| error.cause).unwrap_or_default()))
}

/// Whoever waits for the instance does not wait for a store: what cannot be removed now goes with the entry, when that has had its time.
/// What a later try has stored is not ours.
pub(in crate::sagas) async fn remove_if_possible(cx: &Cx, tools: &Tools, backup: BackupId) -> Result<(), StepError> {
    cx.confirm_token().await?;
    if let Err(error) = tools.backups.remove(backup, cx.token()).await {
        tracing::warn!(%backup, %error, "of a backup that nobody needs something is left in the store for a while");
    }
    Ok(())
}

/// Removes what an operation stored of a backup that does not count, and says so in the catalogue.
pub(in crate::sagas) async fn taken_back(cx: &Cx, tools: &Tools, origin: Origin) -> Result<(), StepError> {
    let operation = cx.operation().id;
    let Some(backup) = backups::of_operation(&cx.services().db, operation, origin).await? else { return Ok(()) };
    remove_if_possible(cx, tools, backup.id).await?;
    let mut tx = cx.fenced_tx().await?;
    backups::fail(&mut tx, operation, backups::UNFINISHED).await?;
    Ok(tx.commit().await?)
}

/// Removes a backup that an operation took and that nobody needs, unless somebody has asked for it meanwhile. What only it has in the pool goes with
/// the retention, as does what the store does not let go now.
pub(in crate::sagas) async fn discarded(cx: &Cx, tools: &Tools, origin: Origin) -> Result<(), StepError> {
    let Some(backup) = backups::of_operation(&cx.services().db, cx.operation().id, origin).await? else { return Ok(()) };
    let mut tx = cx.fenced_tx().await?;
    // Whoever asks for a restore holds this row as well.
    let instance = locked(cx, &mut tx).await?;
    if backups::being_read(&mut tx, instance.id).await?.contains(&backup.id) {
        return Ok(());
    }
    backups::discard(&mut tx, backup.id).await?;
    tx.commit().await?;
    remove_if_possible(cx, tools, backup.id).await
}

async fn write(tools: &Tools, site: &Site, mut writer: Writer, attempt: i64) -> Result<Whole, StepError> {
    let placement = &site.placement;
    let mut snapshot = site.snapshot(tools, &placement.db_name).await?;
    let taken_at = DateTime::<Utc>::from(SystemTime::now());
    let extent = snapshot.extent().await?;
    let client = ClientTools::find(major(&extent), &[]).await?;
    writer.begin().await?;
    let sent = writer.sent();
    let sent = || sent.bytes();
    let (target, exported) = (target(site, tools)?, snapshot.export().await?);
    steadily(sent, dump_into(&mut writer, &client, &target, &exported)).await?;
    let data = tools.directories.open_data(&site.directory(), site.owner()).await?;
    let files = writer.files_of(&data, placement.db_name.as_str(), wanted(&mut snapshot));
    steadily(sent, files.map_err(StepError::from)).await?;
    // Counting large tables takes its time, and sends nothing.
    let facts = facts(site, &mut snapshot, &extent, &client, taken_at).await?;
    steadily(sent, writer.data(data).map_err(StepError::from)).await?;
    whole(attempt, &extent, writer, facts).await
}

/// Ends a backup all of whose parts are written.
pub(in crate::sagas) async fn whole(attempt: i64, extent: &Extent, writer: Writer, facts: Facts) -> Result<Whole, StepError> {
    let summary = summary(&facts);
    let stored = writer.finish(facts).await?;
    Ok(Whole {
        attempt,
        manifest_sha256: stored.manifest_sha256,
        database_bytes: extent.bytes,
        files_count: stored.files,
        files_bytes: stored.files_bytes,
        stored_bytes: stored.own_bytes,
        new_bytes: stored.new_bytes,
        summary,
    })
}

/// What the catalogue keeps of a manifest.
fn summary(facts: &Facts) -> Summary {
    Summary {
        taken_at: Some(facts.taken_at),
        postgres_version: facts.postgres_version,
        dump_tool: facts.dump_tool.clone(),
        modules: facts.modules.clone(),
        rows: facts.rows.iter().map(|row| (row.table.clone(), row.count)).collect(),
        unusable_attachments: facts.unusable_attachments,
    }
}

/// Stores what `snapshot` sees of a database.
pub(in crate::sagas) async fn dump_into(
    writer: &mut Writer,
    client: &ClientTools,
    target: &Target,
    snapshot: &str,
) -> Result<(), StepError> {
    let mut dump = client.dump(target, snapshot)?;
    let stored = writer.dump(dump.content()).await;
    Ok(dump.end_of(stored).await?)
}

/// The tenant's database, as the tenant.
pub(in crate::sagas) fn target(site: &Site, tools: &Tools) -> Result<Target, StepError> {
    let placement = &site.placement;
    Ok(Target {
        host: placement.db_host.clone(),
        port: placement.db_port,
        database: placement.db_name.as_str().to_owned(),
        user: placement.db_user.as_str().to_owned(),
        password: site.password(tools)?,
        ssl_mode: site.server.address().admin.ssl_mode.as_str(),
        ssl_root_cert: None,
    })
}

/// `server_version_num` is the major version times 10,000 and the minor one (PostgreSQL docs, 20.15).
pub(in crate::sagas) fn major(extent: &Extent) -> u32 {
    u32::try_from(extent.server_version_number / 10_000).unwrap_or_default()
}

/// The files that a database refers to.
pub(in crate::sagas) fn wanted(snapshot: &mut Snapshot) -> impl Stream<Item = BackupResult<Wanted>> + Send + '_ {
    snapshot.attachments().map(|file| {
        let StoredFile { sha1, size } = file.map_err(|error: OdooError| BackupError::Source(error.to_string()))?;
        let name = ContentName::parse(&sha1).ok_or_else(|| BackupError::Source(format!("{sha1:?} is no name of a file")))?;
        Ok(Wanted { name, bytes: size })
    })
}

/// What a manifest says of the database that `snapshot` sees.
pub(in crate::sagas) async fn facts(
    site: &Site,
    snapshot: &mut Snapshot,
    extent: &Extent,
    client: &ClientTools,
    taken_at: DateTime<Utc>,
) -> Result<Facts, StepError> {
    let rows = snapshot.row_counts(KEY_TABLES).await?.into_iter();
    Ok(Facts {
        customer: site.instance.customer_id,
        taken_at,
        odoo_version: site.instance.version()?.to_string(),
        postgres_version: major(extent),
        dump_tool: client.version().to_owned(),
        database: snapshot.database().as_str().to_owned(),
        database_bytes: extent.bytes,
        attachments: if snapshot.is_in_database().await? { Attachments::Database } else { Attachments::Files },
        unusable_attachments: snapshot.unusable_attachments().await?,
        modules: snapshot.modules().await?,
        rows: rows.map(|(table, count)| Row { table, count }).collect(),
    })
}
