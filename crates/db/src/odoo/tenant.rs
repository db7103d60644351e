//! Writing where a tenant's own code may run: in a session that is the tenant's, from its login on.
//!
//! `SET ROLE` would not do. A trigger or a script of the tenant's may say `RESET ROLE` and go on with the rights of whoever
//! logged in; here these are no more than its own.

use super::error::{OdooError, OdooResult};
use super::fence::Fence;
use super::server::OdooServer;
use domain::names::PhysicalName;
use secrecy::SecretString;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Postgres, Transaction};
use std::time::Duration;

/// Longest time for a statement, below that after which a server counts as away.
const STATEMENT_LIMIT: Duration = Duration::from_secs(25);
/// Longest time for a script: it may rewrite a large table.
const SCRIPT_LIMIT: Duration = Duration::from_secs(600);

/// A session of the tenant's role in one database, opened under a confirmed fence that lives as long.
#[derive(Debug)]
pub struct TenantSession<'fence> {
    server: OdooServer,
    conn: PgConnection,
    /// Holds the lock.
    _fence: &'fence mut Fence,
}

impl Fence {
    /// Logs in to `database` as its tenant.
    ///
    /// # Errors
    /// [`OdooError::Refused`] for a wrong password and a role that may not log in; else as [`Self::inside`].
    pub async fn as_tenant(
        &mut self,
        database: &PhysicalName,
        role: &PhysicalName,
        password: &SecretString,
    ) -> OdooResult<TenantSession<'_>> {
        let (server, conn) = self.tenant_connection(database, role, password).await?;
        Ok(TenantSession { server, conn, _fence: self })
    }
}

impl TenantSession<'_> {
    pub(super) const fn parts(&mut self) -> (&OdooServer, &mut PgConnection) {
        (&self.server, &mut self.conn)
    }

    pub(super) async fn begin(&mut self) -> OdooResult<TenantTx<'_>> {
        let tx = self.server.answer_inside(self.conn.begin()).await?;
        Ok(TenantTx { server: &self.server, tx })
    }
}

/// A transaction of the tenant's.
pub(super) struct TenantTx<'c> {
    server: &'c OdooServer,
    tx: Transaction<'c, Postgres>,
}

impl TenantTx<'_> {
    pub(super) async fn execute(&mut self, query: Query<'_, Postgres, PgArguments>) -> OdooResult<u64> {
        match tokio::time::timeout(STATEMENT_LIMIT, query.execute(&mut *self.tx)).await {
            Ok(done) => Ok(self.server.answer_inside(std::future::ready(done)).await.map_err(of_tenant)?.rows_affected()),
            Err(_) => {
                // A trigger of the tenant's may wait for ever, and that says nothing about the server.
                self.server.admin_connection().await?;
                Err(OdooError::Unfit { what: "the tenant's code".to_owned(), faults: vec!["it does not end".to_owned()] })
            }
        }
    }

    pub(super) async fn text(&mut self, question: &'static str) -> OdooResult<String> {
        self.server.answer_inside(sqlx::query_scalar(question).fetch_one(&mut *self.tx)).await
    }

    /// Several statements that somebody else wrote.
    pub(super) async fn script(&mut self, script: &str) -> OdooResult<()> {
        let run = self.tx.execute(sqlx::raw_sql(AssertSqlSafe(script.to_owned())));
        self.server.answer_inside_in(SCRIPT_LIMIT, run).await.map(drop).map_err(of_tenant)
    }

    /// Does one thing that may fail without harm to the rest, and says why if it did. What says nothing about the statement,
    /// such as a lost server, is an error all the same.
    pub(super) async fn optionally(&mut self, query: Query<'_, Postgres, PgArguments>) -> OdooResult<Option<String>> {
        let server = self.server;
        let mut inner = server.answer_inside((*self.tx).begin()).await?;
        let done = server.answer_inside(query.execute(&mut *inner)).await;
        match done {
            Ok(_) => server.answer_inside(inner.commit()).await.map(|()| None),
            Err(error @ (OdooError::Server { .. } | OdooError::Refused { .. })) => {
                server.answer_inside(inner.rollback()).await?;
                Ok(Some(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn commit(self) -> OdooResult<()> {
        self.server.answer_inside(self.tx.commit()).await.map_err(of_tenant)
    }
}

/// What the tenant's role may not do says nothing of ours.
fn of_tenant(error: OdooError) -> OdooError {
    match error {
        OdooError::Refused { sqlstate, cause, .. } => {
            OdooError::Unfit { what: "the tenant's code".to_owned(), faults: vec![format!("{sqlstate}: {cause}")] }
        }
        other => other,
    }
}
