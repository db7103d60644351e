//! postgres1: the pool and its repositories.

pub mod audit;
mod cancellation;
pub mod claims;
pub mod events;
pub mod figures;
pub mod journal;
pub mod leases;
pub mod operation_view;
pub mod operations;
pub mod progress;
pub mod record;

use crate::error::{DbError, DbResult};
use domain::endpoint::{Endpoint, SslMode};
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::{PgConnection, Postgres, Transaction};
use std::time::Duration;

/// Limits of the pool on postgres1.
#[derive(Clone, Debug)]
pub struct PoolLimits {
    /// Most connections held.
    pub max_connections: u32,
    /// How long a caller waits for a free one before [`DbError::Unreachable`].
    pub acquire_timeout: Duration,
    /// Longest statement the server runs for us.
    pub statement_timeout: Duration,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { max_connections: 10, acquire_timeout: Duration::from_secs(5), statement_timeout: Duration::from_secs(30) }
    }
}

/// The pool on postgres1: the only type that platform repositories accept.
#[derive(Clone, Debug)]
pub struct PlatformDb {
    pool: PgPool,
}

impl PlatformDb {
    /// A pool that connects when first used: the service starts also while postgres1 is down.
    pub fn connect_lazy(endpoint: &Endpoint, limits: &PoolLimits, application_name: &str) -> Self {
        let options = connect_options(endpoint)
            .application_name(application_name)
            .options([("statement_timeout", limits.statement_timeout.as_millis().to_string())]);
        let pool = PgPoolOptions::new()
            .min_connections(1)
            .max_connections(limits.max_connections)
            .acquire_timeout(limits.acquire_timeout)
            .connect_lazy_with(options);
        Self { pool }
    }

    /// Begins a transaction. The caller commits; a dropped transaction is rolled back.
    ///
    /// # Errors
    /// [`DbError::Unreachable`] when no connection is to be had in time.
    pub async fn begin(&self) -> DbResult<PlatformTx> {
        Ok(PlatformTx { tx: self.pool.begin().await? })
    }

    /// For this crate's repositories only.
    pub(crate) const fn pool(&self) -> &PgPool {
        &self.pool
    }
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

    /// For this crate's repositories only.
    pub(crate) fn conn(&mut self) -> &mut PgConnection {
        &mut self.tx
    }
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
