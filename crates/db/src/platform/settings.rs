//! What a deployment decides once and remembers.

use crate::error::DbResult;
use crate::platform::PlatformDb;
use crate::platform::readers::ask;

/// Name of the setting that holds the id of the instances' root directory.
pub const INSTANCES_ROOT: &str = "instances_root";

/// Name of the setting that holds the id of the store in which the backups are.
const BACKUPS_ROOT: &str = "backups_root";

/// Name of the setting that tells what kind of store that is.
const BACKUPS_STORE: &str = "backups_store";

/// Kind of a store that is a directory.
pub const LOCAL: &str = "local";

/// Kind of a store that is a bucket.
pub const S3: &str = "s3";

/// The store in which a deployment's backups are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupsRoot {
    /// Its id.
    pub id: String,
    /// What kind of store it is: [`LOCAL`] or [`S3`].
    pub kind: String,
    /// Whether any backup is catalogued.
    pub is_used: bool,
}

/// The store in which the backups are; `None` for a deployment that never had any.
///
/// # Errors
/// Database errors only.
pub async fn backups_root(db: &PlatformDb) -> DbResult<Option<BackupsRoot>> {
    let row = || {
        sqlx::query_as!(
            BackupsRoot,
            r#"SELECT value #>> '{}' AS "id!",
                    coalesce((SELECT value #>> '{}' FROM instance_service.settings WHERE name = $2), 'local') AS "kind!",
                    EXISTS (SELECT FROM instance_service.backups) AS "is_used!"
               FROM instance_service.settings WHERE name = $1"#,
            BACKUPS_ROOT,
            BACKUPS_STORE,
        )
    };
    Ok(ask!(db, connection => row().fetch_optional(&mut *connection)))
}

/// Remembers the store in which the backups are, in place of what was known. One worker at a time may decide that.
///
/// # Errors
/// Database errors only.
pub async fn keep_backups_root(db: &PlatformDb, kind: &str, id: &str) -> DbResult<()> {
    sqlx::query!(
        "INSERT INTO instance_service.settings (name, value) VALUES ($1, to_jsonb($2::text)), ($3, to_jsonb($4::text))
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        BACKUPS_ROOT,
        id,
        BACKUPS_STORE,
        kind,
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

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
