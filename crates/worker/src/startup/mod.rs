//! From settings to a working process, and back: what is built in which order, and what ends in which order.
//!
//! Owns: the wiring. Leaves to others: everything that is wired.

mod billing;
mod engine;
mod platform;
mod runtime;
mod store;

#[cfg(feature = "faults")]
pub(crate) use engine::list_faults;

use anyhow::Context as _;
use backup::Backups;
use bootstrap::settings::WorkerSettings;
use bootstrap::{Environment, OsEntropy, SystemClock, environment, http};
use clients::notifications::{self, HttpNotificationService};
use clients::users::HttpUserService;
use db::odoo::OdooServers;
use db::platform::monitoring::Effective;
use db::platform::{PlatformDb, PoolLimits};
use db::secrets::Keyring;
use domain::backup::retention::Policy;
use metrics_exporter_prometheus::PrometheusHandle;
use runtime::Runtime;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use worker::outbox::Delivery;
use worker::reconcile::backups::{Keep, Orphans, Proofs, Schedules, Transfers};
use worker::reconcile::drift::Drift;
use worker::reconcile::health::{self, HealthCheck};
use worker::reconcile::retention::Retention;
use worker::reconcile::servers::Servers;
use worker::reconcile::{Comparison, Round, keep};
use worker::transfer::Transfer;
use worker::vitals::{Heartbeat, Port, Readiness};
use worker::watcher::Watcher;
use worker::wishes;

/// The worker must not work like this; the operator has to change something.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(String);

/// How long loops and deliveries may take to end once the engine has ended. With the engine's own 30 s, and the vitals'
/// 5 s, this stays below the 60 s of contract 10.
const END_OF_LOOPS: Duration = Duration::from_secs(20);
/// How long the last heartbeat may take.
const END_OF_VITALS: Duration = Duration::from_secs(5);

/// What every part of the process is built from.
struct Parts {
    settings: WorkerSettings,
    db: PlatformDb,
    name: String,
    keyring: Arc<Keyring>,
    registry: Arc<OdooServers>,
    runtime: Runtime,
    backups: Backups,
    transfer: Transfer,
    /// How monitoring is set up; operators change it.
    monitoring: watch::Sender<Effective>,
}

/// Works until `stop`.
///
/// # Errors
/// [`Refusal`], or something that a new start may mend.
pub(crate) async fn run(
    settings: WorkerSettings,
    environment: Environment,
    metrics: PrometheusHandle,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let limits = PoolLimits { max_connections: settings.platform.max_connections, plan_once: true, ..PoolLimits::default() };
    let db = PlatformDb::connect_lazy(&settings.platform.endpoint, &limits, "instance-worker");
    let (vitals, end_of_vitals) = (TaskTracker::new(), CancellationToken::new());
    let readiness = Readiness::until(stop.clone());
    let port = Port { db: db.clone(), metrics, readiness: readiness.clone() };
    let opened = port.open(settings.engine.health_addr, end_of_vitals.clone()).await;
    let (address, serve) = opened.with_context(|| format!("health port {} cannot be opened", settings.engine.health_addr))?;
    tracing::info!(%address, "health port is open");
    vitals.spawn(serve);

    let outcome = async {
        let Some(identity) = platform::wait(&db, &stop).await else { return Ok(()) };
        let registry = Arc::new(OdooServers::default());
        let servers = platform::servers(&settings, &db, &registry, environment);
        platform::register(&servers, &identity).await?;
        runtime::same_root(&settings.runtime.instances_path, &db).await?;
        let (id, store) = store::Place::of(&settings)?.opened(&db).await?;
        let parts = Parts::build(settings, db, registry, Backups::new(store), &id)?;
        parts.set_up_transfer();
        vitals.spawn(parts.heartbeat().run(end_of_vitals.clone()));
        parts.work(servers, &readiness, &stop).await
    }
    .await;

    end_of_vitals.cancel();
    finish("vitals", &vitals, END_OF_VITALS).await;
    outcome
}

impl Parts {
    fn build(
        settings: WorkerSettings,
        db: PlatformDb,
        registry: Arc<OdooServers>,
        backups: Backups,
        backups_root: &str,
    ) -> anyhow::Result<Self> {
        let transfer = Transfer::at(&settings.runtime.transfer_path, backups_root);
        let keyring = Arc::new(Keyring::new(&settings.sealing.current, settings.sealing.previous.as_ref()));
        let runtime = Runtime::build(&settings.runtime)?;
        let monitoring = watch::Sender::new(wishes::configured(&settings.monitoring));
        Ok(Self { name: engine::owner(), settings, db, keyring, registry, runtime, backups, transfer, monitoring })
    }

    /// Makes the directory that is shared with the API. Without it archives wait, and nothing else.
    fn set_up_transfer(&self) {
        if let Err(error) = self.transfer.set_up() {
            let path = self.settings.runtime.transfer_path.display();
            tracing::error!(%path, %error, "BACKUP_TRANSFER_PATH cannot be used; exports and imports wait until it can");
        }
    }

    /// Runs loops and engine until `stop`, or until the engine gives up; then ends both.
    async fn work(self, servers: Servers, readiness: &Readiness, stop: &CancellationToken) -> anyhow::Result<()> {
        let (loops, end_of_loops) = (TaskTracker::new(), stop.child_token());
        loops.spawn(self.delivery()?.run(end_of_loops.clone()));
        let configured = wishes::configured(&self.settings.monitoring);
        // Before anything follows them: a worker must not begin what operators have ended.
        wishes::look(&self.db, configured, &self.monitoring).await?;
        loops.spawn(wishes::follow(self.db.clone(), configured, self.monitoring.clone(), end_of_loops.clone()));
        loops.spawn(self.watcher().run(end_of_loops.clone()));
        let billing = billing::parts(&self)?;
        let sync = billing.map(|(inbox, sync)| {
            loops.spawn(inbox.run(end_of_loops.clone()));
            sync
        });
        for round in self.rounds(servers)?.into_iter().chain(sync) {
            loops.spawn(keep(self.db.clone(), round, end_of_loops.clone()));
        }
        readiness.started();
        tracing::info!(worker = self.name, runtime = self.runtime.driver.name(), "worker is at work");
        let outcome = engine::run(&self, stop).await;
        end_of_loops.cancel();
        finish("loops", &loops, END_OF_LOOPS).await;
        tracing::info!(worker = self.name, "worker has ended");
        outcome
    }

    fn rounds(&self, servers: Servers) -> anyhow::Result<Vec<Arc<dyn Round>>> {
        let (db, runtime) = (self.db.clone(), self.runtime.driver.clone());
        let setup = self.monitoring.subscribe();
        let comparison =
            Comparison { db: db.clone(), runtime: runtime.clone(), entropy: Arc::new(OsEntropy), setup: setup.clone() };
        let health_check = HealthCheck { db: db.clone(), runtime, http: http::client(health::TIMEOUT)?, setup };
        let drift = Drift { db: db.clone(), servers: self.registry.clone(), directories: self.runtime.directories.clone() };
        let mut rounds: Vec<Arc<dyn Round>> = vec![
            Arc::new(servers),
            Arc::new(Retention { db, entropy: Arc::new(OsEntropy) }),
            Arc::new(comparison),
            Arc::new(health_check),
            Arc::new(drift),
        ];
        rounds.extend(self.backup_rounds());
        Ok(rounds)
    }

    fn backup_rounds(&self) -> Vec<Arc<dyn Round>> {
        let (db, lifecycle) = (self.db.clone(), &self.settings.lifecycle);
        let configured = lifecycle.backup_schedule;
        let mut rounds: Vec<Arc<dyn Round>> = vec![
            Arc::new(Schedules { db: db.clone(), entropy: Arc::new(OsEntropy), clock: Arc::new(SystemClock), configured }),
            Arc::new(Keep {
                db: db.clone(),
                entropy: Arc::new(OsEntropy),
                clock: Arc::new(SystemClock),
                configured,
                every: Policy {
                    count: lifecycle.backup_retention_count,
                    days: lifecycle.backup_retention_days,
                    ..Policy::default()
                },
                purged_days: lifecycle.purged_backup_days,
                purge_after_days: lifecycle.purge_after_days,
                delete_brake: self.settings.delete_brake,
            }),
            Arc::new(Transfers { db: db.clone(), transfer: self.transfer.clone() }),
            Arc::new(Orphans { db: db.clone(), backups: self.backups.clone(), clock: Arc::new(SystemClock) }),
        ];
        if let Some(days) = lifecycle.backup_proof_days {
            let age = Duration::from_secs(u64::from(days) * 24 * 3600);
            rounds.push(Arc::new(Proofs { db, entropy: Arc::new(OsEntropy), age }));
        }
        rounds
    }

    fn watcher(&self) -> Watcher {
        Watcher {
            db: self.db.clone(),
            runtime: self.runtime.driver.clone(),
            entropy: Arc::new(OsEntropy),
            clock: Arc::new(SystemClock),
            worker: self.name.clone(),
            setup: self.monitoring.subscribe(),
        }
    }

    fn delivery(&self) -> anyhow::Result<Delivery> {
        let http = http::client(notifications::TIMEOUT)?;
        let peers = &self.settings.peers;
        Ok(Delivery {
            db: self.db.clone(),
            keyring: self.keyring.clone(),
            users: Arc::new(HttpUserService::new(http.clone(), peers.user_service.clone())),
            notifications: Arc::new(HttpNotificationService::new(http, peers.notification_service.clone())),
            frontend: peers.frontend.clone(),
        })
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            db: self.db.clone(),
            worker: self.name.clone(),
            host: environment::host_name(),
            runtime: self.runtime.driver.name(),
            monitoring: self.monitoring.subscribe(),
        }
    }
}

async fn finish(what: &str, tasks: &TaskTracker, limit: Duration) {
    tasks.close();
    if tokio::time::timeout(limit, tasks.wait()).await.is_err() {
        tracing::warn!(what, left = tasks.len(), "not everything ended in time");
    }
}
