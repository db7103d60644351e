//! Whether the schema is the one that this release was written for.

use super::migrations;
use crate::error::{DbError, DbResult};
use crate::platform::PlatformDb;
use apalis_postgres::PostgresStorage;
use std::collections::BTreeSet;

/// How the schema relates to this release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// Migrations are missing, or the database is empty: run `migrate`.
    TooOld,
    /// Exactly what this release knows.
    Fits,
    /// A newer release has migrated it.
    TooNew,
}

/// Compares both histories with what is compiled in. The runtime role may read them.
///
/// # Errors
/// [`DbError::Unreachable`] when postgres1 does not answer; a missing history is an answer.
pub async fn schema_state(db: &PlatformDb) -> DbResult<SchemaState> {
    let ours: BTreeSet<i64> = migrations().iter().map(|migration| migration.version).collect();
    let theirs: BTreeSet<i64> = PostgresStorage::<()>::migrations().iter().map(|migration| migration.version).collect();
    let ours = compare(&ours, applied(db, "SELECT version FROM instance_service._migrations WHERE success").await?);
    let theirs = compare(&theirs, applied(db, "SELECT version FROM apalis._sqlx_migrations WHERE success").await?);
    Ok(match (ours, theirs) {
        (SchemaState::TooNew, _) | (_, SchemaState::TooNew) => SchemaState::TooNew,
        (SchemaState::TooOld, _) | (_, SchemaState::TooOld) => SchemaState::TooOld,
        (SchemaState::Fits, SchemaState::Fits) => SchemaState::Fits,
    })
}

/// The history tables are made by sqlx at run time, so these two queries cannot be checked at compile time.
async fn applied(db: &PlatformDb, query: &'static str) -> DbResult<BTreeSet<i64>> {
    const UNDEFINED_TABLE: &str = "42P01";
    const NO_PRIVILEGE: &str = "42501";
    match sqlx::query_scalar::<_, i64>(query).fetch_all(db.pool()).await.map_err(DbError::from) {
        Ok(versions) => Ok(versions.into_iter().collect()),
        // Before the first `migrate` the runtime role may not even look into the schema.
        Err(error) if matches!(error.sqlstate().as_deref(), Some(UNDEFINED_TABLE | NO_PRIVILEGE)) => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

fn compare(known: &BTreeSet<i64>, applied: BTreeSet<i64>) -> SchemaState {
    if !applied.is_subset(known) {
        SchemaState::TooNew
    } else if applied.is_superset(known) {
        SchemaState::Fits
    } else {
        SchemaState::TooOld
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_migration_is_newer_even_if_one_of_ours_is_missing() {
        let known = BTreeSet::from([1, 2, 3]);
        assert_eq!(compare(&known, BTreeSet::new()), SchemaState::TooOld);
        assert_eq!(compare(&known, BTreeSet::from([1, 2])), SchemaState::TooOld);
        assert_eq!(compare(&known, BTreeSet::from([1, 2, 3])), SchemaState::Fits);
        assert_eq!(compare(&known, BTreeSet::from([1, 2, 4])), SchemaState::TooNew);
    }
}
