//! The fake driver: the suite, its faults, and its play of Odoo in a database.

use crate::stage::{Ground, Stage, until};
use crate::suite::{each_rule_is_a_test, rules};
use async_trait::async_trait;
use domain::version::OdooVersion;
use runtime::directory::Filestore;
use runtime::fake::{Call, Counts, Effect, FakeControl, FakeRuntime, Fault, FaultClass};
use runtime::{Class, Files, Image, InstanceRuntime, Observed, OneOff, Readiness, Task, Workload};
use secrecy::SecretString;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::{Cluster, Options};

const LIMIT: Duration = Duration::from_secs(600);

struct Fake {
    ground: Ground,
    process: Mutex<Child>,
}

impl Fake {
    async fn new() -> Self {
        let ground = Ground::new();
        let process = Command::new(env!("CARGO_BIN_EXE_instance-fake-runtime"))
            .arg("--socket")
            .arg(ground.place.path().join("fake.sock"))
            .arg("--root")
            .arg(ground.directories.root())
            .args(["--user", "nobody", "--versions", "17,19"])
            .spawn()
            .unwrap();
        let fake = Self { ground, process: Mutex::new(process) };
        let runtime = fake.runtime();
        until("the fake runtime listens", async || runtime.list().await.is_ok()).await;
        fake
    }

    fn socket(&self) -> PathBuf {
        self.ground.place.path().join("fake.sock")
    }

    fn control(&self) -> FakeControl {
        FakeControl::new(self.socket())
    }

    async fn counts(&self, workload: &Workload) -> Counts {
        self.control().counts(&workload.service.name).await.unwrap()
    }

    async fn script(&self, call: Call, times: u32, effect: Effect) {
        self.control().add_fault(Fault { call, service: None, times, effect }).await.unwrap();
    }

    fn end(&self) {
        let mut process = self.process.lock().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.end();
    }
}

#[async_trait]
impl Stage for Fake {
    fn runtime(&self) -> Arc<dyn InstanceRuntime> {
        Arc::new(FakeRuntime::new(self.socket()))
    }

    fn ground(&self) -> &Ground {
        &self.ground
    }

    fn version(&self) -> OdooVersion {
        OdooVersion::new(19)
    }

    async fn workload(&self) -> Workload {
        self.ground.workload(Image::new("fake-odoo-19"), self.version()).await
    }

    async fn crash(&self, workload: &Workload) {
        self.control().crash(&workload.service.name).await.unwrap();
    }

    async fn starts(&self, workload: &Workload) -> usize {
        self.counts(workload).await.starts as usize
    }

    async fn ensure_and_die(&self, workload: &Workload) {
        // The state is in the fake's own process: a worker that dies takes no more with it than its connection.
        self.runtime().ensure(workload).await.unwrap();
    }

    async fn lose_sight(&self) {
        self.end();
    }
}

rules!(each_rule_is_a_test Fake::new().await;);

#[tokio::test]
async fn scripted_errors_have_their_class_and_no_effect() {
    let fake = Fake::new().await;
    let (runtime, workload) = (fake.runtime(), fake.workload().await);
    let classes = [
        (FaultClass::Unreachable, Class::Unreachable),
        (FaultClass::Busy, Class::Busy),
        (FaultClass::Transient, Class::Transient),
        (FaultClass::Permanent, Class::Permanent),
        (FaultClass::Foreign, Class::Foreign),
        (FaultClass::Stale, Class::Stale),
    ];
    for (scripted, seen) in classes {
        fake.script(Call::Ensure, 1, Effect::Fail(scripted)).await;
        assert_eq!(runtime.ensure(&workload).await.unwrap_err().class(), seen);
    }
    assert_eq!(fake.counts(&workload).await.starts, 0);
    runtime.ensure(&workload).await.unwrap();
}

#[tokio::test]
async fn a_fault_hits_its_service_so_many_times() {
    let fake = Fake::new().await;
    let (runtime, one, two) = (fake.runtime(), fake.workload().await, fake.workload().await);
    let effect = Effect::Fail(FaultClass::Transient);
    let fault = Fault { call: Call::Observe, service: Some(one.service.name.clone()), times: 2, effect };
    fake.control().add_fault(fault.clone()).await.unwrap();
    assert!(runtime.observe(&two.service).await.is_ok());
    assert!(runtime.observe(&one.service).await.is_err());
    assert_eq!(fake.control().faults_left().await.unwrap(), [Fault { times: 1, ..fault }]);
    assert!(runtime.observe(&one.service).await.is_err());
    assert!(runtime.observe(&one.service).await.is_ok());
    assert_eq!(fake.control().faults_left().await.unwrap(), []);
}

#[tokio::test]
async fn a_lost_answer_leaves_the_effect() {
    let fake = Fake::new().await;
    let (runtime, workload) = (fake.runtime(), fake.workload().await);
    fake.script(Call::Ensure, 1, Effect::FailAfter(FaultClass::Unreachable)).await;
    assert_eq!(runtime.ensure(&workload).await.unwrap_err().class(), Class::Unreachable);
    assert!(runtime.ensure(&workload).await.unwrap().is_up());
    assert_eq!(fake.counts(&workload).await.starts, 1);
}

#[tokio::test]
async fn a_call_that_hangs_is_never_answered() {
    let fake = Fake::new().await;
    let (runtime, workload) = (fake.runtime(), fake.workload().await);
    fake.script(Call::Ensure, 1, Effect::Hang).await;
    let asked = tokio::time::timeout(Duration::from_millis(300), runtime.ensure(&workload)).await;
    assert!(asked.is_err());
    assert_eq!(runtime.observe(&workload.service).await.unwrap(), Observed::Absent);
}

#[tokio::test]
async fn a_service_may_exit_at_once_and_an_odoo_be_slow() {
    let fake = Fake::new().await;
    let (runtime, workload) = (fake.runtime(), fake.workload().await);
    fake.script(Call::Ensure, 1, Effect::ExitAfterStart).await;
    runtime.ensure(&workload).await.unwrap();
    assert!(matches!(runtime.observe(&workload.service).await.unwrap(), Observed::Failed { .. }));
    runtime.ensure(&workload).await.unwrap();
    fake.script(Call::Ready, 2, Effect::NotReady).await;
    for _ in 0..2 {
        assert!(matches!(runtime.ready(&workload).await.unwrap(), Readiness::NotYet { .. }));
    }
    assert_eq!(runtime.ready(&workload).await.unwrap(), Readiness::Ready);
}

/// A server with an empty database for the workload, owned by its role.
fn database(workload: &mut Workload) -> Cluster {
    // A session that waits for a lock notices by this that its client is gone.
    let quick = ("client_connection_check_interval".into(), "20ms".into());
    let settings = vec![("max_prepared_transactions".into(), "2".into()), quick];
    let cluster = Cluster::start(&Options { settings, ..Options::default() }).unwrap();
    let name = workload.database.name.as_str();
    cluster.psql("postgres", &format!("CREATE ROLE {name} LOGIN PASSWORD '{}'", crate::stage::PASSWORD)).unwrap();
    cluster.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0 OWNER {name}")).unwrap();
    workload.database.port = cluster.port();
    cluster
}

#[tokio::test]
async fn an_initialisation_fills_database_and_filestore() {
    let fake = Fake::new().await;
    let (runtime, mut workload) = (fake.runtime(), fake.workload().await);
    let cluster = database(&mut workload);
    let name = workload.database.name.clone();
    let run = |task| OneOff { workload: workload.clone(), task, limit: LIMIT, files: Files::Live };
    for _ in 0..2 {
        let end = runtime.run_once(&run(Task::Initialise)).await.unwrap();
        assert_eq!(end.exit, Some(0), "{:?}", end.log);
    }
    let sql = |text: &str| cluster.psql(name.as_str(), text).unwrap().trim().to_owned();
    assert_eq!(sql("SELECT login FROM res_users ORDER BY id"), "__system__\nadmin");
    assert_eq!(sql("SELECT state FROM ir_module_module WHERE name = 'base'"), "installed");
    assert_eq!(sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"), name.as_str());
    let end = runtime.run_once(&run(Task::Install(vec!["crm".into(), "nosuchmodule".into()]))).await.unwrap();
    assert_eq!(end.exit, Some(0));
    assert_eq!(sql("SELECT state FROM ir_module_module WHERE name = 'crm'"), "installed");

    runtime.ensure(&workload).await.unwrap();
    let before: u32 = sql("SELECT count(*) FROM ir_attachment").parse().unwrap();
    assert_eq!(runtime.warm_assets(&workload, "admin", &SecretString::from("admin")).await.unwrap(), 2);
    assert_eq!(sql("SELECT count(*) FROM ir_attachment"), (before + 2).to_string());
    for file in sql("SELECT store_fname FROM ir_attachment").lines() {
        assert!(workload.directory.join("data/filestore").join(name.as_str()).join(file).is_file(), "{file} is missing");
    }
    let counts = fake.counts(&workload).await;
    assert_eq!((counts.one_offs, counts.one_offs_ended, counts.most_writers), (3, 3, 1));

    let other = fake.workload().await;
    let files = |workload: &Workload| Filestore {
        directory: workload.directory.clone(),
        owner: workload.service.owner,
        database: workload.database.name.clone(),
    };
    let copied = fake.ground.directories.copy_filestore(&files(&workload), &files(&other), other.turn).await.unwrap();
    assert_eq!(copied.unwrap().files, u64::from(before + 2));
}

#[tokio::test]
async fn a_failed_run_says_so_and_a_running_service_refuses_one() {
    let fake = Fake::new().await;
    let (runtime, mut workload) = (fake.runtime(), fake.workload().await);
    let _cluster = database(&mut workload);
    let mut wrong = workload.clone();
    wrong.database.password = SecretString::from("another");
    let end =
        runtime.run_once(&OneOff { workload: wrong, task: Task::Initialise, limit: LIMIT, files: Files::Live }).await.unwrap();
    assert_ne!(end.exit, Some(0));
    assert!(end.log.iter().any(|line| line.contains("authentication failed")), "{:?}", end.log);
    runtime.ensure(&workload).await.unwrap();
    let run = OneOff { workload: workload.clone(), task: Task::Initialise, limit: LIMIT, files: Files::Live };
    assert_eq!(runtime.run_once(&run).await.unwrap_err().class(), Class::Transient);
}

#[tokio::test]
async fn a_run_ends_with_its_caller() {
    let fake = Fake::new().await;
    let (runtime, mut workload) = (fake.runtime(), fake.workload().await);
    let cluster = database(&mut workload);
    let name = workload.database.name.as_str();
    // A table that is locked by another session keeps the run waiting.
    let run = OneOff { workload: workload.clone(), task: Task::Initialise, limit: LIMIT, files: Files::Live };
    assert_eq!(runtime.run_once(&run).await.unwrap().exit, Some(0));
    cluster.psql(name, "BEGIN; LOCK TABLE res_users; PREPARE TRANSACTION 'keeps the lock'").unwrap();
    let waiting =
        || cluster.psql("postgres", &format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{name}'")).unwrap();
    tokio::select! {
        end = runtime.run_once(&run) => panic!("it ended by itself: {end:?}"),
        () = until("it waits for the lock", async || waiting().trim() == "1") => {}
    }
    until("its session is gone, though nothing gave way", async || waiting().trim() == "0").await;
    cluster.psql(name, "ROLLBACK PREPARED 'keeps the lock'").unwrap();
    let counts = fake.counts(&workload).await;
    assert_eq!((counts.one_offs, counts.one_offs_ended), (2, 1));
}

#[tokio::test]
async fn an_update_and_a_script_on_staged_files_beside_a_running_service() {
    let fake = Fake::new().await;
    let (runtime, mut workload) = (fake.runtime(), fake.workload().await);
    let cluster = database(&mut workload);
    let live = workload.database.name.clone();
    let run = OneOff { workload: workload.clone(), task: Task::Initialise, limit: LIMIT, files: Files::Live };
    assert_eq!(runtime.run_once(&run).await.unwrap().exit, Some(0));
    let copy = format!("{live}_n1");
    cluster.psql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {live} OWNER {live}")).unwrap();
    runtime.ensure(&workload).await.unwrap();
    let (owner, turn) = (workload.service.owner, workload.turn);
    fake.ground.directories.stage_copy(&workload.directory, owner, turn, 1).await.unwrap();
    let mut beside = workload.clone();
    beside.database.name = copy.clone().try_into().unwrap();
    let run = |task, number| OneOff {
        workload: beside.clone(),
        task,
        limit: LIMIT,
        files: Files::Staged { number, filestore: live.clone() },
    };
    let all = Task::Update(vec!["all".into()]);
    assert_eq!(runtime.run_once(&run(all.clone(), 2)).await.unwrap_err().class(), Class::Permanent);
    let end = runtime.run_once(&run(all, 1)).await.unwrap();
    assert_eq!(end.exit, Some(0), "{:?}", end.log);
    let version = "SELECT DISTINCT latest_version FROM ir_module_module WHERE state = 'installed' AND name = 'base'";
    assert_eq!(
        (cluster.psql(&copy, version).unwrap(), cluster.psql(live.as_str(), version).unwrap()),
        ("19.0.2.0".into(), "19.0.1.3".into())
    );
    let files = |part: &str| {
        let area = workload.directory.join(part).join("filestore");
        let stores: Vec<_> = std::fs::read_dir(&area).unwrap().map(|store| store.unwrap().file_name()).collect();
        assert_eq!(stores, [live.as_str()]);
        std::fs::read_dir(area.join(live.as_str())).unwrap().count()
    };
    assert_eq!((files("data"), files("incoming-1")), (2, 3));
    let end = runtime.run_once(&run(Task::Neutralise, 1)).await.unwrap();
    assert!(end.output.starts_with("BEGIN;\n") && end.output.ends_with("COMMIT;\n"), "{}", end.output);
    cluster.psql(&copy, &format!("SET ROLE {live}; {}", end.output)).unwrap();
    assert_eq!(
        cluster.psql(&copy, "SELECT value FROM ir_config_parameter WHERE key = 'database.is_neutralized'").unwrap(),
        "true"
    );
    assert!(runtime.observe(&workload.service).await.unwrap().is_up());
    assert_eq!(fake.counts(&workload).await.most_writers, 1);
}
