//! The catalogue of backups: what the store has of whom, and the sum by which each manifest is known.
//!
//! Owns: the rows of `backups`. Leaves to others: the store itself (`backup`), and when one is taken or removed (`worker`).

use crate::error::{DbError, DbResult};
use crate::platform::readers::ask;
use crate::platform::{PlatformDb, PlatformTx};
use chrono::{DateTime, Utc};
use domain::backup::{Origin, State};
use domain::ids::{BackupId, CustomerId, InstanceId, OperationId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

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
}

/// A backup as catalogued. Sizes are known when it is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of NewBackup and Whole, and the columns of the table")]
pub struct Backup {
    pub id: BackupId,
    pub instance: InstanceId,
    pub customer: CustomerId,
    pub operation: OperationId,
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
}

struct Row {
    id: Uuid,
    instance_id: Uuid,
    customer_id: Uuid,
    operation_id: Uuid,
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
}

macro_rules! select_backups {
    ($rest:literal $(, $parameter:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            "SELECT id, instance_id, customer_id, operation_id, name, origin, state, odoo_version, database_bytes, files_count, \
                    files_bytes, stored_bytes, attempt, manifest_sha256, error, created_at, completed_at, verified_at \
               FROM instance_service.backups " + $rest
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
            operation: OperationId::from_uuid(row.operation_id),
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
        })
    }
}

/// Catalogues a backup that is about to be taken. Done again by the same operation it changes nothing; the id that counts is returned.
///
/// # Errors
/// Database errors only.
pub async fn begin(tx: &mut PlatformTx, new: &NewBackup) -> DbResult<BackupId> {
    let id = sqlx::query_scalar!(
        "INSERT INTO instance_service.backups (id, instance_id, customer_id, operation_id, name, origin, odoo_version)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (operation_id, origin) DO UPDATE SET name = excluded.name RETURNING id",
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
            SET state = 'completed', completed_at = clock_timestamp(), verified_at = clock_timestamp(), error = NULL, manifest_sha256 = $2,
                database_bytes = $3, files_count = $4, files_bytes = $5, stored_bytes = $6, new_bytes = $7, attempt = $8
          WHERE id = $1 AND state IN ('running', 'completed')",
        id.as_uuid(),
        whole.manifest_sha256,
        size(whole.database_bytes),
        size(whole.files_count),
        size(whole.files_bytes),
        size(whole.stored_bytes),
        size(whole.new_bytes),
        whole.attempt,
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
