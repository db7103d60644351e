//! One `migrate` at a time, and a dead one does not stand in the way for ever.
//!
//! A session lock ends with its session. But the server may not notice that a starter is gone (a machine that vanished, a
//! process that was frozen), and its session then holds the lock while nothing happens in it. A working migration is never
//! idle for longer than the way between two statements: a holder that is, is ended.

use super::MigrateError;
use crate::platform::LockClass;
use sqlx::PgConnection;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How the lock, and then the tables, are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// A holder whose session is idle for this long is dead.
    pub idle: Duration,
    /// Longest wait for a holder that is at work.
    pub total: Duration,
    /// Pause between two tries.
    pub pause: Duration,
    /// How long a statement of a migration waits for a table that others use. Everybody else waits behind it meanwhile.
    pub table: Duration,
    /// How often a migration that did not get its table is tried.
    pub tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            total: Duration::from_secs(300),
            pause: Duration::from_millis(200),
            table: Duration::from_millis(500),
            tries: 90,
        }
    }
}

/// There is one lock: the key only completes the two-integer form.
const KEY: i32 = 0;

/// Takes the lock for the life of the session.
pub(super) async fn acquire(connection: &mut PgConnection, patience: &Patience) -> Result<(), MigrateError> {
    let started = Instant::now();
    loop {
        let held: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)")
            .bind(LockClass::Migration as i32)
            .bind(KEY)
            .fetch_one(&mut *connection)
            .await?;
        if held {
            return Ok(());
        }
        if started.elapsed() > patience.total {
            return Err(MigrateError::Busy(patience.total));
        }
        end_dead_holder(connection, patience.idle).await?;
        sleep(patience.pause).await;
    }
}

/// The owner role may end its own sessions, and a holder is one of them.
async fn end_dead_holder(connection: &mut PgConnection, idle: Duration) -> Result<(), MigrateError> {
    let ended = sqlx::query(
        "SELECT pg_terminate_backend(a.pid)
           FROM pg_locks AS l JOIN pg_stat_activity AS a ON a.pid = l.pid
          WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND l.classid::bigint = $1 AND l.objid::bigint = $2
            AND a.state LIKE 'idle%' AND a.state_change < clock_timestamp() - make_interval(secs => $3)",
    )
    .bind(i64::from(LockClass::Migration as i32))
    .bind(i64::from(KEY))
    .bind(idle.as_secs_f64())
    .fetch_all(connection)
    .await?;
    if !ended.is_empty() {
        tracing::warn!("ended the idle session of an earlier migration that held the lock");
    }
    Ok(())
}
