//! The kinds of connection to an Odoo server (contract 1.1), and the limit on every query that runs on them.

use super::error::{OdooError, OdooResult};
use super::fence::Fence;
use super::server::OdooServer;
use domain::names::PhysicalName;
use sqlx::{AssertSqlSafe, PgConnection};
use std::time::Duration;

/// Longest time that any query may take: below the limit of every step (60 s), so that a server that has fallen silent is
/// known as unreachable and does not end as a step that took too long.
const LIMIT: Duration = Duration::from_secs(30);

/// The same for what copies or removes files. A drop was seen to take 35 s behind a checkpoint; steps that do this have 180 s.
const FILES_LIMIT: Duration = Duration::from_secs(120);

/// The same for what reads or copies a whole database of a customer's: it takes what it takes, and its step says how long.
pub(super) const LONG_LIMIT: Duration = Duration::from_secs(3600);

/// The admin role in the maintenance database of one server, or in the database of the fences. Its public methods only read.
#[derive(Debug)]
pub struct AdminConnection {
    server: OdooServer,
    conn: PgConnection,
}

/// The admin role inside one tenant or template database. Its public methods only read.
#[derive(Debug)]
pub struct InstanceConnection {
    server: OdooServer,
    database: PhysicalName,
    conn: PgConnection,
}

/// The same, opened under a confirmed fence that lives as long: what is written inside a database is written through it.
#[derive(Debug)]
pub struct Inside<'fence> {
    pub(super) connection: InstanceConnection,
    /// Holds the lock.
    _fence: &'fence mut Fence,
}

impl AdminConnection {
    pub(super) const fn new(server: OdooServer, conn: PgConnection) -> Self {
        Self { server, conn }
    }

    pub(super) const fn server(&self) -> &OdooServer {
        &self.server
    }

    pub(super) const fn parts(&mut self) -> (&OdooServer, &mut PgConnection) {
        (&self.server, &mut self.conn)
    }

    /// Runs statements in one message. Several of them are one transaction of their own (PostgreSQL docs, 55.2.2.1).
    pub(super) async fn run(&mut self, sql: String) -> OdooResult<()> {
        run(&self.server, &mut self.conn, sql, LIMIT).await
    }

    /// The same for making and dropping databases.
    pub(super) async fn run_on_files(&mut self, sql: String) -> OdooResult<()> {
        run(&self.server, &mut self.conn, sql, FILES_LIMIT).await
    }

    /// The same for copying a database of any size.
    pub(super) async fn run_for_long(&mut self, sql: String) -> OdooResult<()> {
        run(&self.server, &mut self.conn, sql, LONG_LIMIT).await
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

    pub(super) const fn parts(&mut self) -> (&OdooServer, &mut PgConnection) {
        (&self.server, &mut self.conn)
    }

    /// As [`AdminConnection::run`].
    pub(super) async fn run(&mut self, sql: String) -> OdooResult<()> {
        run(&self.server, &mut self.conn, sql, LIMIT).await
    }
}

impl<'fence> Inside<'fence> {
    pub(super) const fn new(fence: &'fence mut Fence, connection: InstanceConnection) -> Self {
        Self { connection, _fence: fence }
    }

    /// Reading, on the same connection.
    pub const fn reader(&mut self) -> &mut InstanceConnection {
        &mut self.connection
    }
}

impl OdooServer {
    /// What a query ends in, at the latest when a server must have answered.
    pub(super) async fn answer<T>(&self, query: impl Future<Output = Result<T, sqlx::Error>>) -> OdooResult<T> {
        within(self, LIMIT, query).await
    }

    /// The same where a tenant's code may run.
    pub(super) async fn answer_inside<T>(&self, query: impl Future<Output = Result<T, sqlx::Error>>) -> OdooResult<T> {
        self.answer_inside_in(LIMIT, query).await
    }

    /// Such code can raise any SQLSTATE, end its own session and wait for ever. So nothing that a session inside a tenant's database ends
    /// with says that the server is away or full: the server itself is asked.
    pub(super) async fn answer_inside_in<T>(
        &self,
        limit: Duration,
        query: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> OdooResult<T> {
        match within(self, limit, query).await {
            Err(OdooError::Unreachable { server, cause } | OdooError::DiskFull { server, cause }) => {
                self.admin_connection().await?;
                Err(OdooError::Cut { server, cause })
            }
            other => other,
        }
    }
}

/// Only for text that [`super::quote`] has had its hands on.
async fn run(server: &OdooServer, conn: &mut PgConnection, sql: String, limit: Duration) -> OdooResult<()> {
    use sqlx::Executor as _;
    within(server, limit, conn.execute(sqlx::raw_sql(AssertSqlSafe(sql)))).await.map(drop)
}

pub(super) async fn within<T>(
    server: &OdooServer,
    limit: Duration,
    query: impl Future<Output = Result<T, sqlx::Error>>,
) -> OdooResult<T> {
    match tokio::time::timeout(limit, query).await {
        Ok(result) => result.map_err(|error| server.error(error)),
        Err(_) => Err(server.unreachable("a statement did not end in time")),
    }
}
