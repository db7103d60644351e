//! The process driver with real Odoo: a template is built and warmed, then the suite runs on clones of it.

use crate::stage::{Ground, PASSWORD, Stage, processes_with, until};
use crate::suite::{each_rule_in_turn, rules};
use crate::worker::{Doing, driver, run_and_kill};
use async_trait::async_trait;
use domain::version::OdooVersion;
use runtime::{Files, Image, InstanceRuntime, Observed, OneOff, Readiness, Task, Workload};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use testkit::{Cluster, Options};

const GRACE: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_secs(600);

/// The pattern of the installations, as in the settings, from the launcher of Odoo 19. A test that is run without it fails,
/// since it has shown nothing.
#[allow(clippy::disallowed_methods, reason = "where Odoo is installed is a matter of the machine")]
fn installations() -> String {
    let launcher = std::env::var("INSTANCE_TEST_ODOO").expect("INSTANCE_TEST_ODOO must name the launcher of Odoo 19");
    let (before, after) = launcher.rsplit_once("19").expect("the launcher's path has the version in it");
    format!("{before}{{version}}{after}")
}

/// A server with a template database, and the template's directory.
struct Foundation {
    cluster: Cluster,
    ground: Ground,
    template: Workload,
}

impl Foundation {
    async fn lay() -> Self {
        let (cluster, ground) = (Cluster::start(&Options::default()).unwrap(), Ground::new());
        let image = driver(ground.directories.root(), &installations()).resolve_image(OdooVersion::new(19)).await.unwrap();
        let mut template = ground.workload(image, OdooVersion::new(19)).await;
        template.database.port = cluster.port();
        let name = template.database.name.as_str();
        cluster.psql("postgres", &format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")).unwrap();
        cluster
            .psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' OWNER {name}"))
            .unwrap();
        cluster.psql(name, &format!("SET ROLE {name}; CREATE EXTENSION pg_trgm")).unwrap();
        let foundation = Self { cluster, ground, template };
        foundation.build().await;
        foundation
    }

    /// Initialises the database, and lets Odoo build its assets.
    async fn build(&self) {
        let (template, runtime) = (&self.template, driver(self.ground.directories.root(), &installations()));
        let end = self.run(Task::Initialise).await;
        assert_eq!(end.exit, Some(0), "{:?}", end.log);
        assert_eq!(self.sql("SELECT state FROM ir_module_module WHERE name = 'base'"), "installed");
        assert_eq!(self.sql("SELECT count(*) FROM ir_module_module WHERE demo"), "0");
        assert_eq!(self.stored_assets(), 0);
        runtime.ensure(template).await.unwrap();
        until("the template's Odoo is ready", async || runtime.ready(template).await.unwrap() == Readiness::Ready).await;
        let warmed = runtime.warm_assets(template, "admin", &SecretString::from("admin")).await.unwrap();
        assert!(warmed >= 4, "{warmed} assets of login page and web client");
        runtime.remove(&template.service, template.turn).await.unwrap();
        assert!(self.stored_assets() >= warmed, "they are stored");
    }

    async fn run(&self, task: Task) -> runtime::OneOffEnd {
        let run = OneOff { workload: self.template.clone(), task, limit: LIMIT, files: Files::Live };
        driver(self.ground.directories.root(), &installations()).run_once(&run).await.unwrap()
    }

    fn sql(&self, text: &str) -> String {
        self.cluster.psql(self.template.database.name.as_str(), text).unwrap().trim().to_owned()
    }

    fn stored_assets(&self) -> usize {
        self.sql("SELECT count(*) FROM ir_attachment WHERE url LIKE '/web/assets/%' AND store_fname IS NOT NULL").parse().unwrap()
    }

    /// Gives a workload a clone of the template: database, contents, filestore.
    fn clone_to(&self, workload: &mut Workload) {
        let (name, template) = (workload.database.name.as_str(), self.template.database.name.as_str());
        let psql = |database: &str, text: String| self.cluster.psql(database, &text).unwrap();
        psql("postgres", format!("CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'"));
        psql("postgres", format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {name}"));
        psql(name, format!("GRANT {template} TO {name}"));
        let files = |workload: &Workload| workload.directory.join("data/filestore").join(workload.database.name.as_str());
        let copied = Command::new("cp").arg("-a").arg(files(&self.template)).arg(files(workload)).status().unwrap();
        assert!(copied.success());
        workload.database.port = self.cluster.port();
    }
}

/// A stage of one rule: a root of its own on the common foundation.
struct Real {
    ground: Ground,
    foundation: Arc<Foundation>,
}

impl Real {
    fn on(foundation: &Arc<Foundation>) -> Self {
        Self { ground: Ground::new(), foundation: foundation.clone() }
    }
}

fn pid(workload: &Workload) -> i32 {
    let pids = processes_with(&workload.directory.join("conf/odoo.conf"));
    assert_eq!(pids.len(), 1, "exactly one process");
    pids[0]
}

#[async_trait]
impl Stage for Real {
    fn runtime(&self) -> Arc<dyn InstanceRuntime> {
        Arc::new(driver(self.ground.directories.root(), &installations()))
    }

    fn ground(&self) -> &Ground {
        &self.ground
    }

    fn version(&self) -> OdooVersion {
        OdooVersion::new(19)
    }

    async fn workload(&self) -> Workload {
        let image: Image = self.foundation.template.image.clone();
        let mut workload = self.ground.workload(image, self.version()).await;
        self.foundation.clone_to(&mut workload);
        workload
    }

    async fn crash(&self, workload: &Workload) {
        kill_process(Pid::from_raw(pid(workload)).unwrap(), Signal::KILL).unwrap();
    }

    async fn starts(&self, workload: &Workload) -> usize {
        let log = fs::read_to_string(workload.directory.join("log/odoo.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains("odoo: Odoo version ")).count()
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs real Odoo: INSTANCE_TEST_ODOO=/opt/odoo-19/bin/odoo"]
async fn real_odoo_keeps_every_rule() {
    let foundation = Arc::new(Foundation::lay().await);
    rules!(each_rule_in_turn Real::on(&foundation););
    the_process_is_clean(&Real::on(&foundation)).await;
    files_decide_readiness(&Real::on(&foundation)).await;
    a_copy_is_updated_and_neutralised_beside_its_original(&Real::on(&foundation)).await;
    modules_are_installed_and_exit_codes_lie(&foundation).await;
}

async fn the_process_is_clean(stage: &Real) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    runtime.ensure(&workload).await.unwrap();
    until("Odoo is ready", async || runtime.ready(&workload).await.unwrap() == Readiness::Ready).await;
    let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", pid(&workload))).unwrap();
    let variables =
        read("environ").split('\0').filter_map(|v| v.split_once('=')).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let variables: BTreeMap<String, String> = variables;
    assert!(variables.keys().all(|name| ["HOME", "LC_ALL", "PATH", "PWD"].contains(&name.as_str())), "{variables:?}");
    assert!(!read("cmdline").contains(PASSWORD));
    let log = runtime.logs(&workload.service, 1000).await.unwrap();
    assert!(
        log.iter().all(|line| !line.contains(" ERROR ") && !line.contains(" CRITICAL ") && !line.contains(" WARNING ")),
        "{log:#?}"
    );
    runtime.remove(&workload.service, workload.turn).await.unwrap();
}

async fn files_decide_readiness(stage: &Real) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    fs::remove_dir_all(workload.directory.join("data/filestore").join(workload.database.name.as_str())).unwrap();
    runtime.ensure(&workload).await.unwrap();
    let not_ready = Readiness::NotYet { reason: "an asset of the login page answers 500".into() };
    until("the login page shows without its files", async || runtime.ready(&workload).await.unwrap() == not_ready).await;
    assert!(matches!(runtime.observe(&workload.service).await.unwrap(), Observed::Running { .. }));
    runtime.stop(&workload.service, workload.turn, GRACE).await.unwrap();
}

async fn a_copy_is_updated_and_neutralised_beside_its_original(stage: &Real) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    let (name, cluster) = (workload.database.name.clone(), &stage.foundation.cluster);
    let copy = format!("{name}_n1");
    cluster
        .psql("postgres", &format!("CREATE DATABASE {copy} TEMPLATE {} OWNER {name}", stage.foundation.template.database.name))
        .unwrap();
    runtime.ensure(&workload).await.unwrap();
    until("Odoo is ready", async || runtime.ready(&workload).await.unwrap() == Readiness::Ready).await;
    let (owner, turn) = (workload.service.owner, workload.turn);
    let copied = stage.ground.directories.stage_copy(&workload.directory, owner, turn, 1).await.unwrap();
    assert!(copied.files > 10, "{copied:?}");
    let mut beside = workload.clone();
    beside.database.name = copy.clone().try_into().unwrap();
    let files = Files::Staged { number: 1, filestore: name.clone() };
    let run = |task| OneOff { workload: beside.clone(), task, limit: LIMIT, files: files.clone() };
    let end = runtime.run_once(&run(Task::Update(vec!["base".into()]))).await.unwrap();
    assert_eq!(end.exit, Some(0), "{:?}", end.log);
    assert!(end.log.iter().any(|line| line.contains(&format!(" {copy} odoo.modules.loading: "))), "{:?}", end.log);
    let sql = |text: &str| cluster.psql(&copy, text).unwrap();
    assert_eq!(sql("SELECT count(*) FROM ir_module_module WHERE state LIKE 'to %'"), "0");
    let end = runtime.run_once(&run(Task::Neutralise)).await.unwrap();
    assert!(end.exit == Some(0) && end.output.starts_with("BEGIN;\n") && end.output.ends_with("COMMIT;\n"), "{}", end.output);
    sql(&end.output);
    assert_eq!(sql("SELECT value FROM ir_config_parameter WHERE key = 'database.is_neutralized'"), "true");
    let stores: Vec<_> =
        fs::read_dir(workload.directory.join("incoming-1/filestore")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(stores, [name.as_str()]);
    assert_eq!(runtime.ready(&workload).await.unwrap(), Readiness::Ready);
    runtime.stop(&workload.service, workload.turn, GRACE).await.unwrap();
    stage.ground.directories.swap(&workload.directory, owner, turn, 1).await.unwrap();
    runtime.ensure(&workload).await.unwrap();
    until("Odoo is ready on its new files", async || runtime.ready(&workload).await.unwrap() == Readiness::Ready).await;
    runtime.stop(&workload.service, workload.turn, GRACE).await.unwrap();
}

async fn modules_are_installed_and_exit_codes_lie(foundation: &Foundation) {
    let state = |name: &str| foundation.sql(&format!("SELECT state FROM ir_module_module WHERE name = '{name}'"));
    let end = foundation.run(Task::Install(vec!["auth_password_policy".into()])).await;
    assert_eq!((end.exit, state("auth_password_policy").as_str()), (Some(0), "installed"), "{:?}", end.log);
    let end = foundation.run(Task::Install(vec!["nosuchmodule".into()])).await;
    assert_eq!((end.exit, state("nosuchmodule").as_str()), (Some(0), ""));
}
