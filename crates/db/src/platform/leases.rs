//! Renewal of leases, on a connection of its own: a starved pool must not cost a lease (engine 2 and 7).

use crate::error::DbResult;
use crate::platform::PlatformDb;
use sqlx::{ConnectOptions, Connection, PgConnection};
use std::time::Duration;

/// A lease that this process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What it protects; the scope of its operation.
    pub resource: String,
    /// Its token.
    pub token: i64,
}

/// A lease that was renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The lease.
    pub held: Held,
    /// Somebody wants its operation to give up.
    pub cancel_requested: bool,
}

/// The connection that renews.
#[derive(Debug)]
pub struct LeaseConnection {
    connection: PgConnection,
}

impl LeaseConnection {
    /// Connects as the pool does, but outside of it.
    ///
    /// # Errors
    /// When postgres1 cannot be reached.
    pub async fn open(db: &PlatformDb, application_name: &str) -> DbResult<Self> {
        let options = (*db.pool().connect_options()).clone().application_name(application_name);
        Ok(Self { connection: options.connect().await? })
    }

    /// Renews all leases of the process in one statement and returns those that are still ours. One whose row is locked at
    /// the moment is left for the next round: a hanging transaction of one operation must not cost the others their leases.
    ///
    /// # Errors
    /// Database errors only.
    pub async fn renew(&mut self, held: &[Held], ttl: Duration) -> DbResult<Vec<Renewed>> {
        let (resources, tokens): (Vec<String>, Vec<i64>) = held.iter().map(|held| (held.resource.clone(), held.token)).unzip();
        let rows = sqlx::query!(
            r#"WITH free AS (
                   SELECT l.resource FROM instance_service.leases l JOIN unnest($1::text[], $2::bigint[]) AS mine (resource, token)
                     ON mine.resource = l.resource AND mine.token = l.token AND l.expires_at > clock_timestamp()
                    FOR UPDATE OF l SKIP LOCKED),
               renewed AS (
                   UPDATE instance_service.leases l
                      SET expires_at = clock_timestamp() + make_interval(secs => $3), renewed_at = clock_timestamp()
                     FROM free WHERE free.resource = l.resource
                RETURNING l.resource, l.token)
               SELECT r.resource, r.token,
                      EXISTS (SELECT FROM instance_service.operations o
                               WHERE o.scope = r.resource AND o.lease_token = r.token AND o.state = 'running'
                                 AND o.cancel_requested_at IS NOT NULL) AS "cancel_requested!"
                 FROM renewed r"#,
            &resources,
            &tokens,
            ttl.as_secs_f64()
        )
        .fetch_all(&mut self.connection)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| Renewed {
                held: Held { resource: row.resource, token: row.token },
                cancel_requested: row.cancel_requested,
            })
            .collect())
    }

    /// Says goodbye to the server.
    ///
    /// # Errors
    /// Database errors only.
    pub async fn close(self) -> DbResult<()> {
        Ok(self.connection.close().await?)
    }
}
