//! The real `instance-worker`: how it starts, waits, refuses, shows that it is alive, and ends.
#![allow(clippy::unwrap_used, reason = "tests")]

use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use testkit::Stop;
use testkit::cluster::Options;
use testkit::pair::{PLATFORM_DATABASE, Pair};
use testkit::port::Port;
use testkit::s3::{ACCESS_KEY_ID, Fault, Proxy, SECRET_ACCESS_KEY, Server as S3Server};

/// Far more than any of it takes.
const PATIENCE: Duration = Duration::from_secs(60);
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct Bench {
    pair: Pair,
    port: Port,
    instances: tempfile::TempDir,
    backups: tempfile::TempDir,
}

/// A running worker, killed at the latest when the test is over.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Worker {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        until("the worker ends", || self.0.try_wait().unwrap())
    }
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Bench {
    fn new() -> Self {
        let pair = Pair::start(&Options::default()).unwrap();
        let directory = || tempfile::tempdir().unwrap();
        Self { pair, port: Port::reserve().unwrap(), instances: directory(), backups: directory() }
    }

    fn command(&self, arguments: &[&str], more: &[(&str, &str)]) -> Command {
        let (platform, admin) = (self.pair.platform(), self.pair.odoo_admin());
        let mut command = Command::new(env!("CARGO_BIN_EXE_instance-worker"));
        command
            .args(arguments)
            .env_clear()
            .env("PLATFORM_POSTGRES_HOST", &platform.host)
            .env("PLATFORM_POSTGRES_PORT", platform.port.to_string())
            .env("PLATFORM_POSTGRES_DB", &platform.database)
            .env("PLATFORM_POSTGRES_USER", &platform.user)
            .env("PLATFORM_POSTGRES_PASSWORD", platform.password.expose_secret())
            .env("ODOO_POSTGRES_HOST", &admin.host)
            .env("ODOO_POSTGRES_PORT", admin.port.to_string())
            .env("ODOO_POSTGRES_ADMIN_USER", &admin.user)
            .env("ODOO_POSTGRES_ADMIN_PASSWORD", admin.password.expose_secret())
            .env("INSTANCE_SECRETS_KEY", KEY)
            .env("RUNTIME", "process")
            .env("PROCESS_ODOO_USER", "root")
            .env("PROCESS_ALLOW_OWN_ACCOUNT", "true")
            .env("STORAGE_QUOTA", "none")
            .env("CEPHFS_INSTANCES_PATH", self.instances.path())
            .env("CEPHFS_BACKUPS_PATH", self.backups.path())
            .env("WORKER_HEALTH_ADDR", format!("127.0.0.1:{}", self.port.number()))
            .envs(more.iter().copied())
            .stdin(Stdio::null());
        command
    }

    fn start(&self) -> Worker {
        self.start_with(&[])
    }

    fn start_with(&self, more: &[(&str, &str)]) -> Worker {
        let log = std::fs::File::create(self.log()).unwrap();
        Worker(self.command(&[], more).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
    }

    fn run(&self, arguments: &[&str], more: &[(&str, &str)]) -> Output {
        self.command(arguments, more).output().unwrap()
    }

    fn log(&self) -> std::path::PathBuf {
        self.instances.path().join("worker.log")
    }

    /// HTTP status of a path of the health port; `None` while nobody answers.
    fn get(&self, path: &str) -> Option<u16> {
        let url = format!("http://127.0.0.1:{}{path}", self.port.number());
        let ask = async {
            let client = bootstrap::http::client(Duration::from_secs(10)).unwrap();
            client.get(url).send().await.ok().map(|answer| answer.status().as_u16())
        };
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(ask)
    }

    fn ready(&self) {
        until("the worker is ready", || (self.get("/readyz") == Some(200)).then_some(()));
    }

    fn sql(&self, sql: &str) -> String {
        self.pair.postgres1.server().psql(PLATFORM_DATABASE, sql).unwrap().trim().to_owned()
    }

    fn server(&self) -> String {
        self.sql(
            "SELECT state || ' ' || coalesce(healthy::text, 'unknown') FROM instance_service.odoo_servers WHERE name = 'default'",
        )
    }
}

#[test]
fn it_starts_enters_its_server_shows_life_and_ends_at_once_when_asked() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["healthcheck"], &[]).status.code(), Some(1), "nobody is alive yet");
    let mut worker = bench.start();
    bench.ready();
    until("the server is active", || (bench.server() == "active true").then_some(()));
    until("a heartbeat", || bench.run(&["healthcheck"], &[]).status.success().then_some(()));
    let asked = Instant::now();
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().code(), Some(0), "{}", std::fs::read_to_string(bench.log()).unwrap());
    assert!(asked.elapsed() < Duration::from_secs(20), "an idle worker has nothing to wait for");
    assert_eq!(bench.sql("SELECT count(*) FROM instance_service.worker_heartbeats"), "0");
    assert_eq!(bench.run(&["healthcheck"], &[]).status.code(), Some(1));
}

/// What a tenant runs in its Odoo could read passwords and sealing key of the worker.
#[test]
fn tenants_do_not_run_as_root_unless_that_is_permitted() {
    let bench = Bench::new();
    let refused = bench.run(&[], &[("PROCESS_ALLOW_OWN_ACCOUNT", "false")]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("PROCESS_ALLOW_OWN_ACCOUNT"), "{refused:?}");
}

#[test]
fn without_postgres1_it_lives_and_waits() {
    let mut bench = Bench::new();
    bench.pair.postgres1.stop(Stop::Fast).unwrap();
    let mut worker = bench.start();
    until("the health port", || bench.get("/livez"));
    assert_eq!(bench.get("/readyz"), Some(503));
    bench.pair.postgres1.start_again().unwrap();
    bench.ready();
    worker.signal(Signal::TERM);
    assert_eq!(worker.ended().code(), Some(0));
}

#[test]
fn a_worker_that_still_waits_for_postgres1_ends_when_asked() {
    let mut bench = Bench::new();
    bench.pair.postgres1.stop(Stop::Fast).unwrap();
    let mut worker = bench.start();
    until("the health port", || bench.get("/livez"));
    worker.signal(Signal::INT);
    assert_eq!(worker.ended().code(), Some(0));
}

#[test]
fn without_postgres2_it_starts_and_notices_when_it_is_there() {
    let mut bench = Bench::new();
    bench.pair.postgres2.stop(Stop::Fast).unwrap();
    let _worker = bench.start();
    bench.ready();
    until("the server is known to be down", || (bench.server() == "probing false").then_some(()));
    bench.pair.postgres2.start_again().unwrap();
    until("the server is active", || (bench.server() == "active true").then_some(()));
}

#[test]
fn the_platforms_own_server_is_refused_by_whatever_name_it_is_called() {
    let bench = Bench::new();
    let platform = bench.pair.platform();
    // Another spelling of the same address: only the server itself can tell.
    let same = [
        ("ODOO_POSTGRES_HOST", "localhost"),
        ("ODOO_POSTGRES_PORT", &platform.port.to_string()),
        ("ODOO_POSTGRES_DEFAULT_DB", &platform.database),
        ("ODOO_POSTGRES_ADMIN_USER", &platform.user),
        ("ODOO_POSTGRES_ADMIN_PASSWORD", platform.password.expose_secret()),
    ];
    let mut worker = bench.start_with(&same);
    let code = worker.ended().code();
    let told = std::fs::read_to_string(bench.log()).unwrap();
    assert_eq!(code, Some(3), "{told}");
    assert!(told.contains("ALLOW_SHARED_POSTGRES"), "{told}");
    assert_eq!(bench.sql("SELECT count(*) FROM instance_service.odoo_servers"), "0");
}

#[test]
fn wrong_settings_are_told_together_before_anything_is_touched() {
    let bench = Bench::new();
    let wrong = [("BACKUP_TIMEZONE", "Mars/Olympus"), ("RUNTIME", "swarm"), ("WORKER_CONCURRENCY", "0")];
    let output = bench.run(&[], &wrong);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{told}");
    for (name, _) in wrong {
        assert!(told.contains(name), "{name}: {told}");
    }
    assert_eq!(bench.get("/livez"), None);
}

/// A server that speaks S3, with its buckets, and the settings for one of them.
struct Buckets {
    place: tempfile::TempDir,
    proxy: Proxy,
    _server: S3Server,
    _runtime: tokio::runtime::Runtime,
}

impl Buckets {
    fn start() -> Self {
        let (place, runtime) = (tempfile::tempdir().unwrap(), tokio::runtime::Runtime::new().unwrap());
        for (name, content) in [("key-id", ACCESS_KEY_ID), ("key-secret", SECRET_ACCESS_KEY)] {
            std::fs::write(place.path().join(name), content).unwrap();
        }
        std::fs::create_dir(place.path().join("one")).unwrap();
        std::fs::create_dir(place.path().join("two")).unwrap();
        let server = runtime.block_on(S3Server::start(place.path(), 100)).unwrap();
        let proxy = runtime.block_on(Proxy::before(server.address())).unwrap();
        Self { place, proxy, _server: server, _runtime: runtime }
    }

    fn settings(&self, bucket: &str) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.place.path().join(name).display().to_string();
        vec![
            ("BACKUP_STORE", "s3".to_owned()),
            ("BACKUP_S3_BUCKET", bucket.to_owned()),
            ("BACKUP_S3_PREFIX", "odoo".to_owned()),
            ("BACKUP_S3_ENDPOINT", format!("http://{}", self.proxy.address())),
            ("BACKUP_S3_PATH_STYLE", "true".to_owned()),
            ("BACKUP_S3_ALLOW_HTTP", "true".to_owned()),
            ("BACKUP_S3_ACCESS_KEY_ID_FILE", path("key-id")),
            ("BACKUP_S3_SECRET_ACCESS_KEY_FILE", path("key-secret")),
            ("BACKUP_S3_TIMEOUT_SECONDS", "2".to_owned()),
            // Nobody needs the directory.
            ("CEPHFS_BACKUPS_PATH", "/nowhere".to_owned()),
        ]
    }

    fn root_of(&self, bucket: &str) -> String {
        std::fs::read_to_string(self.place.path().join(bucket).join("odoo/.root")).unwrap().trim().to_owned()
    }
}

fn given<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

impl Bench {
    /// Starts a worker, and ends it when it is at work.
    fn works(&self, more: &[(&str, &str)]) {
        let mut worker = self.start_with(more);
        self.ready();
        worker.signal(Signal::TERM);
        assert_eq!(worker.ended().code(), Some(0), "{}", std::fs::read_to_string(self.log()).unwrap());
    }

    /// What a worker says that refuses to start.
    fn refuses(&self, more: &[(&str, &str)]) -> String {
        let output = self.run(&[], more);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{told}");
        told
    }

    fn root(&self) -> String {
        self.sql("SELECT value #>> '{}' FROM instance_service.settings WHERE name = 'backups_root'")
    }

    fn catalogue_something(&self) {
        self.sql(
            "INSERT INTO instance_service.backups (id, instance_id, customer_id, operation_id, name, origin, odoo_version)
             SELECT gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'a', 'requested', '19'",
        );
    }
}

#[test]
fn a_new_bucket_is_claimed_once_and_another_one_is_refused() {
    let (bench, buckets) = (Bench::new(), Buckets::start());
    let (one, two) = (buckets.settings("one"), buckets.settings("two"));
    // As long as nothing was backed up, it may go elsewhere.
    bench.works(&[]);
    let local = bench.root();
    bench.works(&given(&one));
    let id = bench.root();
    assert_eq!((buckets.root_of("one"), local == id), (id.clone(), false));
    bench.works(&given(&one));
    assert_eq!((bench.root(), buckets.root_of("one")), (id.clone(), id.clone()));

    bench.catalogue_something();
    assert!(bench.refuses(&given(&two)).contains("BACKUP_S3_BUCKET two/odoo: it is not where the backups are: it has no id"));
    let told = bench.refuses(&[]);
    assert!(told.contains("it is another one; they are in the store of kind `s3`: copy it with its `.root`"), "{told}");
    assert!(!buckets.place.path().join("two/odoo").exists());
    // Whoever has copied all of it may go on from there.
    std::fs::create_dir(buckets.place.path().join("two/odoo")).unwrap();
    std::fs::write(buckets.place.path().join("two/odoo/.root"), &id).unwrap();
    bench.works(&given(&two));
    assert_eq!(bench.root(), id);
    std::fs::write(buckets.place.path().join("two/odoo/.root"), "another").unwrap();
    assert!(bench.refuses(&given(&two)).contains("it is another one"));
}

#[test]
fn a_bucket_with_something_in_it_is_not_claimed() {
    let (bench, buckets) = (Bench::new(), Buckets::start());
    let settings = buckets.settings("one");
    std::fs::create_dir(buckets.place.path().join("one/odoo")).unwrap();
    std::fs::write(buckets.place.path().join("one/odoo/photo.jpg"), "of somebody").unwrap();
    let told = bench.refuses(&given(&settings));
    assert!(told.contains("BACKUP_S3_BUCKET one/odoo: ") && told.contains("has no `.root`"), "{told}");
    assert_eq!(bench.root(), "");
}

/// Starts and stops of instances do not depend on where backups are.
#[test]
fn while_a_known_bucket_is_away_the_worker_works() {
    let (bench, buckets) = (Bench::new(), Buckets::start());
    let settings = buckets.settings("one");
    buckets.proxy.spoil(Fault::Answer(503, "SlowDown"));
    let output = bench.run(&[], &given(&settings));
    assert_eq!(output.status.code(), Some(1), "nobody knows its id yet: {output:?}");
    assert!(!buckets.place.path().join("one/odoo").exists());
    buckets.proxy.heal();
    bench.works(&given(&settings));
    for fault in [Fault::Answer(503, "SlowDown"), Fault::Answer(403, "AccessDenied"), Fault::HangUp] {
        buckets.proxy.spoil(fault);
        bench.works(&given(&settings));
    }
    let log = std::fs::read_to_string(bench.log()).unwrap();
    assert!(log.contains("the backup store cannot be used") && !log.contains(SECRET_ACCESS_KEY), "{log}");
}

#[test]
fn no_secret_reaches_its_log() {
    let bench = Bench::new();
    let mut worker = bench.start();
    bench.ready();
    worker.signal(Signal::TERM);
    worker.ended();
    let log = std::fs::read_to_string(bench.log()).unwrap();
    assert!(log.lines().count() > 3 && log.lines().all(|line| line.starts_with('{')), "{log}");
    let (platform, admin) = (bench.pair.platform(), bench.pair.odoo_admin());
    for secret in [platform.password.expose_secret(), admin.password.expose_secret(), KEY] {
        assert!(!log.contains(secret));
    }
}
