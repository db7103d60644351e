//! The lease keeper: renews every lease of the process on its own thread and its own connection (engine 7).
//!
//! Owns: when a lease counts as lost. It is judged on this process' monotonic clock from the moment the last successful
//! renewal was sent, so no clock is ever compared with another's.
//! Leaves to others: taking and freeing leases (`db`), what a run does when its lease is lost (`walk`).

use crate::engine::faults::Faults;
use crate::engine::settings::EngineSettings;
use db::mutation::{Mutation, is_on};
use db::platform::PlatformDb;
use db::platform::leases::{Held, LeaseConnection};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Pause after a renewal that failed: well below the time that is left.
const RETRY: Duration = Duration::from_millis(200);
/// How often it is looked whether a lease is to be given up.
const LOOK: Duration = Duration::from_millis(50);

/// One held lease, as its run sees it.
#[derive(Debug)]
pub(crate) struct Lease {
    held: Held,
    trusted: Duration,
    renewed: Mutex<Instant>,
    hangs_at: Mutex<Option<Instant>>,
    blind: std::sync::atomic::AtomicBool,
    /// Somebody else has the operation, or may have it.
    pub(crate) lost: CancellationToken,
    /// Somebody wants the operation to give up.
    pub(crate) cancel: CancellationToken,
}

impl Lease {
    /// Whether nobody else can have it yet; whoever finds first that somebody can says so. Asked before every effect and
    /// every write: a process that was stopped and goes on may get here before its keeper does.
    pub(crate) fn is_trusted(&self) -> bool {
        if self.lost.is_cancelled() {
            return false;
        }
        if lock(&self.renewed).elapsed() < self.trusted || is_on(Mutation::IgnoreFence) {
            return true;
        }
        tracing::warn!(resource = self.held.resource, token = self.held.token, "lease counts as lost");
        metrics::counter!("engine_leases_lost_total").increment(1);
        self.lost.cancel();
        false
    }

    /// From then on the running step counts as hung.
    pub(crate) fn hangs_at(&self, moment: Option<Instant>) {
        *lock(&self.hangs_at) = moment;
    }

    /// Stops renewal without telling the holder: what a partition looks like. For fault points.
    #[cfg(feature = "faults")]
    pub(crate) fn forget(&self) {
        self.blind.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    fn is_renewed(&self) -> bool {
        let hangs = lock(&self.hangs_at).is_some_and(|moment| Instant::now() > moment);
        self.is_trusted() && !hangs && !self.blind.load(std::sync::atomic::Ordering::Relaxed)
    }
}

type Leases = HashMap<(String, i64), Arc<Lease>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the leases of this process.
#[derive(Debug)]
pub(crate) struct Keeper {
    leases: Arc<Mutex<Leases>>,
    trusted: Duration,
    stop: CancellationToken,
}

/// A lease in the keeper's care; it is let go when this is dropped.
#[derive(Debug)]
pub(crate) struct Kept {
    lease: Arc<Lease>,
    leases: Arc<Mutex<Leases>>,
}

impl std::ops::Deref for Kept {
    type Target = Arc<Lease>;
    fn deref(&self) -> &Arc<Lease> {
        &self.lease
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        lock(&self.leases).remove(&(self.lease.held.resource.clone(), self.lease.held.token));
    }
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system gives no thread or no runtime for it.
    pub(crate) fn start(db: &PlatformDb, settings: &EngineSettings, faults: Faults) -> io::Result<Self> {
        let leases = Arc::new(Mutex::new(Leases::new()));
        let stop = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let renewal = Renewal {
            db: db.clone(),
            name: format!("lease-keeper {}", settings.owner),
            ttl: settings.lease,
            every: settings.renew_every,
            // Two tries fit into the time that is left after the last success: one silent cut costs no lease.
            patience: settings.trusted().saturating_sub(settings.renew_every) / 2,
            leases: leases.clone(),
            faults,
        };
        let (ending, watched) = (stop.clone(), leases.clone());
        std::thread::Builder::new().name("lease-keeper".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = ending.cancelled() => {}
                    () = renewal.run() => {}
                    () = watch(&watched) => {}
                }
            });
        })?;
        Ok(Self { leases, trusted: settings.trusted(), stop })
    }

    /// Takes a lease into care that was claimed no earlier than `sent`.
    pub(crate) fn keep(&self, resource: &str, token: i64, sent: Instant) -> Kept {
        let held = Held { resource: resource.to_owned(), token };
        let lease = Arc::new(Lease {
            held: held.clone(),
            trusted: self.trusted,
            renewed: Mutex::new(sent),
            hangs_at: Mutex::new(None),
            blind: std::sync::atomic::AtomicBool::new(false),
            lost: CancellationToken::new(),
            cancel: CancellationToken::new(),
        });
        lock(&self.leases).insert((held.resource, held.token), lease.clone());
        Kept { lease, leases: self.leases.clone() }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Looks at each lease, so that a run learns of its loss also in the middle of a step.
async fn watch(leases: &Mutex<Leases>) {
    loop {
        lock(leases).values().for_each(|lease| {
            lease.is_trusted();
        });
        tokio::time::sleep(LOOK).await;
    }
}

struct Renewal {
    db: PlatformDb,
    name: String,
    ttl: Duration,
    every: Duration,
    patience: Duration,
    leases: Arc<Mutex<Leases>>,
    faults: Faults,
}

impl Renewal {
    async fn run(self) {
        let mut connection = None;
        loop {
            let held: Vec<Arc<Lease>> = lock(&self.leases).values().filter(|lease| lease.is_renewed()).cloned().collect();
            let pause = if held.is_empty() {
                self.every.min(RETRY)
            } else {
                match tokio::time::timeout(self.patience, self.renew(&mut connection, &held)).await {
                    Ok(Ok(())) => self.every,
                    Ok(Err(error)) => self.failed(&mut connection, &error),
                    Err(late) => self.failed(&mut connection, &late),
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// A connection that failed once is not trusted again.
    fn failed(&self, connection: &mut Option<LeaseConnection>, error: &dyn std::fmt::Display) -> Duration {
        tracing::warn!(%error, "leases could not be renewed");
        *connection = None;
        RETRY
    }

    async fn renew(&self, connection: &mut Option<LeaseConnection>, held: &[Arc<Lease>]) -> db::DbResult<()> {
        let link = match connection {
            Some(link) => link,
            none => none.insert(LeaseConnection::open(&self.db, &self.name).await?),
        };
        self.faults.renewing().await;
        let sent = Instant::now();
        let asked: Vec<Held> = held.iter().map(|lease| lease.held.clone()).collect();
        for renewed in link.renew(&asked, self.ttl).await? {
            let Some(lease) = held.iter().find(|lease| lease.held == renewed.held) else { continue };
            *lock(&lease.renewed) = sent;
            if renewed.cancel_requested {
                lease.cancel.cancel();
            }
        }
        Ok(())
    }
}
