//! Instances that begin as a copy of another one.

use crate::error::DbResult;
use crate::platform::readers::ask;
use crate::platform::{PlatformDb, PlatformTx};
use domain::ids::{BackupId, InstanceId, OperationId};

/// Of what an instance is a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloneOf {
    /// The original.
    pub source: InstanceId,
    /// The backup that it is made of, once there is one.
    pub backup: Option<BackupId>,
    /// The operation that takes that backup, if one was not chosen.
    pub operation: Option<OperationId>,
}

/// Notes that an instance is to begin as a copy.
///
/// # Errors
/// Database errors only.
pub async fn note(tx: &mut PlatformTx, instance: InstanceId, of: &CloneOf) -> DbResult<()> {
    sqlx::query!(
        "INSERT INTO instance_service.clones (instance_id, source_id, backup_id, backup_operation) VALUES ($1, $2, $3, $4)",
        instance.as_uuid(),
        of.source.as_uuid(),
        of.backup.map(|id| id.as_uuid()),
        of.operation.map(|id| id.as_uuid()),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Another operation takes the backup.
///
/// # Errors
/// Database errors only.
pub async fn order(tx: &mut PlatformTx, instance: InstanceId, operation: OperationId) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.clones SET backup_operation = $2 WHERE instance_id = $1",
        instance.as_uuid(),
        operation.as_uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// The backup has been taken.
///
/// # Errors
/// Database errors only.
pub async fn choose(tx: &mut PlatformTx, instance: InstanceId, backup: BackupId) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.clones SET backup_id = $2 WHERE instance_id = $1",
        instance.as_uuid(),
        backup.as_uuid()
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Of what an instance is a copy, if it is one.
///
/// # Errors
/// Database errors only.
pub async fn of(db: &PlatformDb, instance: InstanceId) -> DbResult<Option<CloneOf>> {
    let row = || {
        sqlx::query!(
            "SELECT source_id, backup_id, backup_operation FROM instance_service.clones WHERE instance_id = $1",
            instance.as_uuid()
        )
    };
    let row = ask!(db, connection => row().fetch_optional(&mut *connection));
    Ok(row.map(|row| CloneOf {
        source: InstanceId::from_uuid(row.source_id),
        backup: row.backup_id.map(BackupId::from_uuid),
        operation: row.backup_operation.map(OperationId::from_uuid),
    }))
}

/// Of which instance another one was ordered as a copy, if it was.
///
/// # Errors
/// Database errors only.
pub async fn source_of(tx: &mut PlatformTx, instance: InstanceId) -> DbResult<Option<InstanceId>> {
    let source = sqlx::query_scalar!("SELECT source_id FROM instance_service.clones WHERE instance_id = $1", instance.as_uuid())
        .fetch_optional(tx.conn())
        .await?;
    Ok(source.map(InstanceId::from_uuid))
}
