//! What a restore has replaced and keeps for a while: one former state of an instance's data at most.

use crate::error::{DbError, DbResult};
use crate::platform::readers::ask;
use crate::platform::{PlatformDb, PlatformTx};
use domain::ids::{InstanceId, OperationId, ServerId};
use domain::names::PhysicalName;
use std::time::Duration;

/// Data that were live before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Of which instance.
    pub instance: InstanceId,
    /// The operation that replaced them.
    pub operation: OperationId,
    /// Where the database is.
    pub server: ServerId,
    /// Under which name.
    pub db_name: PhysicalName,
    /// Its OID.
    pub db_oid: u32,
    /// Of the directory that was kept.
    pub number: u32,
}

/// Remembers what was replaced, for `keep` from now on, in place of what was remembered before.
///
/// # Errors
/// Database errors only.
pub async fn keep(tx: &mut PlatformTx, replaced: &Replaced, keep: Duration) -> DbResult<()> {
    sqlx::query!(
        "INSERT INTO instance_service.replaced_data (instance_id, operation_id, server_id, db_name, db_oid, number, keep_until)
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7))
         ON CONFLICT (instance_id) DO UPDATE
            SET operation_id = excluded.operation_id, server_id = excluded.server_id, db_name = excluded.db_name,
                db_oid = excluded.db_oid, number = excluded.number, replaced_at = clock_timestamp(), keep_until = excluded.keep_until",
        replaced.instance.as_uuid(),
        replaced.operation.as_uuid(),
        replaced.server.as_uuid(),
        replaced.db_name.as_str(),
        i64::from(replaced.db_oid),
        i32::try_from(replaced.number).unwrap_or(i32::MAX),
        keep.as_secs_f64(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// What is kept of an instance.
///
/// # Errors
/// Database errors only.
pub async fn of(db: &PlatformDb, instance: InstanceId) -> DbResult<Option<Replaced>> {
    let row = || {
        sqlx::query!(
            "SELECT operation_id, server_id, db_name, db_oid, number FROM instance_service.replaced_data WHERE instance_id = $1",
            instance.as_uuid()
        )
    };
    let Some(row) = ask!(db, connection => row().fetch_optional(&mut *connection)) else { return Ok(None) };
    let wrong = |column| DbError::Inconsistent {
        table: "replaced_data",
        column,
        row: instance.to_string(),
        why: "it cannot be what we wrote".to_owned(),
    };
    Ok(Some(Replaced {
        instance,
        operation: OperationId::from_uuid(row.operation_id),
        server: ServerId::from_uuid(row.server_id),
        db_name: PhysicalName::new(row.db_name).map_err(|_| wrong("db_name"))?,
        db_oid: u32::try_from(row.db_oid).map_err(|_| wrong("db_oid"))?,
        number: u32::try_from(row.number).map_err(|_| wrong("number"))?,
    }))
}

/// Nothing is kept of it any more.
///
/// # Errors
/// Database errors only.
pub async fn forget(tx: &mut PlatformTx, instance: InstanceId) -> DbResult<()> {
    sqlx::query!("DELETE FROM instance_service.replaced_data WHERE instance_id = $1", instance.as_uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}
