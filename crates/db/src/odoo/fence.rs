//! The fence on an Odoo server (engine 11): one session-level lock for each mark, held only while roles or databases
//! change, and confirmed on postgres1 before anything changes.
//!
//! Killing a client does not stop what the server does for it, so "not in the catalogue" proves nothing. Whoever holds
//! the lock knows that no earlier owner's backend is alive: the lock is freed with the backend.

use super::connection::AdminConnection;
use super::error::{OdooError, OdooResult};
use super::server::OdooServer;
use crate::mutation::{Mutation, is_on, stall};
use domain::names::Mark;
use sqlx::Connection as _;
use std::time::{Duration, Instant};

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
}

/// The confirmed lock: the only value through which roles and databases are changed. Dropping it closes the connection
/// and so frees the lock.
#[derive(Debug)]
pub struct Fence {
    admin: AdminConnection,
    mark: Mark,
}

/// Who holds the lock that we want.
enum Holder {
    /// Gone meanwhile.
    Nobody,
    /// An earlier owner of the same mark.
    Earlier { pid: i32 },
    /// A later owner: we are outdated.
    Later,
    /// A session of another role. No one but the service may hold this lock.
    Stranger { pid: i32 },
    /// A session of ours that cannot be judged.
    Other { application_name: String },
}

impl UnconfirmedFence {
    pub(super) async fn acquire(server: &OdooServer, mark: &Mark, token: i64) -> OdooResult<Self> {
        let options = server.options().application_name(&application_name(mark, token)).options([
            // The server notices within this time that its client is gone, also in the middle of a statement.
            ("client_connection_check_interval", "50ms"),
            ("tcp_keepalives_idle", "5"),
            ("tcp_keepalives_interval", "2"),
            ("tcp_keepalives_count", "3"),
            ("tcp_user_timeout", "10s"),
            ("lock_timeout", "10s"),
        ]);
        let conn = server.connect(options).await?;
        let mut fence = Self { admin: AdminConnection::new(server.clone(), conn), mark: mark.clone() };
        fence.lock(token).await?;
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
        Ok(Fence { admin: self.admin, mark: self.mark })
    }

    async fn lock(&mut self, token: i64) -> OdooResult<()> {
        let start = Instant::now();
        let mut earlier_since: Option<(i32, Instant)> = None;
        loop {
            if is_on(Mutation::IgnoreFence) || self.try_lock().await? {
                return Ok(());
            }
            let waited = start.elapsed();
            match self.holder(token).await? {
                Holder::Later => return Err(OdooError::StaleToken),
                Holder::Stranger { pid } => self.terminate(pid).await?,
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
        let (locked, identifier): (bool, i64) =
            sqlx::query_as("SELECT pg_try_advisory_lock($1), system_identifier FROM pg_control_system()")
                .bind(lock_key(&self.mark))
                .fetch_one(self.admin.conn())
                .await
                .map_err(|error| self.admin.error(error))?;
        let server = self.admin.server();
        if server.address().identity.refuses(identifier) {
            // The server that we know is not there: that is all there is to say of it.
            return Err(server.unreachable("another server answers behind its address"));
        }
        Ok(locked)
    }

    async fn holder(&mut self, token: i64) -> OdooResult<Holder> {
        let key = lock_key(&self.mark);
        let found: Option<(i32, Option<bool>, Option<String>)> = sqlx::query_as(
            "SELECT l.pid, a.usename = current_user, a.application_name
               FROM pg_locks l JOIN pg_database d ON d.oid = l.database LEFT JOIN pg_stat_activity a ON a.pid = l.pid
              WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database() AND l.objsubid = 1
                AND (l.classid::bigint << 32 | l.objid::bigint) = $1",
        )
        .bind(key)
        .fetch_optional(self.admin.conn())
        .await
        .map_err(|error| self.admin.error(error))?;
        Ok(match found {
            None | Some((_, None, _)) => Holder::Nobody,
            Some((pid, Some(false), _)) => Holder::Stranger { pid },
            Some((pid, Some(true), name)) => judge(&self.mark, token, pid, name.unwrap_or_default()),
        })
    }

    async fn terminate(&mut self, pid: i32) -> OdooResult<()> {
        tracing::warn!(server = self.admin.server().name(), pid, "breaking the fence of a holder that is not the present owner");
        sqlx::query("SELECT pg_terminate_backend($1, 1000)")
            .bind(pid)
            .execute(self.admin.conn())
            .await
            .map(drop)
            .map_err(|error| self.admin.error(error))
    }
}

impl AdminConnection {
    /// Whether the holder of this mark's fence is in the middle of a change: for tests that kill it there.
    ///
    /// # Errors
    /// Any [`OdooError`].
    #[cfg(feature = "faults")]
    pub async fn is_fence_at_work(&mut self, mark: &Mark) -> OdooResult<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND starts_with(application_name, $1)
                               AND query ~ '^(CREATE|ALTER|DROP|COMMENT|GRANT|REVOKE|REASSIGN)')",
        )
        .bind(format!("ois:{mark}:"))
        .fetch_one(self.conn())
        .await
        .map_err(|error| self.error(error))
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

fn judge(mark: &Mark, token: i64, pid: i32, application_name: String) -> Holder {
    let theirs = application_name
        .strip_prefix("ois:")
        .and_then(|rest| rest.strip_prefix(mark.as_str()))
        .and_then(|rest| rest.strip_prefix(':'))
        .and_then(|number| number.parse::<i64>().ok());
    match theirs {
        Some(theirs) if theirs > token => Holder::Later,
        Some(theirs) if theirs < token => Holder::Earlier { pid },
        _ => Holder::Other { application_name },
    }
}
