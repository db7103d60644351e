//! Brings the schema on postgres1 up to date, and says whether it is (contract 14.1).
//!
//! Owns: the order (our migrations, apalis' own, then grants), the lock around it, the look at both histories.
//! Leaves to others: roles and the hand-over of an existing table, which only a superuser can do (`deploy/`).
//!
//! Our history is `instance_service._migrations`, that of apalis `apalis._sqlx_migrations`: neither knows the other's.

mod lock;
mod state;

pub use lock::Patience;
pub use state::{SchemaState, schema_state};

use crate::error::{DbError, LOCK_NOT_AVAILABLE, sqlstate_of};
use crate::platform::connect_options;
use apalis_postgres::PostgresStorage;
use domain::endpoint::Endpoint;
use sqlx::migrate::{MigrateError as SqlxMigrateError, Migrator};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use std::time::Duration;

/// Our migrations, compiled in.
pub(crate) fn migrations() -> Migrator {
    sqlx::migrate!("../../migrations")
}

/// What the runtime role and the reader may do; runs at the end of every `migrate`, since the roles may have changed.
const GRANTS: &str = include_str!("../../../../migrations/grants.sql");

/// Why the schema could not be brought up to date. The texts are for the operator who ran the command.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The server could not be used.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The runtime role is not there.
    #[error("role {0} does not exist: run deploy/postgres1-bootstrap.sql first")]
    NoRuntimeRole(String),
    /// The owner role may not work in this database.
    #[error("role {0} may not create in the database or in schema public: run deploy/postgres1-bootstrap.sql first")]
    NotAllowed(String),
    /// The table of the earlier service belongs to somebody else.
    #[error("table public.{table} belongs to {owner}: run deploy/postgres1-takeover.sql as superuser first")]
    NotTakenOver {
        /// The table.
        table: String,
        /// Its owner.
        owner: String,
    },
    /// Another `migrate` is at work and did not end in time.
    #[error("another migration has been at work for more than {} s", .0.as_secs())]
    Busy(Duration),
    /// A table that a migration changes was in use all the time.
    #[error(
        "a table stayed in use through {0} tries; what was done so far stays. End long transactions on postgres1 and migrate again"
    )]
    InUse(u32),
    /// The schema is newer than this program.
    #[error("the schema has migration {0}, which this release does not know: it was made by a newer one")]
    Newer(i64),
    /// A migration failed; it can be run again.
    #[error("{history}: {cause}")]
    Failed {
        /// Whose migrations.
        history: &'static str,
        /// What sqlx or the server says.
        cause: SqlxMigrateError,
    },
}

impl MigrateError {
    fn is_lock_timeout(&self) -> bool {
        match self {
            Self::Database(error) => error.is_lock_timeout(),
            Self::Failed { cause: SqlxMigrateError::Execute(error) | SqlxMigrateError::ExecuteMigration(error, _), .. } => {
                sqlstate_of(error).as_deref() == Some(LOCK_NOT_AVAILABLE)
            }
            _ => false,
        }
    }
}

impl From<sqlx::Error> for MigrateError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(DbError::from(error))
    }
}

/// Brings the schema up to date as the owner role. Repeatable; a second run at the same time waits for the first.
///
/// # Errors
/// See [`MigrateError`]; what was done before the error stays, and a later run goes on from there.
pub async fn run(owner: &Endpoint, runtime_role: &str) -> Result<(), MigrateError> {
    run_patiently(owner, runtime_role, &Patience::default()).await
}

/// [`run`] with other times of waiting for a `migrate` that is at work or dead.
///
/// # Errors
/// As [`run`].
pub async fn run_patiently(owner: &Endpoint, runtime_role: &str, patience: &Patience) -> Result<(), MigrateError> {
    let mut connection = connect_options(owner).application_name("instance-migrate").connect().await?;
    lock::acquire(&mut connection, patience).await?;
    check(&mut connection, runtime_role).await?;
    apply_patiently(&mut connection, runtime_role, patience).await?;
    // Closing the session frees the lock.
    connection.close().await?;
    Ok(())
}

/// Older replicas go on working meanwhile: a statement that waited for one of their tables without end would let all of them wait
/// behind it.
async fn apply_patiently(connection: &mut PgConnection, runtime_role: &str, patience: &Patience) -> Result<(), MigrateError> {
    sqlx::query("SELECT set_config('lock_timeout', $1, false)")
        .bind(format!("{}ms", patience.table.as_millis()))
        .execute(&mut *connection)
        .await?;
    for attempt in 1..=patience.tries {
        match apply(connection, runtime_role).await {
            Err(error) if error.is_lock_timeout() => {
                tracing::warn!(attempt, "a table is in use; trying again");
                tokio::time::sleep(patience.pause).await;
            }
            done => return done,
        }
    }
    Err(MigrateError::InUse(patience.tries))
}

async fn apply(connection: &mut PgConnection, runtime_role: &str) -> Result<(), MigrateError> {
    run_history(connection, "instance_service", migrations()).await?;
    run_history(connection, "apalis", PostgresStorage::<()>::migrations()).await?;
    sqlx::query("SELECT set_config('instance_service.runtime_role', $1, false)")
        .bind(runtime_role)
        .execute(&mut *connection)
        .await?;
    sqlx::raw_sql(AssertSqlSafe(GRANTS)).execute(connection).await?;
    Ok(())
}

async fn run_history(connection: &mut PgConnection, history: &'static str, mut migrator: Migrator) -> Result<(), MigrateError> {
    // Our own lock is held already. sqlx's is in the single-integer form, and waits without end for a dead holder.
    migrator.set_locking(false);
    migrator.run_direct(None, connection, false).await.map_err(|cause| match cause {
        SqlxMigrateError::VersionMissing(version) => MigrateError::Newer(version),
        cause => MigrateError::Failed { history, cause },
    })
}

/// Looks first at what would otherwise fail in the middle with less clear words.
async fn check(connection: &mut PgConnection, runtime_role: &str) -> Result<(), MigrateError> {
    let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(runtime_role)
        .fetch_one(&mut *connection)
        .await?;
    if !known {
        return Err(MigrateError::NoRuntimeRole(runtime_role.to_owned()));
    }
    let (may_create, user): (bool, String) = sqlx::query_as(
        "SELECT has_database_privilege(current_database(), 'CREATE') AND has_schema_privilege('public', 'CREATE'), current_user::text",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !may_create {
        return Err(MigrateError::NotAllowed(user));
    }
    let foreign: Option<(String, String)> = sqlx::query_as(
        "SELECT tablename::text, tableowner::text FROM pg_tables
          WHERE schemaname = 'public' AND tablename = 'instances' AND NOT pg_has_role(tableowner, 'USAGE')",
    )
    .fetch_optional(connection)
    .await?;
    foreign.map_or(Ok(()), |(table, owner)| Err(MigrateError::NotTakenOver { table, owner }))
}
