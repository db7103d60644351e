//! The fence on an Odoo server (engine 11): one session-level lock for each mark, held only while something changes, and
//! confirmed on postgres1 before anything changes.
//!
//! Killing a client does not stop what the server does for it, so "not in the catalogue" proves nothing. Whoever holds
//! the lock knows that no earlier owner's backend is alive: the lock is freed with the backend, and sessions that an earlier
//! owner opened under its fence in other databases are ended before the lock counts as won.
//!
//! The locks are in a database of their own that no tenant may enter (docs/adr/0004): every tenant knows the marks.

use super::connection::{AdminConnection, Inside, InstanceConnection};
use super::error::{OdooError, OdooResult};
use super::server::OdooServer;
use crate::mutation::{Mutation, is_on, stall};
use domain::names::{Mark, PhysicalName};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection as _, PgConnection};
use std::time::{Duration, Instant};

/// Where the locks are: advisory locks belong to one database. Made by the bootstrap script.
pub(super) const FENCES: &str = "ois";

/// Grace for an earlier owner that may just be closing its connection.
const EARLIER_OWNER_GRACE: Duration = Duration::from_secs(1);
/// Grace for a holder that is neither earlier nor later, for example our own previous step's backend.
const OTHER_HOLDER_GRACE: Duration = Duration::from_secs(2);
/// Longest time spent on one attempt, whatever is seen.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// The lock is held, but nothing says yet that its owner is still the present one.
#[derive(Debug)]
pub struct UnconfirmedFence {
    admin: AdminConnection,
    mark: Mark,
    token: i64,
}

/// The confirmed lock: the only value through which anything is changed. Dropping it closes the connection and so frees the
/// lock.
#[derive(Debug)]
pub struct Fence {
    admin: AdminConnection,
    mark: Mark,
    token: i64,
}

/// Who holds the lock that we want.
enum Holder {
    /// Gone meanwhile.
    Nobody,
    /// An earlier owner of the same mark.
    Earlier { pid: i32 },
    /// A later owner: we are outdated.
    Later,
    /// A session of ours that cannot be judged.
    Other { application_name: String },
}

impl UnconfirmedFence {
    pub(super) async fn acquire(server: &OdooServer, mark: &Mark, token: i64) -> OdooResult<Self> {
        let conn = match server.connect(fenced(server, mark, token).database(FENCES)).await {
            // Nothing is wrong with the order: it goes on once the script was run.
            Err(error) if error.is_no_entry() => {
                server.admin_connection().await?;
                return Err(server.unreachable("the database of the fences is missing; run postgres2-bootstrap.sql again"));
            }
            other => other?,
        };
        let mut fence = Self { admin: AdminConnection::new(server.clone(), conn), mark: mark.clone(), token };
        fence.lock().await?;
        Ok(fence)
    }

    /// Reads the owner's token again while the lock is held: `token_is_ours` asks postgres1, and is polled only now.
    ///
    /// # Errors
    /// Whatever the question ends in; the lock is then free again.
    pub async fn confirm<E>(self, token_is_ours: impl Future<Output = Result<(), E>>) -> Result<Fence, E> {
        if !is_on(Mutation::IgnoreFence) {
            token_is_ours.await?;
        }
        stall();
        Ok(Fence { admin: self.admin, mark: self.mark, token: self.token })
    }

    async fn lock(&mut self) -> OdooResult<()> {
        let start = Instant::now();
        let mut earlier_since: Option<(i32, Instant)> = None;
        loop {
            if is_on(Mutation::IgnoreFence) {
                return Ok(());
            }
            if self.try_lock().await? {
                return self.end_earlier_sessions().await;
            }
            let waited = start.elapsed();
            match self.holder().await? {
                Holder::Later => return Err(OdooError::StaleToken),
                Holder::Earlier { pid } => match earlier_since {
                    Some((seen, since)) if seen == pid && since.elapsed() >= EARLIER_OWNER_GRACE => self.terminate(pid).await?,
                    Some((seen, _)) if seen == pid => {}
                    _ => earlier_since = Some((pid, Instant::now())),
                },
                Holder::Other { application_name } if waited > OTHER_HOLDER_GRACE => {
                    return Err(OdooError::Busy { holder: application_name });
                }
                Holder::Other { .. } | Holder::Nobody => {}
            }
            if waited > PATIENCE {
                return Err(OdooError::Busy { holder: "a holder that does not go away".to_owned() });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn try_lock(&mut self) -> OdooResult<bool> {
        let key = lock_key(&self.mark);
        let (server, conn) = self.admin.parts();
        server.answer(sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(key).fetch_one(conn)).await
    }

    async fn holder(&mut self) -> OdooResult<Holder> {
        let key = lock_key(&self.mark);
        let (server, conn) = self.admin.parts();
        let holder = sqlx::query_as(
            "SELECT l.pid, a.application_name
               FROM pg_locks l JOIN pg_database d ON d.oid = l.database LEFT JOIN pg_stat_activity a ON a.pid = l.pid
              WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database() AND l.objsubid = 1
                AND (l.classid::bigint << 32 | l.objid::bigint) = $1",
        );
        let found: Option<(i32, Option<String>)> = server.answer(holder.bind(key).fetch_optional(conn)).await?;
        Ok(match found {
            None | Some((_, None)) => Holder::Nobody,
            Some((pid, Some(name))) => judge(&self.mark, self.token, pid, name),
        })
    }

    /// Ends what earlier owners have open inside databases. A session that is not to be seen yet finds its own fence dead
    /// before it writes ([`Fence::inside`]).
    async fn end_earlier_sessions(&mut self) -> OdooResult<()> {
        let start = Instant::now();
        self.end_earlier_tenant_sessions().await?;
        loop {
            let (prefix, token) = (format!("ois:{}:", self.mark), self.token);
            let (server, conn) = self.admin.parts();
            let ours = sqlx::query_as(
                "SELECT pid, application_name FROM pg_stat_activity
                  WHERE usename = current_user AND pid <> pg_backend_pid() AND starts_with(application_name, $1)",
            );
            let mut earlier: Vec<(i32, String)> = server.answer(ours.bind(&prefix).fetch_all(conn)).await?;
            earlier.retain(|(_, name)| token_in(&self.mark, name).is_some_and(|theirs| theirs < token));
            if earlier.is_empty() {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(OdooError::Busy { holder: "a session of an earlier owner that does not end".to_owned() });
            }
            for (pid, _) in earlier {
                self.terminate(pid).await?;
            }
        }
    }

    /// The same for sessions with a tenant's login. A tenant can give its own sessions such a name, and open new ones for ever:
    /// only those that are there now are ended and waited for.
    async fn end_earlier_tenant_sessions(&mut self) -> OdooResult<()> {
        let (prefix, token) = (format!("ois:{}:", self.mark), self.token);
        let (server, conn) = self.admin.parts();
        let sessions = sqlx::query_as(
            "SELECT pid, application_name FROM pg_stat_activity
              WHERE usename <> current_user AND pg_has_role(usesysid, 'USAGE') AND starts_with(application_name, $1)",
        );
        let mut sessions: Vec<(i32, String)> = server.answer(sessions.bind(&prefix).fetch_all(&mut *conn)).await?;
        sessions.retain(|(_, name)| token_in(&self.mark, name).is_some_and(|theirs| theirs < token));
        let pids: Vec<i32> = sessions.into_iter().map(|(pid, _)| pid).collect();
        let start = Instant::now();
        loop {
            let left = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid = ANY($1)";
            let left: i64 = server.answer(sqlx::query_scalar(left).bind(&pids).fetch_one(&mut *conn)).await?;
            if left == 0 {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                return Err(OdooError::Busy { holder: "a tenant's session of an earlier owner that does not end".to_owned() });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn terminate(&mut self, pid: i32) -> OdooResult<()> {
        let (server, conn) = self.admin.parts();
        tracing::warn!(server = server.name(), pid, "ending a session that is not the present owner's");
        server.answer(sqlx::query("SELECT pg_terminate_backend($1, 1000)").bind(pid).execute(conn)).await.map(drop)
    }
}

impl AdminConnection {
    /// Whether the holder of this mark's fence is in the middle of a change: for tests that kill it there.
    ///
    /// # Errors
    /// Any [`OdooError`].
    #[cfg(feature = "faults")]
    pub async fn is_fence_at_work(&mut self, mark: &Mark) -> OdooResult<bool> {
        let (server, conn) = self.parts();
        let at_work = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND starts_with(application_name, $1)
                                         AND query ~ '^(CREATE|ALTER|DROP|COMMENT|GRANT|REVOKE|REASSIGN)')";
        server.answer(sqlx::query_scalar(at_work).bind(format!("ois:{mark}:")).fetch_one(conn)).await
    }
}

impl Fence {
    /// The mark whose lock this is; every object made through this fence carries it.
    pub const fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Reading, on the same connection.
    pub const fn catalogue(&mut self) -> &mut AdminConnection {
        &mut self.admin
    }

    /// A connection into one database, for writing, that lives no longer than the fence. The lock is looked at once more when
    /// it stands: from then on a later owner sees it, and ends it before it does anything.
    ///
    /// # Errors
    /// [`OdooError::Unreachable`] when the lock is lost; [`OdooError::Server`] when the database is absent or closed.
    pub async fn inside(&mut self, database: &PhysicalName) -> OdooResult<Inside<'_>> {
        let server = self.admin.server().clone();
        let options = fenced(&server, &self.mark, self.token).database(database.as_str());
        let connection = InstanceConnection::new(server.clone(), database.clone(), server.enter(options).await?);
        let (server, conn) = self.admin.parts();
        server.answer(sqlx::query("SELECT 1").execute(conn)).await?;
        Ok(Inside::new(self, connection))
    }

    /// The same as the tenant, by its own login.
    pub(super) async fn tenant_connection(
        &mut self,
        database: &PhysicalName,
        role: &PhysicalName,
        password: &SecretString,
    ) -> OdooResult<(OdooServer, PgConnection)> {
        let server = self.admin.server().clone();
        let options = fenced(&server, &self.mark, self.token).database(database.as_str());
        let conn = server.enter(options.username(role.as_str()).password(password.expose_secret())).await?;
        let (server, admin) = self.admin.parts();
        server.answer(sqlx::query("SELECT 1").execute(admin)).await?;
        Ok((server.clone(), conn))
    }

    /// Ends the connection and waits until it is said goodbye to, so that the next step finds the lock free.
    ///
    /// # Errors
    /// [`OdooError::Unreachable`] when the connection is lost already: the lock is then free as well.
    pub async fn release(self) -> OdooResult<()> {
        let server = self.admin.server().clone();
        self.admin.into_conn().close().await.map_err(|error| server.error(error))
    }
}

/// The mark is 64 random bits in hexadecimal already: they are the key. Folding keeps this total for any text.
fn lock_key(mark: &Mark) -> i64 {
    let digits = mark.as_str().chars().map(|digit| u64::from(digit.to_digit(16).unwrap_or(0)));
    digits.fold(0_u64, |key, digit| key << 4 | digit).cast_signed()
}

fn application_name(mark: &Mark, token: i64) -> String {
    format!("ois:{mark}:{token}")
}

/// What tells a session of an owner from all others, and makes the server notice soon that its client is gone.
fn fenced(server: &OdooServer, mark: &Mark, token: i64) -> PgConnectOptions {
    server.options().application_name(&application_name(mark, token)).options([
        // Also in the middle of a statement.
        ("client_connection_check_interval", "50ms"),
        ("tcp_keepalives_idle", "5"),
        ("tcp_keepalives_interval", "2"),
        ("tcp_keepalives_count", "3"),
        ("tcp_user_timeout", "10s"),
        ("lock_timeout", "10s"),
    ])
}

/// The token in the name of a session of this mark.
fn token_in(mark: &Mark, application_name: &str) -> Option<i64> {
    application_name.strip_prefix("ois:")?.strip_prefix(mark.as_str())?.strip_prefix(':')?.parse().ok()
}

fn judge(mark: &Mark, token: i64, pid: i32, application_name: String) -> Holder {
    match token_in(mark, &application_name) {
        Some(theirs) if theirs > token => Holder::Later,
        Some(theirs) if theirs < token => Holder::Earlier { pid },
        _ => Holder::Other { application_name },
    }
}
