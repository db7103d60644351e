//! postgres1: the pool and its repositories.
//!
//! A repository is a module of functions. Those that belong to a decision take a [`PlatformTx`], which the caller
//! commits; plain reads and writes that stand alone take [`PlatformDb`]. While a transaction is open, nothing asks the
//! pool for a second connection: a full pool would then wait for itself.
//!
//! Nothing of an Odoo server can get here. A repository takes the pool, or a transaction on it:
//!
//! ```no_run
//! async fn right(db: &db::platform::PlatformDb, id: domain::ids::InstanceId) -> db::DbResult<bool> {
//!     Ok(db::platform::instances::get(db, id).await?.is_some())
//! }
//! ```
//!
//! and no connection to an Odoo server, neither to its catalogues nor to a tenant's database:
//!
//! ```compile_fail,E0308
//! async fn wrong(postgres2: &db::odoo::AdminConnection, id: domain::ids::InstanceId) {
//!     let row = db::platform::instances::get(postgres2, id).await;
//! }
//! ```
//!
//! ```compile_fail,E0308
//! async fn wrong(postgres2: &mut db::odoo::InstanceConnection, id: domain::ids::InstanceId) {
//!     let row = db::platform::instances::lock(postgres2, id).await;
//! }
//! ```
//!
//! A new table: its migration, a module here, and a test against a real server.

pub mod acceptance;
pub mod attention;
pub mod audit;
pub mod backup_schedules;
pub mod backups;
mod cancellation;
pub mod claims;
pub mod clones;
#[cfg(feature = "faults")]
pub mod disturb;
pub mod events;
pub mod exports;
pub mod figures;
pub mod heartbeats;
pub mod idempotency;
pub mod instances;
pub mod journal;
pub mod leases;
pub mod legacy_backups;
pub mod monitor;
pub mod monitoring;
pub mod operation_view;
pub mod operations;
pub mod outbox;
pub mod possessions;
pub mod progress;
mod readers;
pub mod record;
pub mod replaced;
pub mod servers;
pub mod settings;
pub mod templates;
pub mod turn;
pub mod webhook_events;

use crate::error::{DbError, DbResult, was_cut};
use domain::endpoint::{Endpoint, SslMode};
use readers::{Readers, ask};
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{Connection, PgConnection, Postgres, Transaction};
use std::time::Duration;

/// A connection that lay in the pool for longer is asked whether it is still one before it is used.
const UNTESTED: Duration = Duration::from_secs(1);

/// Limits of the pool on postgres1.
#[derive(Clone, Debug)]
pub struct PoolLimits {
    /// Most connections held.
    pub max_connections: u32,
    /// How long a caller waits for a free one before [`DbError::Unreachable`].
    pub acquire_timeout: Duration,
    /// Longest statement the server runs for us.
    pub statement_timeout: Duration,
    /// Each connection plans a statement once, whatever its parameters (PostgreSQL docs, 20.7.4 "plan_cache_mode"). Planning is
    /// much of the time of a statement that looks a row up by its key; one with optional filters needs a plan for each.
    pub plan_once: bool,
    /// So many of the connections are kept at hand for reads of one statement (`readers`); the others are for everything else.
    pub readers: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            max_connections: 10,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            plan_once: false,
            readers: 0,
        }
    }
}

/// The pool on postgres1: the only type that platform repositories accept.
#[derive(Clone, Debug)]
pub struct PlatformDb {
    pool: PgPool,
    readers: Readers,
}

impl PlatformDb {
    /// A pool that connects when first used: the service starts also while postgres1 is down.
    pub fn connect_lazy(endpoint: &Endpoint, limits: &PoolLimits, application_name: &str) -> Self {
        let plans = if limits.plan_once { "force_generic_plan" } else { "auto" };
        let options = platform_options(endpoint)
            .application_name(application_name)
            .options([("plan_cache_mode", plans)])
            .options([("statement_timeout", limits.statement_timeout.as_millis().to_string())]);
        let pool = PgPoolOptions::new()
            .min_connections(1)
            .max_connections(limits.max_connections)
            .acquire_timeout(limits.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, before| {
                Box::pin(async move {
                    if before.idle_for > UNTESTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        Self { pool, readers: Readers::new(limits.readers) }
    }

    /// Begins a transaction. The caller commits; a dropped transaction is rolled back.
    ///
    /// # Errors
    /// [`DbError::Unreachable`] when no connection is to be had in time.
    pub async fn begin(&self) -> DbResult<PlatformTx> {
        let mut left = self.pool.options().get_max_connections();
        loop {
            match self.pool.begin().await {
                Err(error) if left > 0 && was_cut(&error) => left -= 1,
                begun => return Ok(PlatformTx { tx: begun? }),
            }
        }
    }

    /// Whether postgres1 answers.
    ///
    /// # Errors
    /// [`DbError::Unreachable`] when it does not.
    pub async fn ping(&self) -> DbResult<()> {
        ask!(self, connection => sqlx::query!("SELECT 1 AS one").fetch_one(&mut *connection));
        Ok(())
    }

    /// Connections of the pool: how many there are, and how many of them are idle.
    pub fn usage(&self) -> PoolUsage {
        PoolUsage { open: self.pool.size(), idle: self.pool.num_idle() + self.readers.kept() }
    }

    /// For this crate's repositories only.
    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }
}

/// How the pool is used at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolUsage {
    /// Open connections.
    pub open: u32,
    /// Those that nobody uses.
    pub idle: usize,
}

/// What an advisory lock on postgres1 is about. Always taken in the two-integer form (class, hash of the key): apalis takes
/// single-integer locks in the same database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockClass {
    /// Everything that decides who holds a subscription.
    Subscription = 1,
    /// One request per idempotency key.
    IdempotencyKey = 2,
    /// One `migrate` at a time.
    Migration = 3,
    /// One runner of each background loop.
    Loop = 4,
    /// Deciding by what a scope did last.
    Scope = 5,
    /// First claims of one customer, one by one.
    Customer = 6,
}

/// A transaction on postgres1.
#[derive(Debug)]
pub struct PlatformTx {
    tx: Transaction<'static, Postgres>,
}

impl PlatformTx {
    /// Commits. An error leaves the outcome unknown: look before deciding anything (engine 6).
    ///
    /// # Errors
    /// Whatever the server or the connection reports.
    pub async fn commit(self) -> DbResult<()> {
        self.tx.commit().await.map_err(DbError::from)
    }

    /// Takes everything back, and frees locks and connection before it returns; a dropped transaction does so a little later.
    ///
    /// # Errors
    /// Whatever the connection reports; nothing was written in any case.
    pub async fn rollback(self) -> DbResult<()> {
        self.tx.rollback().await.map_err(DbError::from)
    }

    /// Marks a point to which [`PlatformTx::roll_back_to_mark`] returns. A later mark replaces it.
    ///
    /// # Errors
    /// Database errors only.
    pub async fn mark(&mut self) -> DbResult<()> {
        sqlx::query!("SAVEPOINT mark").execute(self.conn()).await?;
        Ok(())
    }

    /// Takes back everything written since the mark, also after a statement failed; the transaction goes on.
    ///
    /// # Errors
    /// Database errors only.
    pub async fn roll_back_to_mark(&mut self) -> DbResult<()> {
        sqlx::query!("ROLLBACK TO SAVEPOINT mark").execute(self.conn()).await?;
        Ok(())
    }

    /// From here to its end the transaction waits for no lock longer than two seconds: whoever waits has something that others
    /// need, or a caller who wants an answer.
    ///
    /// # Errors
    /// Database errors only.
    pub async fn wait_briefly(&mut self) -> DbResult<()> {
        sqlx::query!("SELECT set_config('lock_timeout', '2s', true)").fetch_one(self.conn()).await?;
        Ok(())
    }

    /// Waits for a lock that is held until the end of the transaction.
    pub(crate) async fn lock(&mut self, class: LockClass, key: &str) -> DbResult<()> {
        sqlx::query!("SELECT pg_advisory_xact_lock($1, hashtext($2))", class as i32, key).execute(self.conn()).await?;
        Ok(())
    }

    /// The same without waiting; `false` when somebody else has it.
    pub(crate) async fn try_lock(&mut self, class: LockClass, key: &str) -> DbResult<bool> {
        Ok(sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1, hashtext($2)) AS "held!""#, class as i32, key)
            .fetch_one(self.conn())
            .await?)
    }

    /// For this crate's repositories only.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
}

/// Sessions on postgres1. A process that was stopped or cut off in the middle of a transaction must not hold its row locks for
/// longer than its lease: the server ends such a session by itself.
pub(crate) fn platform_options(endpoint: &Endpoint) -> PgConnectOptions {
    connect_options(endpoint).options([
        ("idle_in_transaction_session_timeout", "5s"),
        ("lock_timeout", "10s"),
        ("client_connection_check_interval", "1s"),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "10s"),
    ])
}

pub(crate) fn connect_options(endpoint: &Endpoint) -> PgConnectOptions {
    // `new_without_pgpass`: nothing from ~/.pgpass may stand in for a configured password.
    PgConnectOptions::new_without_pgpass()
        .host(&endpoint.host)
        .port(endpoint.port)
        .database(&endpoint.database)
        .username(&endpoint.user)
        .password(endpoint.password.expose_secret())
        .ssl_mode(match endpoint.ssl_mode {
            SslMode::Disable => PgSslMode::Disable,
            SslMode::Allow => PgSslMode::Allow,
            SslMode::Prefer => PgSslMode::Prefer,
            SslMode::Require => PgSslMode::Require,
            SslMode::VerifyCa => PgSslMode::VerifyCa,
            SslMode::VerifyFull => PgSslMode::VerifyFull,
        })
}
