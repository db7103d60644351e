//! A pair of servers, a runtime, an engine without transport: a test hands it every operation until none is left.

use crate::place::{STORE, Store};
use ::backup::Backups;
use ::backup::legacy::LegacyStore;
use bootstrap::OsEntropy;
use db::odoo::{Identity, OdooServers, ServerAddress, TenantLimits};
use db::platform::acceptance::{
    self, Act, Amend, ApplyResources, BackupDeleted, BackupVerified, CloneInstance, Cloned, Create, Delete, Provision,
    Reactivate, Suspend, Terminate, Trigger, Unsuspend, Update, VerifyBackup,
};
use db::platform::audit::{AuditContext, Door};
use db::platform::backups;
use db::platform::instances::{self, Instance, secret_place};
use db::platform::monitoring::Effective;
use db::platform::operations::{self, Filter, NewOperation, Operation};
use db::platform::servers::{self, ServerHealth};
use db::platform::templates;
use db::platform::{PlatformDb, PoolLimits};
use db::secrets::Keyring;
use domain::backup;
use domain::ids::{BackupId, InstanceId, OperationId, ServerId, SubscriptionId};
use domain::instance::{Action, BillingStatus};
use domain::names::{AddonName, ReservedHosts};
use domain::operation::State;
use domain::order::{Amendment, Order, OrderRules, RawOrder, RawVersion, parse};
use domain::sources::random_uuid;
use domain::template::TemplateKey;
use domain::version::OdooVersion;
use runtime::InstanceRuntime;
use runtime::account::Account;
use runtime::directory::DataDirectories;
use runtime::fake::{FakeControl, FakeRuntime, ServerSettings, serve};
use secrecy::{SecretBox, SecretString};
use serde_json::json;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::catalog::Snapshot;
use testkit::cluster::Options;
use testkit::pair::{PLATFORM_DATABASE, Pair};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use worker::engine::faults::{Armed, Faults};
use worker::engine::{Engine, EngineSettings, Handler, Registry, Services, Slots};
use worker::sagas::{Addresses, Tools, all};
use worker::transfer::Transfer;

pub(crate) const VERSION: OdooVersion = OdooVersion::new(19);

const MONITORING: Effective = Effective {
    run: true,
    restarts: 0,
    reconcile_interval_seconds: 60,
    health_check_interval_seconds: 60,
    resume_grace_seconds: 60,
};

/// What a deployment has chosen.
#[derive(Clone, Copy, Default)]
pub(crate) struct Chosen {
    pub(crate) notify_extras: bool,
    pub(crate) offline_backups: bool,
}

pub(crate) struct Rig {
    pub(crate) pair: Pair,
    pub(crate) db: PlatformDb,
    pub(crate) faults: Faults,
    pub(crate) server: ServerId,
    pub(crate) tools: Arc<Tools>,
    pub(crate) engine: Engine,
    socket: PathBuf,
    root: tempfile::TempDir,
    /// Where backups are kept.
    pub(crate) store: Store,
}

impl Rig {
    /// With the fake runtime, and no fault armed.
    pub(crate) async fn start() -> Self {
        Self::with_faults(Vec::new()).await
    }

    /// With the mails that billing sends as well.
    pub(crate) async fn with_extra_mails() -> Self {
        Self::faked(Vec::new(), Chosen { notify_extras: true, ..Chosen::default() }, Store::local()).await
    }

    /// Where Odoo is down while it is backed up.
    pub(crate) async fn with_offline_backups() -> Self {
        Self::faked(Vec::new(), Chosen { offline_backups: true, ..Chosen::default() }, Store::local()).await
    }

    pub(crate) async fn with_faults(script: Vec<Armed>) -> Self {
        Self::faked(script, Chosen::default(), Store::local()).await
    }

    /// With a bucket for the backups.
    pub(crate) async fn with_bucket() -> Self {
        Self::faked(Vec::new(), Chosen::default(), Store::bucket().await).await
    }

    async fn faked(script: Vec<Armed>, chosen: Chosen, store: Store) -> Self {
        let root = tempfile::tempdir().unwrap();
        let directories = DataDirectories::new(root.path(), Account::Own).unwrap();
        let socket = root.path().join(".fake-runtime");
        let listener = UnixListener::bind(&socket).unwrap();
        let pair = Pair::start(&Options::default()).unwrap();
        let settings = ServerSettings {
            directories: directories.clone(),
            versions: vec![VERSION],
            ports: 20_000..=20_100,
            psql: pair.postgres2.server().installation().bin().join("psql"),
        };
        tokio::spawn(serve(listener, settings));
        let runtime = Arc::new(FakeRuntime::new(&socket));
        Self::build(pair, root, directories, runtime, socket, script, chosen, store).await
    }

    #[allow(clippy::too_many_arguments, reason = "each is a part of the rig")]
    pub(crate) async fn build(
        pair: Pair,
        root: tempfile::TempDir,
        directories: DataDirectories,
        runtime: Arc<dyn InstanceRuntime>,
        socket: PathBuf,
        script: Vec<Armed>,
        chosen: Chosen,
        store: Store,
    ) -> Self {
        // Made at the first use: there from the start, it is in no difference between snapshots.
        std::fs::DirBuilder::new().mode(0o700).create(root.path().join(".staging")).unwrap();
        let db = PlatformDb::connect_lazy(&pair.platform(), &PoolLimits::default(), "test");
        let registry = Arc::new(OdooServers::default());
        let server = register(&db, &pair, &registry).await;
        let tools = Arc::new(Tools {
            keyring: Arc::new(Keyring::new(&SecretBox::new(Box::new([7; 32])), None)),
            servers: registry,
            runtime,
            directories,
            offline_backups: chosen.offline_backups,
            backups: Backups::new(store.opened()),
            legacy: LegacyStore::new(store.path()),
            transfer: Transfer::at(&store.path().join("transfer"), STORE),
            keep_exports: chrono::TimeDelta::hours(24),
            keep_replaced: Duration::from_secs(3600),
            final_backup: true,
            keep_final: 30,
            addresses: Addresses { base_domain: "apps.example".to_owned(), scheme: "http".to_owned() },
            limits: TenantLimits::default(),
            image_profile: "official".to_owned(),
            notify_extras: chosen.notify_extras,
            monitoring: watch::Sender::new(MONITORING).subscribe(),
            hashes: Default::default(),
        });
        tools.transfer.set_up().unwrap();
        let faults = Faults::scripted(script);
        let engine = engine(&db, &tools, faults.clone(), "one");
        Self { pair, db, faults, server, tools, engine, socket, root, store }
    }

    /// A worker with these faults, which strike while an effect on postgres2 is seen there.
    pub(crate) fn engine_with(&self, faults: Faults) -> Engine {
        engine(&self.db, &self.tools, faults.seeing(worker::sagas::effect_seen(&self.tools)), "proving")
    }

    /// Another worker on the same servers.
    pub(crate) fn second_worker(&self) -> Engine {
        engine(&self.db, &self.tools, Faults::default(), "two")
    }

    pub(crate) fn control(&self) -> FakeControl {
        FakeControl::new(&self.socket)
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        self.pair.postgres1.psql(PLATFORM_DATABASE, sql).unwrap()
    }

    /// Everything on postgres2 and in the data directories.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let server = Snapshot::of_server(&self.pair.postgres2).unwrap();
        server.with_directory(self.root()).unwrap().with_directory(&self.root().join(".staging")).unwrap()
    }

    /// An order with `change`d fields.
    pub(crate) fn parsed(&self, change: impl FnOnce(&mut RawOrder)) -> Order {
        let label = format!("shop{}", &random_uuid(&OsEntropy).simple().to_string()[..8]);
        let mut raw = RawOrder {
            name: Some("Shop".to_owned()),
            odoo_version: Some(RawVersion::Text("19".to_owned())),
            admin_email: Some("owner@customer.example".to_owned()),
            database_name: Some(label),
            customer_id: Some(random_uuid(&OsEntropy).to_string()),
            subscription_id: Some(random_uuid(&OsEntropy).to_string()),
            billing_status: Some("paid".to_owned()),
            ..RawOrder::default()
        };
        change(&mut raw);
        let supported_versions = vec![OdooVersion::new(18), VERSION];
        let rules = OrderRules { supported_versions, default_version: VERSION, reserved_hosts: ReservedHosts::with([]) };
        parse(raw, &rules).unwrap()
    }

    /// Orders an instance with `change`d fields and queues its provisioning.
    pub(crate) async fn order(&self, change: impl FnOnce(&mut RawOrder)) -> InstanceId {
        let request = Create { order: self.parsed(change), provision: true };
        let mut tx = self.db.begin().await.unwrap();
        let created = acceptance::create(&mut tx, request, &ReservedHosts::with([]), &OsEntropy, &by()).await.unwrap();
        tx.commit().await.unwrap();
        match created {
            acceptance::Created::New(instance) => instance.id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn delete(&self, instance_id: InstanceId) {
        let mut tx = self.db.begin().await.unwrap();
        let deleted =
            acceptance::delete(&mut tx, Delete { instance_id, reason: None, brake: None }, &OsEntropy, &by()).await.unwrap();
        assert!(matches!(deleted, acceptance::Deleted::Accepted { .. }), "{deleted:?}");
        tx.commit().await.unwrap();
    }

    pub(crate) async fn terminate(&self, instance_id: InstanceId) {
        let mut tx = self.db.begin().await.unwrap();
        let _done = acceptance::terminate(&mut tx, Terminate { instance_id, reason: None }, &OsEntropy, &by()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Asks something of an instance; it is accepted.
    pub(crate) async fn act(&self, instance_id: InstanceId, action: Action) {
        self.ask(Act::new(instance_id, action, None)).await;
    }

    /// Asks for a restore.
    pub(crate) async fn restore(&self, instance_id: InstanceId, backup: BackupId) {
        self.ask(Act { backup: Some(backup), ..Act::new(instance_id, Action::Restore, None) }).await;
    }

    /// Asks for a restore after which it runs or not.
    pub(crate) async fn restore_and(&self, instance_id: InstanceId, backup: BackupId, start: Option<bool>) {
        self.ask(Act { backup: Some(backup), start, ..Act::new(instance_id, Action::Restore, None) }).await;
    }

    /// Asks for the way back from the last restore.
    pub(crate) async fn undo_restore(&self, id: InstanceId) {
        let mut tx = self.db.begin().await.unwrap();
        let acted = acceptance::undo_restore(&mut tx, id, None, &OsEntropy, &by()).await.unwrap();
        assert!(matches!(acted, acceptance::Acted::Queued(..)), "{acted:?}");
        tx.commit().await.unwrap();
    }

    /// Asks for an update of these modules, or of all.
    pub(crate) async fn update(&self, id: InstanceId, modules: &[&str]) {
        let modules = modules.iter().map(|name| AddonName::parse(name).unwrap()).collect();
        self.ask(Act { update: Some(Update { version: VERSION, modules }), ..Act::new(id, Action::Update, None) }).await;
    }

    /// Asks for a check of a backup.
    pub(crate) async fn verify(&self, id: InstanceId, backup: BackupId, restore: bool) -> OperationId {
        let mut tx = self.db.begin().await.unwrap();
        let request = VerifyBackup { instance_id: id, backup, restore };
        let asked = acceptance::verify_backup(&mut tx, request, &OsEntropy, &by()).await.unwrap();
        tx.commit().await.unwrap();
        match asked {
            BackupVerified::Queued(operation) => operation,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn delete_backup(&self, backup: BackupId) -> BackupDeleted {
        let row = backups::get(&self.db, backup).await.unwrap().unwrap();
        let mut tx = self.db.begin().await.unwrap();
        let deleted = acceptance::delete_backup(&mut tx, &row, &OsEntropy, &by()).await.unwrap();
        tx.commit().await.unwrap();
        deleted
    }

    /// Orders a copy of an instance.
    pub(crate) async fn copy(&self, source: InstanceId, backup: Option<BackupId>) -> InstanceId {
        let customer = self.instance(source).await.customer_id;
        let order = self.parsed(|raw| raw.customer_id = Some(customer.to_string()));
        let request = CloneInstance { source, order, name: "Copy".to_owned(), backup };
        let mut tx = self.db.begin().await.unwrap();
        let cloned = acceptance::clone_instance(&mut tx, request, &ReservedHosts::with([]), &OsEntropy, &by()).await.unwrap();
        tx.commit().await.unwrap();
        match cloned {
            Cloned::Ordered(acceptance::Created::New(instance)) => instance.id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn oldest_backup_of(&self, id: InstanceId) -> BackupId {
        backups::of_instance(&self.db, id, 1000).await.unwrap().last().unwrap().id
    }

    /// As if no backup had been taken just now.
    pub(crate) fn age_backups(&self) {
        self.sql("UPDATE instance_service.backups SET summary = jsonb_set(summary, '{taken_at}', '\"2020-01-01T00:00:00Z\"')");
    }

    async fn ask(&self, request: Act) {
        let mut tx = self.db.begin().await.unwrap();
        let acted = acceptance::act(&mut tx, request, &OsEntropy, &by()).await.unwrap();
        assert!(matches!(acted, acceptance::Acted::Queued(..)), "{acted:?}");
        tx.commit().await.unwrap();
    }

    pub(crate) async fn suspend(&self, instance_id: InstanceId) {
        let mut tx = self.db.begin().await.unwrap();
        let request = Suspend { instance_id, by_operator: false, reason: Some("overdue".to_owned()) };
        let _done = acceptance::suspend(&mut tx, request, &OsEntropy, &by()).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn unsuspend(&self, instance_id: InstanceId) {
        let mut tx = self.db.begin().await.unwrap();
        let request = Unsuspend { instance_id, reason: None };
        let _done = acceptance::unsuspend(&mut tx, request, &OsEntropy, &by()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// What billing says, and nothing else.
    pub(crate) async fn note_billing(&self, instance_id: InstanceId, billing_status: BillingStatus) {
        let mut tx = self.db.begin().await.unwrap();
        let trigger = Trigger::BillingUpdate { write_off: false };
        let request = Provision { instance_id, subscription_id: None, billing_status, trigger, reason: None };
        let _noted = acceptance::provision(&mut tx, request, &OsEntropy, &by()).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn reactivate(&self, instance_id: InstanceId) {
        let mut tx = self.db.begin().await.unwrap();
        let request = Reactivate {
            instance_id,
            subscription_id: SubscriptionId::from_uuid(random_uuid(&OsEntropy)),
            billing_status: BillingStatus::Paid,
            skip_status_change: false,
            reason: None,
        };
        let done = acceptance::reactivate(&mut tx, request, &ReservedHosts::with([]), &OsEntropy, &by()).await.unwrap();
        assert!(matches!(done, acceptance::Reactivated::Started(..)), "{done:?}");
        tx.commit().await.unwrap();
    }

    /// Orders other limits and has them applied.
    pub(crate) async fn resize(&self, instance_id: InstanceId, memory: &str) {
        let mut tx = self.db.begin().await.unwrap();
        let amendment = Amendment { memory_limit: Some(memory.parse().unwrap()), ..Amendment::default() };
        let _done = acceptance::amend(&mut tx, &Amend { instance_id, amendment }, &by()).await.unwrap();
        let _done = acceptance::apply_resources(&mut tx, &ApplyResources { instance_id }, &OsEntropy, &by()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Builds the template, so that what follows is about something else.
    pub(crate) async fn prepare_template(&self) {
        self.build_template().await;
        self.drain().await;
    }

    /// Queues the build of a template.
    pub(crate) async fn build_template(&self) -> OperationId {
        let id = OperationId::from_uuid(random_uuid(&OsEntropy));
        let key = TemplateKey { server: self.server, version: VERSION, demo: false };
        self.enqueue(worker::sagas::build_template::request(id, key)).await
    }

    /// Queues any operation.
    pub(crate) async fn enqueue(&self, request: NewOperation) -> OperationId {
        let id = request.id;
        let mut tx = self.db.begin().await.unwrap();
        let _enqueued = operations::enqueue(&mut tx, request, &by()).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Waits until a run has come to this fault point.
    pub(crate) async fn reaches(&self, point: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.faults.reached().iter().any(|reached| reached == point) {
            assert!(Instant::now() < deadline, "{point} is never reached");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Hands every unfinished operation to the engine, again and again, until none is left that goes on by itself.
    pub(crate) async fn drain(&self) {
        self.drain_with(&self.engine).await;
    }

    pub(crate) async fn drain_with(&self, engine: &Engine) {
        let deadline = Instant::now() + Duration::from_secs(240);
        loop {
            let open = self.unfinished().await;
            if open.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "never ends: {open:#?}");
            for operation in open {
                engine.handle(operation.id).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The same until the newest one waits for a server.
    pub(crate) async fn drain_until_away(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let operation = self.last_operation().await;
            if operation.state == State::Waiting && operation.unreachable_since.is_some() {
                return;
            }
            assert!(Instant::now() < deadline, "it never waits: {operation:#?}");
            self.engine.handle(operation.id).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn unfinished(&self) -> Vec<Operation> {
        let states = vec![State::Queued, State::Running, State::Waiting];
        let filter = Filter { states, limit: 100, ..Filter::default() };
        let mut open = operations::list(&self.db, &filter).await.unwrap().operations;
        open.reverse();
        open
    }

    /// The newest operation.
    pub(crate) async fn last_operation(&self) -> Operation {
        let filter = Filter { limit: 1, ..Filter::default() };
        operations::list(&self.db, &filter).await.unwrap().operations.remove(0)
    }

    /// The newest whole backup of an instance.
    pub(crate) async fn backup_of(&self, id: InstanceId) -> BackupId {
        let all = backups::of_instance(&self.db, id, 100).await.unwrap();
        all.iter().find(|backup| backup.state == backup::State::Completed).unwrap_or_else(|| panic!("{all:#?}")).id
    }

    /// Every object of the store.
    pub(crate) fn stored(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut left = vec![self.store.path().join("active"), self.store.path().join("pool"), self.store.path().join(".staging")];
        while let Some(directory) = left.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    left.push(path);
                } else {
                    found.push(path.strip_prefix(self.store.path()).unwrap().display().to_string());
                }
            }
        }
        found.sort();
        found
    }

    /// The password of an instance's role.
    pub(crate) async fn password(&self, id: InstanceId) -> SecretString {
        let sealed = self.instance(id).await.db_secret.unwrap();
        self.tools.keyring.open_text(&secret_place(id), sealed.as_bytes()).unwrap()
    }

    /// The filestore of an instance.
    pub(crate) async fn filestore(&self, id: InstanceId) -> PathBuf {
        let placement = self.instance(id).await.placement.unwrap();
        Path::new(&placement.data_dir).join("data/filestore").join(placement.db_name.as_str())
    }

    /// SQL inside of an instance's database.
    pub(crate) async fn inside(&self, id: InstanceId, sql: &str) -> String {
        let placement = self.instance(id).await.placement.unwrap();
        self.pair.postgres2.psql(placement.db_name.as_str(), sql).unwrap()
    }

    /// Attaches a file, as Odoo does.
    pub(crate) async fn attach(&self, id: InstanceId, content: &[u8]) -> PathBuf {
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, content);
        let name: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = self.filestore(id).await.join(&name[..2]);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(&name), content).unwrap();
        let values = format!("'a file', 'binary', '{}/{name}', {}", &name[..2], content.len());
        self.inside(id, &format!("INSERT INTO ir_attachment (name, type, store_fname, file_size) VALUES ({values})")).await;
        directory.join(name)
    }

    pub(crate) async fn instance(&self, id: InstanceId) -> Instance {
        instances::get(&self.db, id).await.unwrap().unwrap()
    }

    /// The public status; whatever failed is told, since the assertion on it alone would say little.
    pub(crate) async fn status(&self, id: InstanceId) -> String {
        let status = self.instance(id).await.axes.status.to_string();
        if status == "error" {
            eprintln!("{}", self.sql("SELECT kind, state, error FROM instance_service.operations ORDER BY seq"));
        }
        status
    }

    pub(crate) async fn templates(&self) -> Vec<templates::Template> {
        templates::of_server(&self.db, self.server).await.unwrap()
    }

    /// Templates of the mails that wait to be sent, in order.
    pub(crate) fn mails(&self) -> String {
        self.sql("SELECT string_agg(template, ' ' ORDER BY created_at) FROM instance_service.outbox")
    }
}

pub(crate) fn by() -> AuditContext {
    AuditContext { door: Door::Internal, actor: "test".to_owned(), request_id: None }
}

fn engine(db: &PlatformDb, tools: &Arc<Tools>, faults: Faults, name: &str) -> Engine {
    let settings = EngineSettings {
        lease: Duration::from_secs(3),
        renew_every: Duration::from_millis(500),
        fence_margin: Duration::from_millis(500),
        backoff_first: Duration::from_millis(20),
        backoff_longest: Duration::from_millis(50),
        ..EngineSettings::new(name, Slots::split(4))
    };
    let services = Services { db: db.clone(), entropy: Arc::new(OsEntropy) };
    Engine::new(settings, services, Registry::new(all(tools)).unwrap(), faults, CancellationToken::new()).unwrap()
}

async fn register(db: &PlatformDb, pair: &Pair, registry: &OdooServers) -> ServerId {
    let admin = pair.odoo_admin();
    let address = servers::ServerAddress {
        admin_host: admin.host.clone(),
        admin_port: admin.port,
        default_database: admin.database.clone(),
        admin_user: admin.user.clone(),
        secret_name: "TEST".to_owned(),
        tenant_host: admin.host.clone(),
        tenant_port: admin.port,
    };
    let id = servers::register_default(db, &address, true, &OsEntropy).await.unwrap();
    let healthy = ServerHealth { healthy: Some(true), deviations: json!([]), ..ServerHealth::default() };
    servers::write_health(db, id, &healthy).await.unwrap();
    let (tenant_host, tenant_port) = (admin.host.clone(), admin.port);
    registry.replace([ServerAddress {
        id,
        name: "default".to_owned(),
        admin,
        tenant_host,
        tenant_port,
        identity: Identity::default(),
    }]);
    id
}
