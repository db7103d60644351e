//! What fault points do to postgres1: a build without feature `faults` has none of it.

use crate::error::DbResult;
use crate::platform::PlatformDb;
use domain::ids::OperationId;

/// Lets the lease of an operation run out at once, without its holder being told.
///
/// # Errors
/// Database errors only.
pub async fn expire_lease(db: &PlatformDb, operation: OperationId) -> DbResult<()> {
    sqlx::query(
        "UPDATE instance_service.leases l SET expires_at = '-infinity'
           FROM instance_service.operations o WHERE o.scope = l.resource AND o.id = $1",
    )
    .bind(operation.as_uuid())
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Cuts every other connection of our role, those of other processes included.
///
/// # Errors
/// Database errors only.
pub async fn disconnect(db: &PlatformDb) -> DbResult<()> {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()",
    )
    .execute(db.pool())
    .await?;
    Ok(())
}
