//! The two kinds of connection to an Odoo server (contract 1.1).

use super::error::{OdooError, OdooResult};
use super::server::OdooServer;
use domain::names::PhysicalName;
use sqlx::{AssertSqlSafe, PgConnection};
use std::time::Duration;

/// A drop was seen to take 35 s behind a checkpoint, so the limit is well above a minute.
const STATEMENT_LIMIT: Duration = Duration::from_secs(120);

/// The admin role in the maintenance database of one server. Its public methods only read.
#[derive(Debug)]
pub struct AdminConnection {
    server: OdooServer,
    conn: PgConnection,
}

/// The admin role inside one tenant or template database.
#[derive(Debug)]
pub struct InstanceConnection {
    server: OdooServer,
    database: PhysicalName,
    conn: PgConnection,
}

impl AdminConnection {
    pub(super) const fn new(server: OdooServer, conn: PgConnection) -> Self {
        Self { server, conn }
    }

    pub(super) const fn server(&self) -> &OdooServer {
        &self.server
    }

    pub(super) const fn conn(&mut self) -> &mut PgConnection {
        &mut self.conn
    }

    pub(super) fn error(&self, error: sqlx::Error) -> OdooError {
        self.server.error(error)
    }

    /// Runs statements in one message. Several of them are one transaction of their own (PostgreSQL docs, 55.2.2.1).
    pub(super) async fn run(&mut self, sql: String) -> OdooResult<()> {
        run(&self.server, &mut self.conn, sql).await
    }

    pub(super) fn into_conn(self) -> PgConnection {
        self.conn
    }
}

impl InstanceConnection {
    pub(super) const fn new(server: OdooServer, database: PhysicalName, conn: PgConnection) -> Self {
        Self { server, database, conn }
    }

    /// The database this connection is in.
    pub const fn database(&self) -> &PhysicalName {
        &self.database
    }

    pub(super) const fn conn(&mut self) -> &mut PgConnection {
        &mut self.conn
    }

    pub(super) fn error(&self, error: sqlx::Error) -> OdooError {
        self.server.error(error)
    }

    /// As [`AdminConnection::run`].
    pub(super) async fn run(&mut self, sql: String) -> OdooResult<()> {
        run(&self.server, &mut self.conn, sql).await
    }
}

/// Only for text that [`super::quote`] has had its hands on.
async fn run(server: &OdooServer, conn: &mut PgConnection, sql: String) -> OdooResult<()> {
    use sqlx::Executor as _;
    match tokio::time::timeout(STATEMENT_LIMIT, conn.execute(sqlx::raw_sql(AssertSqlSafe(sql)))).await {
        Ok(result) => result.map(drop).map_err(|error| server.error(error)),
        Err(_) => Err(server.unreachable("a statement did not end in time")),
    }
}
