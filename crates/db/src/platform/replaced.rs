//! What restores have replaced and keep for a while: the former state of an instance's data.

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

/// Remembers what was replaced, for `keep` from now on. The first of the former states keeps its time, too: it is what the customer had
/// before anybody restored anything. What was replaced between the two may go at once.
///
/// # Errors
/// Database errors only.
pub async fn keep(tx: &mut PlatformTx, replaced: &Replaced, keep: Duration) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.replaced_data SET keep_until = least(keep_until, clock_timestamp())
          WHERE instance_id = $1 AND number > (SELECT min(number) FROM instance_service.replaced_data
                                                WHERE instance_id = $1 AND keep_until > clock_timestamp())",
        replaced.instance.as_uuid()
    )
    .execute(tx.conn())
    .await?;
    sqlx::query!(
        "INSERT INTO instance_service.replaced_data (instance_id, operation_id, server_id, db_name, db_oid, number, keep_until)
         VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7))",
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

/// What is there of an instance, the oldest first, and whether it is not to be kept any more.
///
/// # Errors
/// Database errors only.
pub async fn of(db: &PlatformDb, instance: InstanceId) -> DbResult<Vec<(Replaced, bool)>> {
    let rows = || {
        sqlx::query!(
            r#"SELECT operation_id, server_id, db_name, db_oid, number, keep_until <= clock_timestamp() AS "is_due!"
                 FROM instance_service.replaced_data WHERE instance_id = $1 ORDER BY number"#,
            instance.as_uuid()
        )
    };
    let wrong = |column| DbError::Inconsistent {
        table: "replaced_data",
        column,
        row: instance.to_string(),
        why: "it cannot be what we wrote".to_owned(),
    };
    let rows = ask!(db, connection => rows().fetch_all(&mut *connection)).into_iter();
    rows.map(|row| {
        let replaced = Replaced {
            instance,
            operation: OperationId::from_uuid(row.operation_id),
            server: ServerId::from_uuid(row.server_id),
            db_name: PhysicalName::new(row.db_name).map_err(|_| wrong("db_name"))?,
            db_oid: u32::try_from(row.db_oid).map_err(|_| wrong("db_oid"))?,
            number: u32::try_from(row.number).map_err(|_| wrong("number"))?,
        };
        Ok((replaced, row.is_due))
    })
    .collect()
}

/// Whether there is something to which an instance can go back: what `operation` replaced, or anything.
///
/// # Errors
/// Database errors only.
pub async fn is_kept(tx: &mut PlatformTx, instance: InstanceId, operation: Option<OperationId>) -> DbResult<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM instance_service.replaced_data
                           WHERE instance_id = $1 AND keep_until > clock_timestamp()
                             AND ($2::uuid IS NULL OR operation_id = $2)) AS "is_kept!""#,
        instance.as_uuid(),
        operation.map(|id| id.as_uuid()),
    )
    .fetch_one(tx.conn())
    .await?)
}

/// Instances of which something need not be kept any more.
///
/// # Errors
/// Database errors only.
pub async fn due(db: &PlatformDb, limit: i64) -> DbResult<Vec<InstanceId>> {
    let ids = || {
        sqlx::query_scalar!(
            "SELECT instance_id FROM instance_service.replaced_data WHERE keep_until <= clock_timestamp() ORDER BY keep_until LIMIT $1",
            limit
        )
    };
    Ok(ask!(db, connection => ids().fetch_all(&mut *connection)).into_iter().map(InstanceId::from_uuid).collect())
}

/// It is not there any more.
///
/// # Errors
/// Database errors only.
pub async fn forget(tx: &mut PlatformTx, instance: InstanceId, number: u32) -> DbResult<()> {
    sqlx::query!(
        "DELETE FROM instance_service.replaced_data WHERE instance_id = $1 AND number = $2",
        instance.as_uuid(),
        i32::try_from(number).unwrap_or(i32::MAX),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
