//! Wake-ups on their way through apalis (engine 2, 3 and 6).
//!
//! Owns: every column of apalis' tables that we know, the pool and the backends of its workers, its fixed settings, and the
//! removal of its finished rows. No other module names the schema `apalis`.
//! Leaves to others: what a wake-up leads to. No decision depends on an apalis row; losing all of them costs seconds.

mod sweep;

pub use sweep::sweep;

use crate::error::DbResult;
use crate::platform::{PlatformDb, PlatformTx, platform_options};
use apalis_core::backend::ext::BackendExt;
use apalis_core::backend::ext::poll_strategy::{IntervalStrategy, PollWith, StreamStrategy};
use apalis_postgres::{Config, PostgresStorage, Pubsub};
use domain::endpoint::Endpoint;
use domain::ids::OperationId;
use domain::operation::{Class, WakeUp};
use sqlx::postgres::{PgPool, PgPoolOptions};
use std::time::Duration;

/// How often a worker looks by itself: NOTIFY alone can be lost.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// With [`MISSED_HEARTBEATS`] the last safety net for polling; both explicit, since code and documentation of the library disagree.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// How many may be missing before a worker counts as dead.
pub const MISSED_HEARTBEATS: usize = 6;
/// Prefetched jobs stop the heartbeat: the live worker would be declared dead and its jobs run twice.
pub const PREFETCH: usize = 1;

/// A source of wake-ups for one class: notified, and polling as a second chance.
pub type Backend = PollWith<PollWith<PostgresStorage<WakeUp>, StreamStrategy<Pubsub>>, IntervalStrategy>;

/// Connections of the transport alone, so that neither it nor the steps can starve the other.
#[derive(Clone, Debug)]
pub struct QueuePool {
    pool: PgPool,
    heartbeat: Duration,
    prefetch: usize,
}

impl QueuePool {
    /// A pool for `workers` workers that connects when first used: each keeps one connection for LISTEN and one more comes
    /// and goes, doubled for the time of a restart. It connects to postgres1 itself: LISTEN does not pass a pooler.
    pub fn connect_lazy(endpoint: &Endpoint, workers: u32, application_name: &str) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(workers.saturating_mul(4))
            .acquire_timeout(Duration::from_secs(5))
            // What a crash of the server loses here is that a wake-up was fetched or done: it comes twice, which is harmless. So nobody
            // waits for the disk. And nothing here has two plans.
            .connect_lazy_with(
                platform_options(endpoint)
                    .application_name(application_name)
                    .options([("synchronous_commit", "off"), ("plan_cache_mode", "force_generic_plan")]),
            );
        Self { pool, heartbeat: HEARTBEAT_INTERVAL, prefetch: PREFETCH }
    }

    /// Another heartbeat than the fixed one: for tests of what happens when it is missed.
    #[must_use]
    pub fn beating_every(self, heartbeat: Duration) -> Self {
        Self { heartbeat, ..self }
    }

    /// Another prefetch than the fixed one: for the test that shows what it does.
    #[must_use]
    pub fn prefetching(self, prefetch: usize) -> Self {
        Self { prefetch, ..self }
    }

    /// The backend of one class. Nobody else may build one.
    pub fn backend(&self, class: Class) -> Backend {
        PostgresStorage::<WakeUp>::new(&self.pool)
            .with_config(fixed_settings(class).heartbeat_interval(self.heartbeat).batch_size(self.prefetch))
            .with_pubsub()
            .poll_with_interval(POLL_INTERVAL)
    }
}

/// The settings of engine 2; a test guards each of them.
pub fn fixed_settings(class: Class) -> Config {
    Config::default()
        .queue(class.as_str())
        .batch_size(PREFETCH)
        .heartbeat_interval(HEARTBEAT_INTERVAL)
        .missed_heartbeats(MISSED_HEARTBEATS)
        .lock_tasks(true)
        .persist_results(true)
}

/// Writes one wake-up for each of these operations in the caller's transaction, due when the operation is. Returns how many
/// rows were new: a key that exists already is left alone and does not harm the transaction.
///
/// What is due is due as of the transaction's start: with any later time apalis' trigger would send no NOTIFY. They are handed
/// out in the given order, so each is due a microsecond before the next.
///
/// The library's own insert is not used: it raises an error on a repeated key, and takes the application's clock.
///
/// # Errors
/// Database errors only.
pub async fn wake(tx: &mut PlatformTx, operations: &[OperationId]) -> DbResult<u64> {
    let ids: Vec<_> = operations.iter().map(OperationId::as_uuid).collect();
    let done = sqlx::query!(
        "WITH woken AS (
             UPDATE instance_service.operations o
                SET wake_no = wake_no + 1, woken_at = greatest(clock_timestamp(), next_run_at)
               FROM unnest($1::uuid[]) WITH ORDINALITY AS asked(id, place)
              WHERE o.id = asked.id
          RETURNING o.id, class, priority, wake_no, next_run_at, now() - (cardinality($1) - place) * interval '1 microsecond' AS turn)
         INSERT INTO apalis.jobs (id, job_type, job, status, attempts, max_attempts, run_at, priority, metadata, idempotency_key)
         SELECT apalis.generate_ulid(), class, convert_to(json_build_object('operation_id', id)::text, 'UTF8'),
                'Pending', 0, 1, CASE WHEN next_run_at <= clock_timestamp() THEN turn ELSE next_run_at END, priority, '', id || ':' || wake_no
           FROM woken ORDER BY turn
         ON CONFLICT (job_type, idempotency_key) DO NOTHING",
        &ids
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected())
}

/// What [`retain`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Finished wake-ups.
    pub jobs: u64,
    /// Workers that died.
    pub workers: u64,
}

/// Removes wake-ups that ended a week ago, then workers unseen for a day that no job refers to. In this order: a foreign
/// key points at workers, and deleting a live one's row kills it.
///
/// # Errors
/// Database errors only.
pub async fn retain(db: &PlatformDb) -> DbResult<Removed> {
    let mut jobs = 0;
    loop {
        // In parts: after a long outage one statement would take longer than a statement may.
        let done = sqlx::query!(
            "DELETE FROM apalis.jobs WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM apalis.jobs
                  WHERE (status IN ('Done', 'Killed') OR (status = 'Failed' AND attempts >= max_attempts))
                    AND coalesce(done_at, run_at) < clock_timestamp() - interval '7 days' LIMIT 5000))"
        )
        .execute(db.pool())
        .await?
        .rows_affected();
        jobs += done;
        if done == 0 {
            break;
        }
    }
    let workers = sqlx::query!(
        "DELETE FROM apalis.workers w
          WHERE w.last_seen < clock_timestamp() - interval '1 day'
            AND NOT EXISTS (SELECT FROM apalis.jobs j WHERE j.lock_by = w.id)"
    )
    .execute(db.pool())
    .await?
    .rows_affected();
    Ok(Removed { jobs, workers })
}
