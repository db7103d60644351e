//! The catalogue of backups: what the store has of whom, and the sum by which each manifest is known.
//!
//! Owns: the rows of `backups`. Leaves to others: the store itself (`backup`), and when one is taken or removed (`worker`).

use crate::error::{DbError, DbResult};
use crate::platform::readers::ask;
use crate::platform::{PlatformDb, PlatformTx};
use chrono::{DateTime, Utc};
use domain::backup::legacy::Legacy;
use domain::backup::{Origin, State};
use domain::ids::{BackupId, CustomerId, InstanceId, OperationId};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use uuid::Uuid;

/// What a customer reads of a backup that was not taken to its end.
pub const UNFINISHED: &str = "It was not taken to its end.";

/// A backup that is about to be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBackup {
    /// Its id.
    pub id: BackupId,
    /// Of which instance.
    pub instance: InstanceId,
    /// Whose that is.
    pub customer: CustomerId,
    /// The operation that takes it.
    pub operation: OperationId,
    /// As clients see it.
    pub name: String,
    /// Why.
    pub origin: Origin,
    /// Odoo's version.
    pub odoo_version: String,
}

/// What is known of a backup that is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// The try that came to its end: the fencing token of who made it.
    pub attempt: i64,
    /// SHA-256 of its manifest.
    pub manifest_sha256: Vec<u8>,
    /// Size of the database on its server.
    pub database_bytes: u64,
    /// Files of the filestore.
    pub files_count: u64,
    /// Their bytes.
    pub files_bytes: u64,
    /// Bytes in the store, without what it shares with others.
    pub stored_bytes: u64,
    /// Bytes that were sent to the store.
    pub new_bytes: u64,
    /// What its manifest says.
    #[serde(default)]
    pub summary: Summary,
}

/// What the manifest of a backup says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The moment of which it is.
    pub taken_at: Option<DateTime<Utc>>,
    /// Major version of the server.
    pub postgres_version: u32,
    /// The program that dumped.
    pub dump_tool: String,
    /// Installed modules with their versions.
    pub modules: BTreeMap<String, String>,
    /// Rows of the tables that tell most.
    pub rows: BTreeMap<String, u64>,
    /// Attachments that had no content of their own when it was taken.
    pub unusable_attachments: u64,
}

/// A backup as catalogued. Sizes are known when it is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of NewBackup and Whole, and the columns of the table")]
pub struct Backup {
    pub id: BackupId,
    pub instance: InstanceId,
    pub customer: CustomerId,
    pub operation: Option<OperationId>,
    pub name: String,
    pub origin: Origin,
    pub state: State,
    pub odoo_version: String,
    pub database_bytes: Option<i64>,
    pub files_count: Option<i64>,
    pub files_bytes: Option<i64>,
    pub stored_bytes: Option<i64>,
    pub attempt: Option<i64>,
    pub manifest_sha256: Option<Vec<u8>>,
    pub error: Option<String>,
    pub created_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    pub verified_at: Option<DateTime<Utc>>,
    pub proven_at: Option<DateTime<Utc>>,
    pub new_bytes: Option<i64>,
    pub summary: Option<Summary>,
    /// Where it is, if the earlier service has taken it.
    pub legacy: Option<Legacy>,
}

struct Row {
    id: Uuid,
    instance_id: Uuid,
    customer_id: Uuid,
    operation_id: Option<Uuid>,
    name: String,
    origin: String,
    state: String,
    odoo_version: String,
    database_bytes: Option<i64>,
    files_count: Option<i64>,
    files_bytes: Option<i64>,
    stored_bytes: Option<i64>,
    attempt: Option<i64>,
    manifest_sha256: Option<Vec<u8>>,
    error: Option<String>,
    created_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    verified_at: Option<DateTime<Utc>>,
    proven_at: Option<DateTime<Utc>>,
    new_bytes: Option<i64>,
    summary: Option<Json<Summary>>,
    legacy: Option<Json<Legacy>>,
}

macro_rules! select_backups {
    ($rest:literal $(, $parameter:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"SELECT id, instance_id, customer_id, operation_id, name, origin, state, odoo_version, database_bytes, files_count,
                    files_bytes, stored_bytes, attempt, manifest_sha256, error, created_at, completed_at, verified_at, proven_at,
                    new_bytes, summary AS "summary: Json<Summary>", legacy AS "legacy: Json<Legacy>"
               FROM instance_service.backups "# + $rest
            $(, $parameter)*
        )
    };
}

impl TryFrom<Row> for Backup {
    type Error = DbError;

    fn try_from(row: Row) -> DbResult<Self> {
        let unknown = |column, word: &str| DbError::Inconsistent {
            table: "backups",
            column,
            row: row.id.to_string(),
            why: format!("{word:?} is no word of it"),
        };
        Ok(Self {
            id: BackupId::from_uuid(row.id),
            instance: InstanceId::from_uuid(row.instance_id),
            customer: CustomerId::from_uuid(row.customer_id),
            operation: row.operation_id.map(OperationId::from_uuid),
            origin: Origin::parse(&row.origin).ok_or_else(|| unknown("origin", &row.origin))?,
            state: State::parse(&row.state).ok_or_else(|| unknown("state", &row.state))?,
            name: row.name,
            odoo_version: row.odoo_version,
            database_bytes: row.database_bytes,
            files_count: row.files_count,
            files_bytes: row.files_bytes,
            stored_bytes: row.stored_bytes,
            attempt: row.attempt,
            manifest_sha256: row.manifest_sha256,
            error: row.error,
            created_at: row.created_at,
            completed_at: row.completed_at,
            verified_at: row.verified_at,
            proven_at: row.proven_at,
            new_bytes: row.new_bytes,
            summary: row.summary.map(|Json(summary)| summary),
            legacy: row.legacy.map(|Json(legacy)| legacy),
        })
    }
}

/// Catalogues a backup that is about to be taken. Done again by the same operation it changes nothing, but that one which came to nothing is
/// under way again; the id that counts is returned.
///
/// # Errors
/// Database errors only.
pub async fn begin(tx: &mut PlatformTx, new: &NewBackup) -> DbResult<BackupId> {
    let id = sqlx::query_scalar!(
        "INSERT INTO instance_service.backups AS b (id, instance_id, customer_id, operation_id, name, origin, odoo_version)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (operation_id, origin) DO UPDATE
            SET name = excluded.name, state = CASE b.state WHEN 'failed' THEN 'running' ELSE b.state END,
                error = CASE b.state WHEN 'failed' THEN NULL ELSE b.error END
         RETURNING id",
        new.id.as_uuid(),
        new.instance.as_uuid(),
        new.customer.as_uuid(),
        new.operation.as_uuid(),
        new.name,
        new.origin.as_str(),
        new.odoo_version,
    )
    .fetch_one(tx.conn())
    .await?;
    Ok(BackupId::from_uuid(id))
}

/// It is whole.
///
/// # Errors
/// [`DbError::Stale`] for one that is not being taken.
pub async fn complete(tx: &mut PlatformTx, id: BackupId, whole: &Whole) -> DbResult<()> {
    let done = sqlx::query!(
        "UPDATE instance_service.backups
            SET state = 'completed', completed_at = clock_timestamp(), error = NULL, manifest_sha256 = $2,
                database_bytes = $3, files_count = $4, files_bytes = $5, stored_bytes = $6, new_bytes = $7, attempt = $8, summary = $9
          WHERE id = $1 AND state IN ('running', 'completed')",
        id.as_uuid(),
        whole.manifest_sha256,
        size(whole.database_bytes),
        size(whole.files_count),
        size(whole.files_bytes),
        size(whole.stored_bytes),
        size(whole.new_bytes),
        whole.attempt,
        Json(&whole.summary) as _,
    )
    .execute(tx.conn())
    .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(DbError::Stale) }
}

/// Beyond 8 EiB nobody counts.
fn size(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// It came to nothing; `error` is for the customer. One that is whole stays.
///
/// # Errors
/// Database errors only.
pub async fn fail(tx: &mut PlatformTx, operation: OperationId, error: &str) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.backups SET state = 'failed', error = $2 WHERE operation_id = $1 AND state = 'running'",
        operation.as_uuid(),
        error,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// One backup.
///
/// # Errors
/// Database errors only.
pub async fn get(db: &PlatformDb, id: BackupId) -> DbResult<Option<Backup>> {
    let row = ask!(db, connection => select_backups!("WHERE id = $1", id.as_uuid()).fetch_optional(&mut *connection));
    row.map(Backup::try_from).transpose()
}

/// Which of these the catalogue knows.
///
/// # Errors
/// Database errors only.
pub async fn known(db: &PlatformDb, ids: &[BackupId]) -> DbResult<HashSet<BackupId>> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
    let known = || sqlx::query_scalar!("SELECT id FROM instance_service.backups WHERE id = ANY ($1)", &ids);
    Ok(ask!(db, connection => known().fetch_all(&mut *connection)).into_iter().map(BackupId::from_uuid).collect())
}

/// The backup from which this instance may be restored: one that is whole, and of this instance.
///
/// # Errors
/// Database errors only.
pub async fn restorable(tx: &mut PlatformTx, id: BackupId, instance: InstanceId) -> DbResult<Option<Backup>> {
    let row = select_backups!(
        "WHERE id = $1 AND instance_id = $2 AND state = 'completed' FOR SHARE",
        id.as_uuid(),
        instance.as_uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map(Backup::try_from).transpose()
}

/// The backup of this instance that may be checked: one that is whole, or was until it was found damaged.
///
/// # Errors
/// Database errors only.
pub async fn checkable(tx: &mut PlatformTx, id: BackupId, instance: InstanceId) -> DbResult<Option<Backup>> {
    let row = select_backups!(
        "WHERE id = $1 AND instance_id = $2 AND state IN ('completed', 'failed') AND completed_at IS NOT NULL FOR SHARE",
        id.as_uuid(),
        instance.as_uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map(Backup::try_from).transpose()
}

/// The backup that an operation takes.
///
/// # Errors
/// Database errors only.
pub async fn of_operation(db: &PlatformDb, operation: OperationId, origin: Origin) -> DbResult<Option<Backup>> {
    let row = || select_backups!("WHERE operation_id = $1 AND origin = $2", operation.as_uuid(), origin.as_str());
    ask!(db, connection => row().fetch_optional(&mut *connection)).map(Backup::try_from).transpose()
}

/// The newest backup of an instance that is whole. One that was brought from elsewhere is no copy of what it has.
///
/// # Errors
/// Database errors only.
pub async fn newest_whole(db: &PlatformDb, instance: InstanceId) -> DbResult<Option<Backup>> {
    let row = || {
        select_backups!(
            "WHERE instance_id = $1 AND state = 'completed' AND origin <> 'imported' ORDER BY completed_at DESC LIMIT 1",
            instance.as_uuid(),
        )
    };
    ask!(db, connection => row().fetch_optional(&mut *connection)).map(Backup::try_from).transpose()
}

/// The backups of an instance, newest first; those that are being removed are none any more.
///
/// # Errors
/// Database errors only.
pub async fn of_instance(db: &PlatformDb, instance: InstanceId, limit: i64) -> DbResult<Vec<Backup>> {
    let rows = || {
        select_backups!(
            "WHERE instance_id = $1 AND state <> 'deleting' ORDER BY created_at DESC, id LIMIT $2",
            instance.as_uuid(),
            limit,
        )
    };
    ask!(db, connection => rows().fetch_all(&mut *connection)).into_iter().map(Backup::try_from).collect()
}

/// The backup that is asked about, locked.
///
/// # Errors
/// Database errors only.
pub async fn lock(tx: &mut PlatformTx, id: BackupId) -> DbResult<Option<Backup>> {
    let row = select_backups!("WHERE id = $1 FOR UPDATE", id.as_uuid()).fetch_optional(tx.conn()).await?;
    row.map(Backup::try_from).transpose()
}

/// The backups of an instance in this state, the newest first, locked so that none of them begins to go meanwhile.
///
/// # Errors
/// Database errors only.
pub async fn in_state(tx: &mut PlatformTx, instance: InstanceId, state: State) -> DbResult<Vec<Backup>> {
    let rows = select_backups!(
        "WHERE instance_id = $1 AND state = $2 ORDER BY completed_at DESC, id FOR SHARE",
        instance.as_uuid(),
        state.as_str(),
    )
    .fetch_all(tx.conn())
    .await?;
    rows.into_iter().map(Backup::try_from).collect()
}

/// Which of an instance's backups are read by work that is accepted and has not ended.
///
/// # Errors
/// Database errors only.
pub async fn being_read(tx: &mut PlatformTx, instance: InstanceId) -> DbResult<Vec<BackupId>> {
    let ids = sqlx::query_scalar!(
        r#"SELECT b.id FROM instance_service.backups b WHERE b.instance_id = $1 AND EXISTS (
               SELECT FROM instance_service.operations o
                WHERE o.state IN ('running', 'waiting', 'queued', 'needs_attention') AND o.params ->> 'backup' = b.id::text
               UNION ALL
               SELECT FROM instance_service.clones c JOIN public.instances i ON i.id = c.instance_id
                WHERE (c.backup_id = b.id OR c.backup_operation = b.operation_id)
                  AND i.phase = 'registered' AND i.status <> 'terminated')"#,
        instance.as_uuid(),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(BackupId::from_uuid).collect())
}

/// Which of an instance's backups were taken by work for itself that has not ended: they go again if it fails, and so stand for no other.
///
/// # Errors
/// Database errors only.
pub async fn provisional(tx: &mut PlatformTx, instance: InstanceId) -> DbResult<Vec<BackupId>> {
    let ids = sqlx::query_scalar!(
        "SELECT b.id FROM instance_service.backups b JOIN instance_service.operations o ON o.id = b.operation_id
          WHERE b.instance_id = $1 AND b.origin IN ('before_restore', 'before_update') AND o.finished_at IS NULL",
        instance.as_uuid(),
    )
    .fetch_all(tx.conn())
    .await?;
    Ok(ids.into_iter().map(BackupId::from_uuid).collect())
}

/// It is to go: from now on nobody lists or restores it.
///
/// # Errors
/// Database errors only.
pub async fn condemn(tx: &mut PlatformTx, id: BackupId) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.backups SET state = 'deleting' WHERE id = $1 AND state IN ('completed', 'failed')",
        id.as_uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The operation that takes it does not need it: it is to go, however far it is.
///
/// # Errors
/// Database errors only.
pub async fn discard(tx: &mut PlatformTx, id: BackupId) -> DbResult<()> {
    sqlx::query!("UPDATE instance_service.backups SET state = 'deleting' WHERE id = $1", id.as_uuid()).execute(tx.conn()).await?;
    Ok(())
}

/// The store has nothing of it any more.
///
/// # Errors
/// Database errors only.
pub async fn forget(tx: &mut PlatformTx, id: BackupId) -> DbResult<()> {
    sqlx::query!("DELETE FROM instance_service.backups WHERE id = $1 AND state = 'deleting'", id.as_uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// All of it was compared just now, so that it is whole, whatever was thought of it; `proven`: and it was loaded.
///
/// # Errors
/// Database errors only.
pub async fn verified(tx: &mut PlatformTx, id: BackupId, proven: bool) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.backups
            SET state = 'completed', error = NULL, verified_at = clock_timestamp(),
                proven_at = CASE WHEN $2 THEN clock_timestamp() ELSE proven_at END
          WHERE id = $1 AND state IN ('completed', 'failed') AND completed_at IS NOT NULL",
        id.as_uuid(),
        proven,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// It cannot be restored, whatever was thought of it: it counts as none from now on.
///
/// # Errors
/// Database errors only.
pub async fn broken(tx: &mut PlatformTx, id: BackupId, error: &str) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.backups SET state = 'failed', error = $2 WHERE id = $1 AND state = 'completed'",
        id.as_uuid(),
        error,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Instances that have backups, in the order of their ids after `after`.
///
/// # Errors
/// Database errors only.
pub async fn owners(db: &PlatformDb, after: InstanceId, limit: i64) -> DbResult<Vec<InstanceId>> {
    let ids = || {
        sqlx::query_scalar!(
            "SELECT DISTINCT instance_id FROM instance_service.backups WHERE instance_id > $1 ORDER BY instance_id LIMIT $2",
            after.as_uuid(),
            limit,
        )
    };
    Ok(ask!(db, connection => ids().fetch_all(&mut *connection)).into_iter().map(InstanceId::from_uuid).collect())
}

/// An instance whose newest backup ought to be loaded to see that it can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// The instance.
    pub instance: InstanceId,
    /// Its newest whole backup.
    pub backup: BackupId,
}

/// Instances at rest of which nothing was proven for this time, those that wait longest first. Whose proof is under way, or was tried within a
/// day, is not among them: what cannot be proven keeps nobody from his turn.
///
/// # Errors
/// Database errors only.
pub async fn unproven(db: &PlatformDb, age: Duration, limit: i64) -> DbResult<Vec<Unproven>> {
    let rows = || {
        sqlx::query!(
            r#"SELECT i.id, newest.id AS "backup!"
                 FROM public.instances i
                 JOIN LATERAL (SELECT b.id, b.completed_at FROM instance_service.backups b
                                WHERE b.instance_id = i.id AND b.state = 'completed' AND b.origin <> 'imported'
                                ORDER BY b.completed_at DESC LIMIT 1) newest ON true
                 LEFT JOIN LATERAL (SELECT max(b.proven_at) AS at FROM instance_service.backups b
                                     WHERE b.instance_id = i.id AND b.state = 'completed' AND b.origin <> 'imported') proof ON true
                WHERE i.phase = 'ready' AND i.status IN ('running', 'stopped')
                  AND newest.completed_at < clock_timestamp() - interval '1 hour'
                  AND (proof.at IS NULL OR proof.at < clock_timestamp() - make_interval(secs => $1))
                  AND NOT EXISTS (SELECT FROM instance_service.operations o
                                   WHERE o.instance_id = i.id AND o.kind = 'verify_backup' AND o.params ->> 'restore' = 'true'
                                     AND (o.finished_at IS NULL OR o.created_at > clock_timestamp() - interval '1 day'))
                ORDER BY proof.at NULLS FIRST, newest.completed_at LIMIT $2"#,
            age.as_secs_f64(),
            limit,
        )
    };
    let rows = ask!(db, connection => rows().fetch_all(&mut *connection));
    Ok(rows
        .into_iter()
        .map(|row| Unproven { instance: InstanceId::from_uuid(row.id), backup: BackupId::from_uuid(row.backup) })
        .collect())
}

/// When an instance was last backed up and when that was last proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// The instance.
    pub instance: InstanceId,
    /// The moment of its newest whole backup.
    pub backed_up: Option<DateTime<Utc>>,
    /// The last time that one was loaded to see that it can be.
    pub proven: Option<DateTime<Utc>>,
}

/// The ages of all instances in service.
///
/// # Errors
/// Database errors only.
pub async fn ages(db: &PlatformDb) -> DbResult<Vec<Ages>> {
    let rows = || {
        sqlx::query!(
            r#"SELECT i.id, max(b.completed_at) AS backed_up, max(b.proven_at) AS proven
                 FROM public.instances i
                 LEFT JOIN instance_service.backups b ON b.instance_id = i.id AND b.state = 'completed' AND b.origin <> 'imported'
                WHERE i.phase = 'ready' AND i.status <> 'terminated' GROUP BY i.id"#
        )
    };
    let rows = ask!(db, connection => rows().fetch_all(&mut *connection));
    Ok(rows
        .into_iter()
        .map(|row| Ages { instance: InstanceId::from_uuid(row.id), backed_up: row.backed_up, proven: row.proven })
        .collect())
}
