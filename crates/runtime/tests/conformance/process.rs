//! The process driver with a stand-in for Odoo: the suite, and what only processes can show.

use crate::stage::{Ground, PASSWORD, Stage, processes_with, until};
use crate::suite::{each_rule_is_a_test, rules};
use crate::worker::{Doing, driver, run_and_kill};
use async_trait::async_trait;
use domain::names::{EnvName, PhysicalName};
use domain::version::OdooVersion;
use runtime::{Class, Files, Image, InstanceRuntime, Observed, OneOff, Readiness, Task, Workload};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const GRACE: Duration = Duration::from_secs(30);

struct StandIn {
    ground: Ground,
    launcher: PathBuf,
}

impl StandIn {
    fn new() -> Self {
        let ground = Ground::new();
        let script = ground.place.path().join("stand_in.py");
        fs::write(&script, include_str!("stand_in.py")).unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o644)).unwrap();
        let launcher = ground.place.path().join("odoo-19");
        fs::write(&launcher, format!("#!/bin/sh\nexec /usr/bin/python3 {} \"$@\"\n", script.display())).unwrap();
        fs::set_permissions(&launcher, Permissions::from_mode(0o755)).unwrap();
        Self { ground, launcher }
    }

    async fn workload_that(&self, behaves: &str) -> Workload {
        let mut workload = self.workload().await;
        workload.environment.insert(EnvName::parse(behaves).unwrap(), "1".into());
        workload
    }

    async fn up(&self, workload: &Workload) -> i32 {
        let runtime = self.runtime();
        runtime.ensure(workload).await.unwrap();
        until("it runs", async || matches!(runtime.observe(&workload.service).await.unwrap(), Observed::Running { .. })).await;
        pid(workload)
    }
}

fn conf(workload: &Workload) -> PathBuf {
    workload.directory.join("conf/odoo.conf")
}

/// The one process of the service.
fn pid(workload: &Workload) -> i32 {
    let pids = processes_with(&conf(workload));
    assert_eq!(pids.len(), 1, "exactly one process");
    pids[0]
}

fn starts(workload: &Workload) -> usize {
    fs::read_to_string(workload.directory.join("data/starts")).unwrap_or_default().lines().count()
}

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with('Z'))
}

#[async_trait]
impl Stage for StandIn {
    fn runtime(&self) -> Arc<dyn InstanceRuntime> {
        let pattern = self.ground.place.path().join("odoo-{version}");
        Arc::new(driver(self.ground.directories.root(), pattern.to_str().unwrap()))
    }

    fn ground(&self) -> &Ground {
        &self.ground
    }

    fn version(&self) -> OdooVersion {
        OdooVersion::new(19)
    }

    async fn workload(&self) -> Workload {
        self.ground.workload(Image::new(self.launcher.to_str().unwrap()), self.version()).await
    }

    async fn crash(&self, workload: &Workload) {
        kill_process(Pid::from_raw(pid(workload)).unwrap(), Signal::KILL).unwrap();
    }

    async fn starts(&self, workload: &Workload) -> usize {
        starts(workload)
    }

    async fn ensure_and_die(&self, workload: &Workload) {
        let (root, workload) = (self.ground.directories.root().to_owned(), workload.clone());
        tokio::task::spawn_blocking(move || run_and_kill(&root, &workload, Doing::Ensure)).await.unwrap();
    }

    async fn lose_sight(&self) {
        let root = self.ground.directories.root();
        fs::rename(root, root.with_extension("away")).unwrap();
    }
}

rules!(each_rule_is_a_test StandIn::new(););

#[tokio::test]
async fn a_process_gets_nothing_of_ours() {
    let stage = StandIn::new();
    let workload = stage.workload_that("SHOP_COLOUR").await;
    let pid = stage.up(&workload).await;
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let mut names: Vec<_> =
        environment.split(|b| *b == 0).filter_map(|v| std::str::from_utf8(v).ok()?.split('=').next()).collect();
    names.retain(|name| !name.is_empty() && !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LC_ALL", "PATH", "SHOP_COLOUR"]);
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!String::from_utf8_lossy(&arguments).contains(PASSWORD));
    // Standard streams only, beside what it opened itself: no socket or file of the worker.
    let open: Vec<_> =
        fs::read_dir(format!("/proc/{pid}/fd")).unwrap().filter_map(|e| fs::read_link(e.unwrap().path()).ok()).collect();
    let ours = |path: &&PathBuf| path.starts_with(stage.ground.place.path());
    let mut files: Vec<_> = open.iter().filter(ours).collect();
    files.sort();
    files.dedup();
    assert_eq!(files, [&workload.directory.join("log/odoo.log"), &workload.directory.join("run.lock")]);
}

#[tokio::test]
async fn it_runs_detached_as_its_own_account() {
    let stage = StandIn::new();
    let workload = stage.workload().await;
    let pid = stage.up(&workload).await;
    let account = fs::metadata(workload.directory.join("data")).unwrap().uid();
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), account);
    let group = rustix::process::getpgid(Pid::from_raw(pid)).unwrap();
    assert_eq!(Some(group), Pid::from_raw(pid), "it leads a group of its own");
    let conf = fs::metadata(conf(&workload)).unwrap();
    let own = rustix::process::geteuid().as_raw();
    assert_eq!((conf.mode() & 0o777, conf.uid()), (0o640, own), "Odoo reads it, and writes nothing into it");
}

#[tokio::test]
async fn stopped_means_process_group_lock_and_port_are_gone() {
    let stage = StandIn::new();
    let workload = stage.workload_that("WITH_CHILD").await;
    let pid = stage.up(&workload).await;
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let child: i32 = children.trim().parse().unwrap();
    assert!(is_alive(child));
    stage.runtime().stop(&workload.service, workload.turn, GRACE).await.unwrap();
    assert!(!is_alive(pid) && !is_alive(child));
    assert!(std::net::TcpListener::bind(("127.0.0.1", workload.port.unwrap())).is_ok());
    assert!(fs::File::open(workload.directory.join("run.lock")).unwrap().try_lock().is_ok());
}

#[tokio::test]
async fn children_of_a_crashed_process_are_ended_before_a_new_start() {
    let stage = StandIn::new();
    let workload = stage.workload_that("WITH_CHILD").await;
    let first = stage.up(&workload).await;
    let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
    stage.crash(&workload).await;
    until("the process is gone", async || !is_alive(first)).await;
    stage.up(&workload).await;
    assert!(!is_alive(children.trim().parse().unwrap()), "the orphan held the lock");
    assert_eq!(starts(&workload), 2);
}

#[tokio::test]
async fn one_that_ignores_the_request_is_ended_by_force() {
    let stage = StandIn::new();
    let workload = stage.workload_that("STUBBORN").await;
    let pid = stage.up(&workload).await;
    let began = Instant::now();
    stage.runtime().stop(&workload.service, workload.turn, Duration::from_millis(300)).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(300) && !is_alive(pid));
}

#[tokio::test]
async fn nothing_of_a_process_stays_behind_as_a_zombie() {
    let stage = StandIn::new();
    let workload = stage.workload().await;
    let pid = stage.up(&workload).await;
    stage.crash(&workload).await;
    until("it is collected", async || !Path::new(&format!("/proc/{pid}")).exists()).await;
}

#[tokio::test]
async fn an_exit_at_the_start_is_seen_with_its_reason() {
    let stage = StandIn::new();
    let (runtime, workload) = (stage.runtime(), stage.workload_that("EXIT_AT_ONCE").await);
    runtime.ensure(&workload).await.unwrap();
    until("the exit is seen", async || !runtime.observe(&workload.service).await.unwrap().is_up()).await;
    let Observed::Failed { reason } = runtime.observe(&workload.service).await.unwrap() else { panic!("not failed") };
    assert!(reason.contains("told to exit"), "{reason}");
}

#[tokio::test]
async fn a_page_without_its_assets_is_not_ready() {
    let stage = StandIn::new();
    let (runtime, workload) = (stage.runtime(), stage.workload_that("NO_ASSETS").await);
    stage.up(&workload).await;
    let seen = runtime.ready(&workload).await.unwrap();
    assert_eq!(seen, Readiness::NotYet { reason: "an asset of the login page answers 500".into() });
}

#[tokio::test]
async fn warming_fetches_the_assets_of_both_pages() {
    let stage = StandIn::new();
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    stage.up(&workload).await;
    assert_eq!(runtime.warm_assets(&workload, "admin", &SecretString::from("admin")).await.unwrap(), 2);
    let refused = runtime.warm_assets(&workload, "admin", &SecretString::from("wrong")).await.unwrap_err();
    assert_eq!(refused.class(), Class::Permanent);
}

#[tokio::test]
async fn a_taken_port_is_reported_and_nothing_is_started() {
    let stage = StandIn::new();
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    let _stranger = std::net::TcpListener::bind(("127.0.0.1", workload.port.unwrap())).unwrap();
    assert_eq!(runtime.ensure(&workload).await.unwrap_err().class(), Class::Transient);
    assert_eq!(starts(&workload), 0);
}

#[tokio::test]
async fn a_stranger_at_its_port_keeps_no_service_from_going() {
    let stage = StandIn::new();
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    let _stranger = std::net::TcpListener::bind(("127.0.0.1", workload.port.unwrap())).unwrap();
    runtime.ensure(&workload).await.unwrap_err();
    assert_ne!(runtime.observe(&workload.service).await.unwrap(), Observed::Absent, "it is on record");
    runtime.stop(&workload.service, workload.turn, GRACE).await.unwrap();
    runtime.remove(&workload.service, workload.turn).await.unwrap();
    assert_eq!(runtime.observe(&workload.service).await.unwrap(), Observed::Absent);
}

#[tokio::test]
async fn a_missing_installation_fails_the_start() {
    let stage = StandIn::new();
    let mut workload = stage.workload().await;
    workload.image = Image::new("/nowhere/odoo");
    assert_eq!(stage.runtime().ensure(&workload).await.unwrap_err().class(), Class::Permanent);
    assert!(!stage.runtime().observe(&workload.service).await.unwrap().is_up());
}

#[tokio::test]
async fn a_one_off_run_returns_exit_and_log_and_leaves_nothing() {
    let stage = StandIn::new();
    let workload = stage.workload().await;
    let run = OneOff {
        workload: workload.clone(),
        task: Task::Install(vec!["crm".into(), "stock".into()]),
        limit: GRACE,
        files: Files::Live,
    };
    let end = stage.runtime().run_once(&run).await.unwrap();
    assert_eq!(end.exit, Some(0));
    assert!(end.log.iter().any(|line| line.contains("-i crm,stock --stop-after-init")), "{:?}", end.log);
    assert!(processes_with(&conf(&workload)).is_empty());
    // It is no service.
    assert_eq!(stage.runtime().observe(&workload.service).await.unwrap(), Observed::Absent);
}

#[tokio::test]
async fn a_one_off_run_is_refused_beside_a_running_service() {
    let stage = StandIn::new();
    let workload = stage.workload().await;
    let pid = stage.up(&workload).await;
    let run = OneOff { workload: workload.clone(), task: Task::Initialise, limit: GRACE, files: Files::Live };
    assert_eq!(stage.runtime().run_once(&run).await.unwrap_err().class(), Class::Transient);
    assert!(is_alive(pid));
}

#[tokio::test]
async fn a_one_off_run_ends_at_its_limit() {
    let stage = StandIn::new();
    let workload = stage.workload_that("ENDLESS").await;
    let run =
        OneOff { workload: workload.clone(), task: Task::Initialise, limit: Duration::from_millis(500), files: Files::Live };
    let began = Instant::now();
    assert_eq!(stage.runtime().run_once(&run).await.unwrap_err().class(), Class::Transient);
    assert!(began.elapsed() < Duration::from_secs(10));
    assert!(processes_with(&conf(&workload)).is_empty());
}

#[tokio::test]
async fn a_one_off_run_ends_with_the_wish_for_it() {
    let stage = StandIn::new();
    let workload = stage.workload_that("ENDLESS").await;
    let run = OneOff { workload: workload.clone(), task: Task::Initialise, limit: GRACE, files: Files::Live };
    let runtime = stage.runtime();
    tokio::select! {
        end = runtime.run_once(&run) => panic!("it ended by itself: {end:?}"),
        () = until("it runs", async || starts(&workload) == 1) => {}
    }
    until("it is gone", async || processes_with(&conf(&workload)).is_empty()).await;
}

#[tokio::test]
async fn a_one_off_run_of_a_killed_worker_is_ended_by_its_successor() {
    let stage = StandIn::new();
    let mut workload = stage.workload_that("ENDLESS").await;
    let (root, subject) = (stage.ground.directories.root().to_owned(), workload.clone());
    tokio::task::spawn_blocking(move || run_and_kill(&root, &subject, Doing::OneOff)).await.unwrap();
    let left = pid(&workload);
    workload.environment.clear();
    let run = OneOff { workload: workload.clone(), task: Task::Initialise, limit: GRACE, files: Files::Live };
    assert_eq!(stage.runtime().run_once(&run).await.unwrap().exit, Some(0));
    assert!(!is_alive(left));
}

/// A run on what is staged as number 1 beside the workload's data, on a database beside its own.
async fn beside(stage: &StandIn, workload: &Workload, task: Task) -> OneOff {
    let (directories, owner, turn) = (&stage.ground.directories, workload.service.owner, workload.turn);
    directories.stage_copy(&workload.directory, owner, turn, 1).await.unwrap();
    let filestore = workload.database.name.clone();
    let mut workload = workload.clone();
    workload.database.name = PhysicalName::new(format!("{filestore}_n1")).unwrap();
    OneOff { workload, task, limit: GRACE, files: Files::Staged { number: 1, filestore } }
}

fn staged_conf(workload: &Workload) -> PathBuf {
    workload.directory.join("conf/incoming-1.conf")
}

#[tokio::test]
async fn a_run_on_staged_files_needs_no_service_down() {
    let stage = StandIn::new();
    let workload = stage.workload().await;
    let name = workload.database.name.as_str();
    fs::create_dir_all(workload.directory.join("data/filestore").join(name).join("ab")).unwrap();
    let pid = stage.up(&workload).await;
    let run = beside(&stage, &workload, Task::Update(vec!["base".into(), "sale".into()])).await;
    let end = stage.runtime().run_once(&run).await.unwrap();
    assert_eq!(end.exit, Some(0), "{:?}", end.log);
    let said = |text: &str| assert!(end.log.iter().any(|line| line.contains(text)), "{text}: {:?}", end.log);
    said("-u base,sale --stop-after-init");
    // It is another database, and has the files under its name as well.
    said(&format!("{name}_n1 stand_in: filestore {name}_n1 ab"));
    let starts = |part: &str| fs::read_to_string(workload.directory.join(part).join("starts")).unwrap().lines().count();
    assert_eq!((starts("data"), starts("incoming-1")), (1, 2), "the copy had one when it was made");
    assert!(is_alive(pid) && stage.runtime().observe(&workload.service).await.unwrap().is_up());
    assert_eq!(fs::read_dir(workload.directory.join("incoming-1/filestore")).unwrap().count(), 1, "the second name is gone");
    assert!(!staged_conf(&workload).exists(), "and the password with it");
    stage.ground.directories.swap(&workload.directory, workload.service.owner, workload.turn, 1).await.unwrap_err();
    stage.runtime().stop(&workload.service, workload.turn, GRACE).await.unwrap();
    stage.ground.directories.swap(&workload.directory, workload.service.owner, workload.turn, 1).await.unwrap();
    stage.up(&workload).await;
}

#[tokio::test]
async fn a_service_that_comes_up_beside_a_run_stays_known() {
    let stage = StandIn::new();
    let workload = stage.workload_that("ENDLESS").await;
    let mut run = beside(&stage, &workload, Task::Update(vec!["all".into()])).await;
    run.limit = Duration::from_secs(2);
    let (runtime, begun) = (stage.runtime(), workload.directory.join("incoming-1/starts"));
    let plain = Workload { environment: Default::default(), ..workload.clone() };
    let service = async {
        until("it runs", async || begun.exists()).await;
        stage.up(&plain).await
    };
    let (end, pid) = tokio::join!(runtime.run_once(&run), service);
    assert_eq!(end.unwrap_err().class(), Class::Transient);
    assert!(is_alive(pid) && runtime.observe(&workload.service).await.unwrap().is_up());
    assert!(processes_with(&staged_conf(&workload)).is_empty());
}

#[tokio::test]
async fn a_run_without_its_staged_files_is_refused() {
    let stage = StandIn::new();
    let workload = stage.workload().await;
    let mut run = beside(&stage, &workload, Task::Update(vec!["all".into()])).await;
    run.files = Files::Staged { number: 2, filestore: workload.database.name.clone() };
    assert_eq!(stage.runtime().run_once(&run).await.unwrap_err().class(), Class::Permanent);
    run.files = Files::Live;
    run.task = Task::Update(vec!["base --shell".into()]);
    assert_eq!(stage.runtime().run_once(&run).await.unwrap_err().class(), Class::Permanent);
}

#[tokio::test]
async fn what_a_run_prints_is_told_apart_from_its_log() {
    let stage = StandIn::new();
    let workload = stage.workload().await;
    let live = OneOff { workload: workload.clone(), task: Task::Neutralise, limit: GRACE, files: Files::Live };
    for run in [live, beside(&stage, &workload, Task::Neutralise).await] {
        for _ in 0..2 {
            let end = stage.runtime().run_once(&run).await.unwrap();
            assert_eq!(end.output, "BEGIN;\nUPDATE ir_cron SET active = false;\nCOMMIT;\n");
            assert!(end.log.iter().any(|line| line == "a warning of a library"), "{:?}", end.log);
            assert!(end.log.iter().any(|line| line.contains("begins with neutralize -c") && line.ends_with("--stdout")));
        }
    }
    let other = OneOff { workload: workload.clone(), task: Task::Initialise, limit: GRACE, files: Files::Live };
    assert_eq!(stage.runtime().run_once(&other).await.unwrap().output, "");
}

#[tokio::test]
async fn a_stop_ends_runs_on_staged_files_and_a_start_does_not() {
    let stage = StandIn::new();
    let workload = stage.workload_that("ENDLESS").await;
    let run = beside(&stage, &workload, Task::Update(vec!["all".into()])).await;
    let (runtime, begun) = (stage.runtime(), workload.directory.join("incoming-1/starts"));
    let plain = Workload { environment: Default::default(), ..workload.clone() };
    let others = async {
        until("it runs", async || begun.exists()).await;
        let service = stage.up(&plain).await;
        let beside = processes_with(&staged_conf(&workload));
        assert!(beside.len() == 1 && is_alive(service), "{beside:?}");
        stage.runtime().stop(&workload.service, workload.turn, GRACE).await.unwrap();
        assert!(!is_alive(beside[0]) && !is_alive(service));
    };
    let (end, ()) = tokio::join!(runtime.run_once(&run), others);
    assert_eq!(end.unwrap().exit, None, "it was ended by a signal");
}

#[tokio::test]
async fn a_run_on_staged_files_of_a_killed_worker_is_ended_by_its_successor() {
    let stage = StandIn::new();
    let workload = stage.workload_that("ENDLESS").await;
    let mut run = beside(&stage, &workload, Task::Update(vec!["all".into()])).await;
    let (root, subject) = (stage.ground.directories.root().to_owned(), workload.clone());
    tokio::task::spawn_blocking(move || run_and_kill(&root, &subject, Doing::Staged)).await.unwrap();
    let left = processes_with(&staged_conf(&workload))[0];
    let (directories, owner, turn) = (&stage.ground.directories, workload.service.owner, workload.turn);
    let in_use = directories.stage(&workload.directory, owner, turn, 1).await.unwrap_err();
    assert_eq!(in_use.class(), Class::Transient);
    run.workload.environment.clear();
    assert_eq!(stage.runtime().run_once(&run).await.unwrap().exit, Some(0));
    assert!(!is_alive(left));
    directories.stage(&workload.directory, owner, turn, 1).await.unwrap();
}
