//! When instances are backed up by themselves: the schedules that they have of their own, and whose turn may have come.

use crate::error::{DbError, DbResult};
use crate::platform::readers::ask;
use crate::platform::{PlatformDb, PlatformTx};
use domain::backup::schedule::{Keep, Last, Schedule};
use domain::ids::InstanceId;
use uuid::Uuid;

struct Row {
    instance_id: Uuid,
    enabled: bool,
    hour: i16,
    timezone: String,
    daily: i32,
    weekly: i32,
    monthly: i32,
}

impl TryFrom<Row> for Schedule {
    type Error = DbError;

    fn try_from(row: Row) -> DbResult<Self> {
        let wrong = |column, why: String| DbError::Inconsistent {
            table: "backup_schedules",
            column,
            row: row.instance_id.to_string(),
            why,
        };
        let count = |column, value: i32| u32::try_from(value).map_err(|_| wrong(column, "it is negative".to_owned()));
        Ok(Self {
            enabled: row.enabled,
            hour: u32::try_from(row.hour).map_err(|_| wrong("hour", "it is negative".to_owned()))?,
            timezone: row.timezone.parse().map_err(|_| wrong("timezone", format!("{:?} is none", row.timezone)))?,
            keep: Keep {
                daily: count("daily", row.daily)?,
                weekly: count("weekly", row.weekly)?,
                monthly: count("monthly", row.monthly)?,
            },
        })
    }
}

/// The schedule of its own that an instance has.
///
/// # Errors
/// Database errors only.
pub async fn of(db: &PlatformDb, instance: InstanceId) -> DbResult<Option<Schedule>> {
    let row = || {
        sqlx::query_as!(
            Row,
            "SELECT instance_id, enabled, hour, timezone, daily, weekly, monthly FROM instance_service.backup_schedules
              WHERE instance_id = $1",
            instance.as_uuid()
        )
    };
    ask!(db, connection => row().fetch_optional(&mut *connection)).map(Schedule::try_from).transpose()
}

/// The same, in the transaction that changes it.
///
/// # Errors
/// Database errors only.
pub async fn locked(tx: &mut PlatformTx, instance: InstanceId) -> DbResult<Option<Schedule>> {
    let row = sqlx::query_as!(
        Row,
        "SELECT instance_id, enabled, hour, timezone, daily, weekly, monthly FROM instance_service.backup_schedules
          WHERE instance_id = $1 FOR UPDATE",
        instance.as_uuid()
    )
    .fetch_optional(tx.conn())
    .await?;
    row.map(Schedule::try_from).transpose()
}

/// Gives an instance a schedule of its own.
///
/// # Errors
/// Database errors only.
pub async fn set(tx: &mut PlatformTx, instance: InstanceId, schedule: &Schedule) -> DbResult<()> {
    let count = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
    sqlx::query!(
        "INSERT INTO instance_service.backup_schedules (instance_id, enabled, hour, timezone, daily, weekly, monthly)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (instance_id) DO UPDATE SET enabled = excluded.enabled, hour = excluded.hour, timezone = excluded.timezone,
             daily = excluded.daily, weekly = excluded.weekly, monthly = excluded.monthly, updated_at = clock_timestamp()",
        instance.as_uuid(),
        schedule.enabled,
        i16::try_from(schedule.hour).unwrap_or_default(),
        schedule.timezone.name(),
        count(schedule.keep.daily),
        count(schedule.keep.weekly),
        count(schedule.keep.monthly),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// An instance that may be backed up, and when it was last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which one.
    pub instance: InstanceId,
    /// Its own schedule.
    pub own: Option<Schedule>,
    /// The last backup by schedule.
    pub last: Option<Last>,
}

/// Instances that may be backed up, after `after` in the order of their ids. A schedule that cannot be read is as none, and told.
///
/// # Errors
/// Database errors only.
pub async fn candidates(db: &PlatformDb, after: InstanceId, limit: i64) -> DbResult<Vec<Candidate>> {
    let rows = || {
        sqlx::query!(
            r#"SELECT i.id, last.created_at AS "begun?", last.state AS "state?", s.instance_id AS "own?", s.enabled AS "enabled?",
                      s.hour AS "hour?", s.timezone AS "timezone?", s.daily AS "daily?", s.weekly AS "weekly?", s.monthly AS "monthly?"
                 FROM public.instances i
                 LEFT JOIN instance_service.backup_schedules s ON s.instance_id = i.id
                 LEFT JOIN LATERAL (SELECT b.created_at, b.state FROM instance_service.backups b
                                     WHERE b.instance_id = i.id AND b.origin = 'scheduled' ORDER BY b.created_at DESC LIMIT 1) last ON true
                WHERE i.id > $1 AND i.phase = 'ready' AND i.db_oid IS NOT NULL
                  AND i.status IN ('running', 'stopped', 'error', 'container_missing')
                ORDER BY i.id LIMIT $2"#,
            after.as_uuid(),
            limit,
        )
    };
    let rows = ask!(db, connection => rows().fetch_all(&mut *connection));
    let of = |row| match Schedule::try_from(row) {
        Ok(own) => Some(own),
        Err(error) => {
            tracing::warn!(%error, "a schedule is not understood; the configured one counts");
            None
        }
    };
    let candidates = rows.into_iter().map(|row| {
        let own = match (row.own, row.enabled, row.hour, row.timezone, row.daily, row.weekly, row.monthly) {
            (Some(instance_id), Some(enabled), Some(hour), Some(timezone), Some(daily), Some(weekly), Some(monthly)) => {
                of(Row { instance_id, enabled, hour, timezone, daily, weekly, monthly })
            }
            _ => None,
        };
        let last = row.begun.map(|begun| Last { begun, failed: row.state.as_deref() == Some("failed") });
        Candidate { instance: InstanceId::from_uuid(row.id), own, last }
    });
    Ok(candidates.collect())
}
