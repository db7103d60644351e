//! What can be fetched, and what of the files that API and workers hand each other is still needed. It is all in the rows of the
//! operations: an export that has succeeded says until when its archive is there.

use crate::error::DbResult;
use crate::platform::operations::Operation;
use crate::platform::readers::ask;
use crate::platform::{PlatformDb, PlatformTx};
use chrono::{DateTime, Utc};
use domain::ids::{BackupId, InstanceId, OperationId};
use domain::operation::State;
use domain::scope::Scope;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use std::collections::HashMap;
use uuid::Uuid;

/// Result of an operation that has made an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// Of which backup.
    pub backup_id: BackupId,
    /// Which try made it: part of the name of its file.
    pub attempt: i64,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// How long it can be fetched.
    pub expires_at: DateTime<Utc>,
}

/// An archive that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Which operation made it.
    pub operation: OperationId,
    /// What it made.
    pub archive: Exported,
}

/// The archive of a backup that can be fetched now, if the last operation for it has made one.
///
/// # Errors
/// Database errors only.
pub async fn ready(db: &PlatformDb, backup: BackupId) -> DbResult<Option<Ready>> {
    let row = || {
        sqlx::query!(
            r#"SELECT id, result AS "result: Json<Exported>" FROM (
                   SELECT * FROM instance_service.operations
                    WHERE scope = $1 AND kind = 'export' ORDER BY seq DESC LIMIT 1) AS last
                WHERE state = $2 AND (result ->> 'expires_at')::timestamptz > clock_timestamp()"#,
            Scope::Export(backup).to_string(),
            State::Succeeded.as_str(),
        )
    };
    let row = ask!(db, connection => row().fetch_optional(&mut *connection));
    let ready = |id, result: Option<Json<Exported>>| Some(Ready { operation: OperationId::from_uuid(id), archive: result?.0 });
    Ok(row.and_then(|row| ready(row.id, row.result)))
}

/// The last operation for a backup, and whether what it has made can be fetched. The caller holds the row of the backup's instance: of many
/// who miss the same archive one has it made.
///
/// # Errors
/// Database errors only.
pub(super) async fn last(tx: &mut PlatformTx, backup: BackupId) -> DbResult<Option<(Operation, bool)>> {
    let row = sqlx::query!(
        r#"SELECT to_jsonb(o) AS "operation!: Json<Operation>",
                  state = 'succeeded' AND (result ->> 'expires_at')::timestamptz > clock_timestamp() AS is_there
             FROM instance_service.operations o WHERE scope = $1 AND kind = 'export' ORDER BY seq DESC LIMIT 1"#,
        Scope::Export(backup).to_string(),
    );
    let row = row.fetch_optional(tx.conn()).await?;
    Ok(row.map(|row| (row.operation.0, row.is_there.unwrap_or(false))))
}

/// How many archives of an instance are being made or can be fetched: of each backup the last one, unless that is known to be `lost`.
///
/// # Errors
/// Database errors only.
pub(super) async fn kept(tx: &mut PlatformTx, instance: InstanceId, lost: Option<OperationId>) -> DbResult<i64> {
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM (
               SELECT DISTINCT ON (scope) id, finished_at, result FROM instance_service.operations
                WHERE instance_id = $1 AND kind = 'export' ORDER BY scope, seq DESC) AS last
            WHERE finished_at IS NULL
               OR id IS DISTINCT FROM $2 AND (result ->> 'expires_at')::timestamptz > clock_timestamp()
                  AND EXISTS (SELECT FROM instance_service.backups b
                               WHERE b.id = (last.result ->> 'backup_id')::uuid AND b.state = 'completed')"#,
        instance.as_uuid(),
        lost.map(|id| id.as_uuid()),
    );
    Ok(count.fetch_one(tx.conn()).await?)
}

/// What is needed of the files of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// Everything: it has not ended.
    All,
    /// What this try made: it can be fetched.
    Archive(i64),
    /// Nothing: it has ended.
    Nothing,
}

/// What is needed of the files of these operations; those that are not in the answer are not known.
///
/// # Errors
/// Database errors only.
pub async fn needed(db: &PlatformDb, operations: &[OperationId]) -> DbResult<HashMap<OperationId, Needed>> {
    let ids: Vec<Uuid> = operations.iter().map(|id| id.as_uuid()).collect();
    let rows = || {
        sqlx::query!(
            r#"SELECT o.id, o.finished_at IS NULL AS "under_way!",
                      CASE WHEN b.state = 'completed' AND (o.result ->> 'expires_at')::timestamptz > clock_timestamp()
                           THEN (o.result ->> 'attempt')::bigint END AS attempt
                 FROM instance_service.operations o
                 LEFT JOIN instance_service.backups b ON b.id = (o.result ->> 'backup_id')::uuid
                WHERE o.id = ANY ($1) AND o.kind IN ('export', 'import')"#,
            &ids,
        )
    };
    let rows = ask!(db, connection => rows().fetch_all(&mut *connection));
    let needed = |under_way, attempt: Option<i64>| match attempt {
        _ if under_way => Needed::All,
        Some(attempt) => Needed::Archive(attempt),
        None => Needed::Nothing,
    };
    Ok(rows.into_iter().map(|row| (OperationId::from_uuid(row.id), needed(row.under_way, row.attempt))).collect())
}
