//! postgres1 with a few rows, and a runtime that answers what a test told it.

use async_trait::async_trait;
use bootstrap::OsEntropy;
use db::platform::instances::{self, Instance};
use db::platform::monitoring::Effective;
use db::platform::servers::{self, ServerAddress};
use db::platform::{PlatformDb, PoolLimits};
use domain::ids::{InstanceId, OperationId};
use domain::sources::random_uuid;
use domain::version::OdooVersion;
use runtime::{
    Cursor, Events, Image, InstanceRuntime, Listed, Observed, OneOff, OneOffEnd, Owner, Readiness, RuntimeError, RuntimeResult,
    Service, ServiceEvent, Turn, Workload,
};
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};
use testkit::Platform;
use testkit::cluster::Options;
use testkit::pair::PLATFORM_DATABASE;
use tokio::sync::{Notify, watch};

/// How monitoring is set up where a test does not say otherwise.
pub(crate) const SETUP: Effective = Effective {
    run: true,
    restarts: 0,
    reconcile_interval_seconds: 60,
    health_check_interval_seconds: 60,
    resume_grace_seconds: 60,
};

pub(crate) fn setup() -> watch::Receiver<Effective> {
    watch::Sender::new(SETUP).subscribe()
}

pub(crate) struct Rig {
    pub(crate) platform: Platform,
    pub(crate) db: PlatformDb,
}

impl Rig {
    pub(crate) fn start() -> Self {
        let platform = Platform::start(&Options::default()).unwrap();
        let db = PlatformDb::connect_lazy(&platform.platform(), &PoolLimits::default(), "test");
        Self { platform, db }
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        self.platform.postgres1.server().psql(PLATFORM_DATABASE, sql).unwrap().trim().to_owned()
    }

    /// A provisioned instance in this status, desired state and suspension.
    pub(crate) async fn instance(&self, status: &str, desired: &str) -> InstanceId {
        let address = ServerAddress {
            admin_host: "127.0.0.1".into(),
            admin_port: 1,
            default_database: "postgres".into(),
            admin_user: "odoo_admin".into(),
            secret_name: "NONE".into(),
            tenant_host: "127.0.0.1".into(),
            tenant_port: 1,
        };
        let server = servers::register_default(&self.db, &address, true, &OsEntropy).await.unwrap();
        let id = random_uuid(&OsEntropy);
        let hex = &id.simple().to_string()[..16];
        let (suspension, resume_to) = if status == "paused" { ("debt", "'running'") } else { ("none", "NULL") };
        let hostname = if status == "terminated" { "NULL".to_owned() } else { format!("'h{hex}'") };
        self.sql(&format!(
            "INSERT INTO public.instances (id, customer_id, name, admin_email, database_name, status, billing_status,
                    provisioning_status, phase, desired_state, suspension, resume_to, hostname, odoo_server_id, db_host, db_port,
                    db_name, db_user, service_name, data_dir, mark)
             VALUES ('{id}', '{id}', 'n', 'a@example.org', 'l{hex}', '{status}', 'paid', 'completed', 'ready', '{desired}',
                    '{suspension}', {resume_to}, {hostname}, '{}', '127.0.0.1', 1, 'odoo_{hex}', 'odoo_{hex}', 'odoo-{hex}',
                    'odoo_{hex}', '{hex}')",
            server.as_uuid()
        ));
        InstanceId::from_uuid(id)
    }

    /// An operation that is at work on the instance.
    pub(crate) fn operation(&self, instance: InstanceId, state: &str) -> OperationId {
        let id = random_uuid(&OsEntropy);
        self.sql(&format!(
            "INSERT INTO instance_service.operations (id, scope, instance_id, kind, class, def_version, state)
             VALUES ('{id}', 'instance:{instance}', '{instance}', 'backup', 'backup', 1, '{state}')"
        ));
        OperationId::from_uuid(id)
    }

    pub(crate) async fn row(&self, id: InstanceId) -> Instance {
        instances::get(&self.db, id).await.unwrap().unwrap()
    }

    pub(crate) async fn status(&self, id: InstanceId) -> String {
        self.row(id).await.axes.status.to_string()
    }
}

/// A runtime that answers what it was told; told nothing, it cannot be reached.
#[derive(Default)]
pub(crate) struct Told {
    services: Mutex<Option<BTreeMap<String, (Owner, Observed)>>>,
    /// What it tells when asked what happened, once each.
    news: Mutex<VecDeque<Events>>,
    /// From where on it was asked what happened.
    asked: Mutex<Vec<Option<Cursor>>>,
    told_all: Notify,
}

impl Told {
    pub(crate) fn services(&self, services: &[(&Instance, Observed)]) {
        let told = services.iter().map(|(row, observed)| {
            let name = row.placement.as_ref().unwrap().service_name.clone();
            (name, (Owner::Instance(row.id), observed.clone()))
        });
        *self.services.lock().unwrap() = Some(told.collect());
    }

    pub(crate) fn stranger(&self, name: &str, owner: Owner) {
        let mut services = self.services.lock().unwrap();
        services.get_or_insert_default().insert(name.to_owned(), (owner, Observed::Stopped));
    }

    pub(crate) fn unreachable(&self) {
        *self.services.lock().unwrap() = None;
    }

    /// Tells this when asked what happened next.
    pub(crate) fn happens(&self, events: &[(&str, &Instance)], next: &str, gap: bool) {
        let event = |(id, row): &(&str, &Instance)| ServiceEvent {
            id: (*id).to_owned(),
            at: SystemTime::now().into(),
            service: Service { name: row.placement.as_ref().unwrap().service_name.clone(), owner: Owner::Instance(row.id) },
        };
        let told = Events { events: events.iter().map(event).collect(), next: cursor(next), gap };
        self.news.lock().unwrap().push_back(told);
    }

    /// Returns when it has told everything, and was asked for more.
    pub(crate) async fn told_all(&self) {
        self.told_all.notified().await;
    }

    /// From where on it was asked what happened, each time.
    pub(crate) fn asked(&self) -> Vec<Option<Cursor>> {
        self.asked.lock().unwrap().clone()
    }

    fn told(&self) -> RuntimeResult<BTreeMap<String, (Owner, Observed)>> {
        self.services.lock().unwrap().clone().ok_or_else(|| RuntimeError::Unreachable("told nothing".into()))
    }
}

#[async_trait]
impl InstanceRuntime for Told {
    fn name(&self) -> &'static str {
        "told"
    }
    async fn observe(&self, service: &Service) -> RuntimeResult<Observed> {
        Ok(self.told()?.get(&service.name).map_or(Observed::Absent, |(_, observed)| observed.clone()))
    }
    async fn list(&self) -> RuntimeResult<Vec<Listed>> {
        let listed = self.told()?.into_iter().map(|(name, (owner, observed))| Listed {
            directory: format!("/{name}").into(),
            name,
            owner,
            operation: OperationId::from_uuid(random_uuid(&OsEntropy)),
            image: Image::new("odoo"),
            observed,
        });
        Ok(listed.collect())
    }
    async fn events(&self, after: Option<&Cursor>, _: Duration) -> RuntimeResult<Events> {
        self.asked.lock().unwrap().push(after.cloned());
        let told = self.news.lock().unwrap().pop_front();
        match told {
            Some(told) => Ok(told),
            // Nothing happens any more.
            None => {
                self.told_all.notify_one();
                std::future::pending().await
            }
        }
    }
    async fn resolve_image(&self, _: OdooVersion) -> RuntimeResult<Image> {
        unused()
    }
    async fn free_port(&self, _: &BTreeSet<u16>) -> RuntimeResult<Option<u16>> {
        unused()
    }
    async fn ensure(&self, _: &Workload) -> RuntimeResult<Observed> {
        unused()
    }
    async fn ready(&self, _: &Workload) -> RuntimeResult<Readiness> {
        unused()
    }
    async fn stop(&self, _: &Service, _: Turn, _: Duration) -> RuntimeResult<()> {
        unused()
    }
    async fn remove(&self, _: &Service, _: Turn) -> RuntimeResult<()> {
        unused()
    }
    async fn logs(&self, _: &Service, _: usize) -> RuntimeResult<Vec<String>> {
        unused()
    }
    async fn run_once(&self, _: &OneOff) -> RuntimeResult<OneOffEnd> {
        unused()
    }
    async fn warm_assets(&self, _: &Workload, _: &str, _: &SecretString) -> RuntimeResult<usize> {
        unused()
    }
}

pub(crate) fn cursor(text: &str) -> Cursor {
    serde_json::from_value(text.into()).unwrap()
}

/// The loops only look; anything else they do fails the test.
fn unused<T>() -> RuntimeResult<T> {
    panic!("a loop must not act on the runtime")
}
