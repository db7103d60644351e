//! What a deployment decides once and remembers.

use crate::error::DbResult;
use crate::platform::PlatformDb;
use crate::platform::readers::ask;

/// Name of the setting that holds the id of the instances' root directory.
pub const INSTANCES_ROOT: &str = "instances_root";

/// Name of the setting that holds the id of the backups' root directory.
pub const BACKUPS_ROOT: &str = "backups_root";

/// The value of a setting, text as all of them are.
///
/// # Errors
/// Database errors only.
pub async fn get(db: &PlatformDb, name: &str) -> DbResult<Option<String>> {
    let value = || sqlx::query_scalar!("SELECT value #>> '{}' FROM instance_service.settings WHERE name = $1", name);
    let value = ask!(db, connection => value().fetch_optional(&mut *connection));
    Ok(value.flatten())
}

/// Remembers a value unless there is one; answers the one that is kept.
///
/// # Errors
/// Database errors only.
pub async fn keep_first(db: &PlatformDb, name: &str, value: &str) -> DbResult<String> {
    Ok(sqlx::query_scalar!(
        r#"INSERT INTO instance_service.settings AS s (name, value) VALUES ($1, to_jsonb($2::text))
           ON CONFLICT (name) DO UPDATE SET value = s.value RETURNING value #>> '{}' AS "kept!""#,
        name,
        value
    )
    .fetch_one(db.pool())
    .await?)
}
