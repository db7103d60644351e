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
    /// What ran on them, if that was noted.
    pub image: Option<String>,
}

/// Remembers what was replaced, for `keep` from now on; `taken_back` is the number of what serves again instead of it, if it was kept before.
/// The first of the former states keeps its time, too: it is what the customer had before anybody restored anything. What came between
/// the two may go at once.
///
/// # Errors
/// Database errors only.
pub async fn keep(tx: &mut PlatformTx, replaced: &Replaced, taken_back: Option<u32>, keep: Duration) -> DbResult<()> {
    let instance = replaced.instance;
    let number = column(replaced.number);
    // Which state is the first tells the exchange that brought it, and not the one that replaced it: one that was taken back is replaced again.
    sqlx::query!(
        "INSERT INTO instance_service.replaced_data
                (instance_id, operation_id, server_id, db_name, db_oid, number, image, born, followed_by, keep_until)
         SELECT $1, $2, $3, $4, $5, $6, $7,
                coalesce((SELECT coalesce(followed_by, number) FROM instance_service.replaced_data
                           WHERE instance_id = $1 ORDER BY number DESC LIMIT 1), 0),
                coalesce((SELECT coalesce(born, number - 1) FROM instance_service.replaced_data
                           WHERE instance_id = $1 AND number = $8), $6),
                clock_timestamp() + make_interval(secs => $9)",
        instance.as_uuid(),
        replaced.operation.as_uuid(),
        replaced.server.as_uuid(),
        replaced.db_name.as_str(),
        i64::from(replaced.db_oid),
        number,
        replaced.image,
        taken_back.map(column),
        keep.as_secs_f64(),
    )
    .execute(tx.conn())
    .await?;
    if let Some(taken_back) = taken_back {
        forget(tx, instance, taken_back).await?;
    }
    sqlx::query!(
        "UPDATE instance_service.replaced_data SET keep_until = least(keep_until, clock_timestamp())
          WHERE instance_id = $1 AND number <> $2
            AND coalesce(born, number - 1) > (SELECT min(coalesce(born, number - 1)) FROM instance_service.replaced_data
                                               WHERE instance_id = $1 AND keep_until > clock_timestamp())",
        instance.as_uuid(),
        number,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn column(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// What is there of an instance, the oldest first, and whether it is not to be kept any more.
///
/// # Errors
/// Database errors only.
pub async fn of(db: &PlatformDb, instance: InstanceId) -> DbResult<Vec<(Replaced, bool)>> {
    let rows = || {
        sqlx::query!(
            r#"SELECT operation_id, server_id, db_name, db_oid, number, image, keep_until <= clock_timestamp() AS "is_due!"
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
            image: row.image,
        };
        Ok((replaced, row.is_due))
    })
    .collect()
}

/// To what an instance can go back: what `operation` replaced, or the last one. Known by the operation that replaced it.
///
/// # Errors
/// Database errors only.
pub async fn last_kept(
    tx: &mut PlatformTx,
    instance: InstanceId,
    operation: Option<OperationId>,
) -> DbResult<Option<OperationId>> {
    let id = sqlx::query_scalar!(
        "SELECT operation_id FROM instance_service.replaced_data
          WHERE instance_id = $1 AND keep_until > clock_timestamp() AND ($2::uuid IS NULL OR operation_id = $2)
          ORDER BY number DESC LIMIT 1",
        instance.as_uuid(),
        operation.map(|id| id.as_uuid()),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(id.map(OperationId::from_uuid))
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
        column(number),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
