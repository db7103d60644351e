//! The fence with real holders: living, outdated, killed with SIGKILL, stopped with SIGSTOP, and hostile.

use crate::rig::{Rig, System, Tenant, confirmed, server};
use db::odoo::{OdooError, Verdict};
use domain::names::{Mark, PhysicalName};
use rustix::process::{Pid, Signal, kill_process};
use secrecy::{ExposeSecret as _, SecretString};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

fn locked(mark: &Mark) -> String {
    let key = u64::from_str_radix(mark.as_str(), 16).unwrap().cast_signed();
    format!(
        "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND (classid::bigint << 32 | objid::bigint) = {key}"
    )
}

fn free(mark: &Mark) -> String {
    locked(mark).replace("= 1 FROM", "= 0 FROM")
}

#[tokio::test]
async fn the_lock_is_held_until_the_fence_is_dropped() {
    let rig = Rig::start();
    let mark = Mark::generate(&System);
    let fence = rig.fence(&mark).await;
    assert_eq!(rig.cluster.psql("postgres", &locked(&mark)).unwrap(), "t");
    drop(fence);
    rig.until(&free(&mark)).await;
    rig.fence(&mark).await.release().await.unwrap();
}

#[tokio::test]
async fn different_marks_do_not_wait_for_each_other() {
    let rig = Rig::start();
    let _one = rig.fence(&Mark::generate(&System)).await;
    let _other = rig.fence(&Mark::generate(&System)).await;
}

#[tokio::test]
async fn a_later_owner_makes_an_earlier_one_stale() {
    let rig = Rig::start();
    let mark = Mark::generate(&System);
    let _later = confirmed(rig.server.fence(&mark, 8).await).await;
    let error = rig.server.fence(&mark, 7).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::LeaseLost, "{error}");
}

#[tokio::test]
async fn an_earlier_owner_is_broken_after_a_second() {
    let rig = Rig::start();
    let mark = Mark::generate(&System);
    let mut earlier = confirmed(rig.server.fence(&mark, 7).await).await;
    let start = Instant::now();
    let _later = confirmed(rig.server.fence(&mark, 8).await).await;
    assert!((1.0..5.0).contains(&start.elapsed().as_secs_f64()));
    let tenant = Tenant::draw();
    let error = earlier.ensure_role(&tenant.name, &tenant.verifier(), &Default::default()).await.unwrap_err();
    assert!(matches!(error, OdooError::Unreachable { .. }), "{error}");
    let absent = format!("SELECT count(*) = 0 FROM pg_roles WHERE rolname = '{}'", tenant.name);
    assert_eq!(rig.cluster.psql("postgres", &absent).unwrap(), "t");
}

#[tokio::test]
async fn an_equal_owner_waits_and_then_snoozes() {
    let rig = Rig::start();
    let mark = Mark::generate(&System);
    let _holder = rig.fence(&mark).await;
    let error = rig.server.fence(&mark, 1).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Snooze, "{error}");
}

#[tokio::test]
async fn a_token_refused_under_the_lock_gives_no_fence_and_frees_it() {
    let rig = Rig::start();
    let mark = Mark::generate(&System);
    let unconfirmed = rig.server.fence(&mark, 7).await.unwrap();
    let asked_under_lock = async {
        assert_eq!(rig.cluster.psql("postgres", &locked(&mark)).unwrap(), "t");
        Err::<(), _>("stale")
    };
    assert_eq!(unconfirmed.confirm(asked_under_lock).await.unwrap_err(), "stale");
    rig.until(&free(&mark)).await;
}

/// A tenant can read marks and enter the maintenance database, and use any name: the lock there is not the lock.
#[tokio::test]
async fn a_tenant_cannot_come_near_the_lock_of_another() {
    let rig = Rig::start();
    let (hostile, victim) = (rig.tenant().await, rig.tenant().await);
    let mut session = rig.log_in(&hostile, "postgres").await.unwrap();
    let key = u64::from_str_radix(victim.mark.as_str(), 16).unwrap().cast_signed();
    let name = format!("SET application_name = 'ois:{}:{}'", victim.mark, i64::MAX);
    sqlx::query(sqlx::AssertSqlSafe(name)).execute(&mut session).await.unwrap();
    sqlx::query("SELECT pg_advisory_lock($1)").bind(key).execute(&mut session).await.unwrap();
    rig.fence(&victim.mark).await.release().await.unwrap();
    let error = rig.log_in(&hostile, "ois").await.unwrap_err();
    assert_eq!(error.as_database_error().unwrap().code().unwrap(), "42501", "{error}");
}

#[tokio::test]
async fn without_the_database_of_the_fences_work_waits() {
    let rig = Rig::start();
    rig.cluster.psql("postgres", "DROP DATABASE ois").unwrap();
    let error = rig.server.fence(&Mark::generate(&System), 1).await.unwrap_err();
    assert!(matches!(&error, OdooError::Unreachable { .. }) && error.to_string().contains("bootstrap"), "{error}");
    assert!(!rig.server.admin_connection().await.unwrap().probe().await.unwrap().has_fences);
}

/// The lock of an earlier owner is lost, its session inside a database is not.
#[tokio::test]
async fn a_later_owner_ends_what_an_earlier_one_has_open_inside_a_database() {
    let rig = Rig::start();
    let (tenant, neighbour) = (rig.tenant().await, rig.tenant().await);
    let mut earlier = confirmed(rig.server.fence(&tenant.mark, 7).await).await;
    let mut inside = earlier.inside(&tenant.name).await.unwrap();
    let mut others = rig.fence(&neighbour.mark).await;
    let mut beside = others.inside(&neighbour.name).await.unwrap();
    let cut = format!(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = 'ois' AND application_name LIKE '%{}:7'",
        tenant.mark
    );
    assert_eq!(rig.cluster.psql("postgres", &cut).unwrap(), "t");
    inside.reader().module_states().await.unwrap();
    let _later = confirmed(rig.server.fence(&tenant.mark, 8).await).await;
    let error = inside.reader().module_states().await.unwrap_err();
    assert!(matches!(error, OdooError::Cut { .. }), "{error}");
    beside.reader().module_states().await.unwrap();
}

#[tokio::test]
async fn who_has_lost_the_lock_gets_no_way_into_a_database() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let mut earlier = confirmed(rig.server.fence(&tenant.mark, 7).await).await;
    let _later = confirmed(rig.server.fence(&tenant.mark, 8).await).await;
    let error = earlier.inside(&tenant.name).await.unwrap_err();
    assert!(matches!(error, OdooError::Unreachable { .. }), "{error}");
}

/// A process of its own that holds the fence, and clones when told to.
struct Holder {
    child: Child,
}

impl Holder {
    fn start(rig: &Rig, mark: &Mark, token: i64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "fence::holder_process", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let settings = format!("{} {} {mark} {token}\n", rig.cluster.port(), rig.admin.password.expose_secret());
        child.stdin.as_mut().unwrap().write_all(settings.as_bytes()).unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().contains("holding")), "the holder ended early");
        Self { child }
    }

    fn clone_into(&mut self, role: &PhysicalName, template: &PhysicalName) {
        self.child.stdin.as_mut().unwrap().write_all(format!("{role} {template}\n").as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Not a test: the process of [`Holder`]. Reads what to do from standard input; without input it ends at once.
#[tokio::test]
#[ignore = "run as a process of its own by other tests"]
async fn holder_process() {
    let mut input = std::io::stdin().lines();
    let Some(Ok(settings)) = input.next() else { return };
    let [port, password, mark, token] = settings.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let admin = domain::endpoint::Endpoint {
        host: "127.0.0.1".to_owned(),
        port: port.parse().unwrap(),
        database: "postgres".to_owned(),
        user: "odoo_admin".to_owned(),
        password: SecretString::from(password),
        ssl_mode: domain::endpoint::SslMode::Disable,
    };
    let mark = Mark::parse(mark).unwrap();
    let mut fence = confirmed(server(admin).fence(&mark, token.parse().unwrap()).await).await;
    println!("holding");
    while let Some(Ok(line)) = input.next() {
        let (role, template) = line.split_once(' ').unwrap();
        let (role, template) = (PhysicalName::new(role).unwrap(), PhysicalName::new(template).unwrap());
        fence.clone_database(&role, &template, &role).await.unwrap();
    }
}

/// A template that takes a while to clone, and a role to clone it for.
async fn slow_template(rig: &Rig) -> (PhysicalName, Tenant) {
    let template = rig.tenant().await;
    let fill = "CREATE TABLE big AS SELECT g, repeat(md5(g::text), 30) AS t FROM generate_series(1, 150000) g";
    rig.cluster.psql(template.name.as_str(), fill).unwrap();
    rig.fence(&template.mark).await.finalise_template(&template.name, &template.name).await.unwrap();
    let tenant = Tenant::draw();
    let mut fence = rig.fence(&tenant.mark).await;
    fence.ensure_role(&tenant.name, &tenant.verifier(), &Default::default()).await.unwrap();
    fence.release().await.unwrap();
    (template.name, tenant)
}

const CLONING: &str = "SELECT count(*) = 1 FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'CREATE DATABASE%'";

#[tokio::test]
async fn a_holder_killed_while_cloning_leaves_no_late_database() {
    let rig = Rig::with(&testkit::cluster::Options::durable());
    let (template, tenant) = slow_template(&rig).await;
    let mut holder = Holder::start(&rig, &tenant.mark, 1);
    holder.clone_into(&tenant.name, &template);
    rig.until(CLONING).await;
    holder.signal(Signal::KILL);
    // Whoever gets the lock knows that the killed one's backend is gone: what is absent now stays absent.
    let mut fence = confirmed(rig.server.fence(&tenant.mark, 2).await).await;
    assert_eq!(rig.cluster.psql("postgres", CLONING).unwrap(), "f");
    assert!(fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().is_none());
    fence.clone_database(&tenant.name, &template, &tenant.name).await.unwrap();
}

#[tokio::test]
async fn a_stopped_holder_is_broken_and_changes_nothing_when_it_goes_on() {
    let rig = Rig::with(&testkit::cluster::Options::durable());
    let (template, tenant) = slow_template(&rig).await;
    let mut holder = Holder::start(&rig, &tenant.mark, 1);
    holder.signal(Signal::STOP);
    let fence = confirmed(rig.server.fence(&tenant.mark, 2).await).await;
    holder.clone_into(&tenant.name, &template);
    holder.signal(Signal::CONT);
    // Its connection is gone: it fails instead of cloning.
    assert!(!holder.child.wait().unwrap().success());
    let absent = format!("SELECT count(*) = 0 FROM pg_database WHERE datname = '{}'", tenant.name);
    assert_eq!(rig.cluster.psql("postgres", &absent).unwrap(), "t");
    fence.release().await.unwrap();
}

#[tokio::test]
async fn another_server_behind_the_address_is_not_acted_on() {
    let rig = Rig::start();
    let mark = Mark::generate(&System);
    let identifier = rig.server.admin_connection().await.unwrap().probe().await.unwrap().system_identifier;
    let at = |known, forbidden| {
        let address = rig.server.address().clone();
        db::odoo::OdooServer::new(db::odoo::ServerAddress {
            identity: db::odoo::Identity { known, forbidden, superuser: false },
            ..address
        })
    };
    confirmed(at(Some(identifier), None).fence(&mark, 1).await).await.release().await.unwrap();
    let absent = PhysicalName::new("not_there").unwrap();
    for wrong in [at(Some(identifier + 1), None), at(Some(identifier), Some(identifier)), at(None, Some(identifier))] {
        let answers = [
            wrong.fence(&mark, 1).await.map(drop),
            wrong.admin_connection().await.map(drop),
            // What is not there on a stranger may well be there on the server that we know.
            wrong.instance_connection(&absent).await.map(drop),
        ];
        for error in answers.map(Result::unwrap_err) {
            assert!(matches!(error, OdooError::Unreachable { .. } | OdooError::Away { .. }), "{error}");
        }
    }
    let error = rig.server.instance_connection(&absent).await.unwrap_err();
    assert_eq!(error.sqlstate().as_deref(), Some("3D000"), "{error}");
}
