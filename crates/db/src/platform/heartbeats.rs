//! Signs of life of the workers, which their `healthcheck` command and the API read.

use crate::error::DbResult;
use crate::platform::PlatformDb;
use crate::platform::readers::ask;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::time::Duration;

/// What a worker last said.
#[derive(Clone, Debug, PartialEq)]
pub struct Heartbeat {
    /// Name of the worker, new at each start.
    pub worker: String,
    /// Machine or container.
    pub host: String,
    /// Release.
    pub version: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it last said so.
    pub beat_at: DateTime<Utc>,
    /// State of its parts.
    pub details: Value,
}

/// Records a sign of life.
///
/// # Errors
/// Database errors only.
pub async fn beat(db: &PlatformDb, worker: &str, host: &str, version: &str, details: &Value) -> DbResult<()> {
    sqlx::query!(
        "INSERT INTO instance_service.worker_heartbeats (worker, host, version, details) VALUES ($1, $2, $3, $4)
         ON CONFLICT (worker) DO UPDATE SET beat_at = clock_timestamp(), details = excluded.details",
        worker,
        host,
        version,
        details,
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Workers heard of within `within`, by the database's clock, latest first.
///
/// # Errors
/// Database errors only.
pub async fn fresh(db: &PlatformDb, within: Duration) -> DbResult<Vec<Heartbeat>> {
    Ok(ask!(db, connection => sqlx::query_as!(
        Heartbeat,
        "SELECT worker, host, version, started_at, beat_at, details FROM instance_service.worker_heartbeats
          WHERE beat_at > clock_timestamp() - make_interval(secs => $1)
          ORDER BY beat_at DESC",
        within.as_secs_f64(),
    ).fetch_all(&mut *connection)))
}

/// Takes out a worker that ends in good order.
///
/// # Errors
/// Database errors only.
pub async fn leave(db: &PlatformDb, worker: &str) -> DbResult<()> {
    sqlx::query!("DELETE FROM instance_service.worker_heartbeats WHERE worker = $1", worker).execute(db.pool()).await?;
    Ok(())
}

/// Removes workers not heard of for longer than `older`; says how many.
///
/// # Errors
/// Database errors only.
pub async fn remove_stale(db: &PlatformDb, older: Duration) -> DbResult<u64> {
    let done = sqlx::query!(
        "DELETE FROM instance_service.worker_heartbeats WHERE beat_at < clock_timestamp() - make_interval(secs => $1)",
        older.as_secs_f64(),
    )
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected())
}
