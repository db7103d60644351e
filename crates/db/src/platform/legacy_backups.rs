//! Backups of the earlier service in the catalogue (contract 16.2).
//!
//! Owns: how they get in, and how they are found by their old names. Leaves to others: their files (`backup`); everything else is as for
//! any backup ([`super::backups`]).

use crate::error::DbResult;
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::backups::Summary;
use crate::platform::readers::ask;
use crate::platform::{PlatformDb, PlatformTx};
use chrono::{DateTime, Utc};
use domain::backup::legacy::Legacy;
use domain::backup::{Origin, State};
use domain::ids::{BackupId, CustomerId, InstanceId};
use serde_json::json;
use sqlx::types::Json;

/// One that shall be in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its id, if it has none yet.
    pub id: BackupId,
    /// Of which instance.
    pub instance: InstanceId,
    /// Whose that is.
    pub customer: CustomerId,
    /// Odoo's version.
    pub odoo_version: String,
    /// When it was taken.
    pub taken_at: DateTime<Utc>,
    /// Its files.
    pub legacy: Legacy,
    /// Why it cannot be restored, in words for the customer; set if it has no content.
    pub error: Option<String>,
}

/// One that is in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entered {
    /// Its id.
    pub id: BackupId,
    /// Of which instance.
    pub instance: InstanceId,
    /// Whether it can be restored.
    pub is_whole: bool,
    /// Its files, as they were when it was entered.
    pub legacy: Legacy,
}

/// The one with this old name.
///
/// # Errors
/// Database errors only.
pub async fn entered(db: &PlatformDb, name: &str) -> DbResult<Option<Entered>> {
    let row = || {
        sqlx::query!(
            r#"SELECT id, instance_id, state = 'completed' AS "is_whole!", legacy AS "legacy!: Json<Legacy>"
                 FROM instance_service.backups WHERE legacy ->> 'name' = $1 AND legacy IS NOT NULL"#,
            name
        )
    };
    let row = ask!(db, connection => row().fetch_optional(&mut *connection));
    Ok(row.map(|row| Entered {
        id: BackupId::from_uuid(row.id),
        instance: InstanceId::from_uuid(row.instance_id),
        is_whole: row.is_whole,
        legacy: row.legacy.0,
    }))
}

/// Enters one into the catalogue, or what is known by now of one that was no whole backup. `None` if it is there and was one: what changed since is
/// not what was entered.
///
/// # Errors
/// Database errors only.
pub async fn enter(tx: &mut PlatformTx, found: &Found, by: &AuditContext) -> DbResult<Option<BackupId>> {
    let content = found.legacy.content.as_ref();
    let state = if content.is_some() { State::Completed } else { State::Failed };
    let summary = Summary {
        taken_at: Some(found.taken_at),
        postgres_version: content.and_then(|content| content.postgres_version).unwrap_or_default(),
        ..Summary::default()
    };
    let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let id = sqlx::query_scalar!(
        "INSERT INTO instance_service.backups AS b (id, instance_id, customer_id, name, origin, state, odoo_version, database_bytes,
                files_count, files_bytes, stored_bytes, new_bytes, error, created_at, completed_at, summary, legacy)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12, $13, $14, $15, $16)
         ON CONFLICT ((legacy ->> 'name')) WHERE legacy IS NOT NULL
         DO UPDATE SET state = excluded.state, odoo_version = excluded.odoo_version, database_bytes = excluded.database_bytes,
                files_count = excluded.files_count, files_bytes = excluded.files_bytes, stored_bytes = excluded.stored_bytes,
                error = excluded.error, completed_at = excluded.completed_at, summary = excluded.summary, legacy = excluded.legacy
          WHERE b.state = 'failed' AND b.legacy ->> 'content' IS NULL AND b.instance_id = excluded.instance_id
         RETURNING id",
        found.id.as_uuid(),
        found.instance.as_uuid(),
        found.customer.as_uuid(),
        found.legacy.name,
        Origin::Imported.as_str(),
        state.as_str(),
        found.odoo_version,
        content.map(|content| size(content.dump.bytes)),
        content.map(|content| size(content.files)),
        content.map(|content| size(content.files_bytes)),
        content.map(|content| size(content.dump.bytes.saturating_add(content.archive.bytes))),
        found.error,
        found.taken_at,
        content.map(|_| found.taken_at),
        Json(&summary) as _,
        Json(&found.legacy) as _,
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(id) = id.map(BackupId::from_uuid) else { return Ok(None) };
    let entry = Entry {
        action: "import_backup",
        instance_id: Some(found.instance),
        operation_id: None,
        from: None,
        to: None,
        details: json!({ "backup": id, "name": found.legacy.name, "state": state.as_str() }),
    };
    audit::record(tx, by, &entry).await?;
    Ok(Some(id))
}

/// The backup of this instance that the earlier service called so.
///
/// # Errors
/// Database errors only.
pub async fn named(tx: &mut PlatformTx, instance: InstanceId, name: &str) -> DbResult<Option<BackupId>> {
    let id = sqlx::query_scalar!(
        "SELECT id FROM instance_service.backups WHERE legacy ->> 'name' = $2 AND legacy IS NOT NULL AND instance_id = $1",
        instance.as_uuid(),
        name,
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(id.map(BackupId::from_uuid))
}
