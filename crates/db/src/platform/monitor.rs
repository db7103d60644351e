//! What each background loop last did: one row a loop, so that every replica of the API sees the same.

use crate::error::DbResult;
use crate::platform::PlatformDb;
use crate::platform::readers::ask;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::time::Duration;

/// The last report of a loop, and when it was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What it says.
    pub value: Value,
    /// When, by the database's clock.
    pub updated_at: DateTime<Utc>,
    /// How long ago, by the same clock.
    pub age: Duration,
}

/// Keeps the report of the loop called `name`.
///
/// # Errors
/// Database errors only.
pub async fn write(db: &PlatformDb, name: &str, value: &Value) -> DbResult<()> {
    sqlx::query!(
        "INSERT INTO instance_service.monitor_state (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = clock_timestamp()",
        name,
        value,
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// The last report of the loop called `name`.
///
/// # Errors
/// Database errors only.
pub async fn read(db: &PlatformDb, name: &str) -> DbResult<Option<Report>> {
    let row = ask!(db, connection => sqlx::query!(
        r#"SELECT value, updated_at, extract(epoch FROM clock_timestamp() - updated_at)::float8 AS "seconds!"
             FROM instance_service.monitor_state WHERE name = $1"#,
        name
    ).fetch_optional(&mut *connection));
    Ok(row.map(|row| Report {
        value: row.value,
        updated_at: row.updated_at,
        age: Duration::try_from_secs_f64(row.seconds).unwrap_or_default(),
    }))
}
