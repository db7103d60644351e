//! The harness itself: quick, complete, and gone afterwards, whatever happens to the test.

use rustix::process::{Pid, test_kill_process};
use std::time::{Duration, Instant};
use testkit::{Cluster, Options, Pair, Snapshot, Stop};

fn within(limit: Duration, what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_pair_is_bootstrapped_migrated_and_separate() {
    let begin = Instant::now();
    let pair = Pair::start(&Options::default()).unwrap();
    println!("pair started in {:?}", begin.elapsed());
    let tables = pair.postgres1.psql("instance", "SELECT count(*) FROM pg_tables WHERE schemaname = 'instance_service'").unwrap();
    assert!(tables.parse::<u32>().unwrap() > 5, "{tables}");
    let identity = "SELECT system_identifier FROM pg_control_system()";
    assert_ne!(pair.postgres1.psql("postgres", identity).unwrap(), pair.postgres2.psql("postgres", identity).unwrap());
    let admin = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = 'odoo_admin'";
    assert_eq!(pair.postgres2.psql("postgres", admin).unwrap(), "f|t|t");
    assert_ne!(pair.platform().port, pair.odoo_admin().port);
}

#[test]
fn data_survive_every_kind_of_stop_with_the_same_port() {
    let mut cluster = Cluster::start(&Options::durable()).unwrap();
    let port = cluster.port();
    cluster.psql("postgres", "CREATE TABLE t (n int)").unwrap();
    let stops: [fn(&mut Cluster) -> anyhow::Result<()>; 3] =
        [|cluster| cluster.stop(Stop::Fast), |cluster| cluster.stop(Stop::Immediate), Cluster::kill];
    for (number, stop) in stops.iter().enumerate() {
        cluster.psql("postgres", "INSERT INTO t VALUES (1)").unwrap();
        stop(&mut cluster).unwrap();
        assert!(cluster.psql("postgres", "SELECT 1").is_err(), "stop {number} left a server");
        cluster.start_again().unwrap();
        assert_eq!(cluster.psql("postgres", "SELECT count(*) FROM t").unwrap(), (number + 1).to_string());
        assert_eq!(cluster.port(), port);
    }
}

#[test]
fn a_dropped_cluster_leaves_neither_process_nor_directory() {
    let cluster = Cluster::start(&Options::default()).unwrap();
    let (pid, directory) = (cluster.server().pid().unwrap(), cluster.server().directory().to_owned());
    drop(cluster);
    assert!(test_kill_process(pid).is_err());
    assert!(!directory.exists());
}

/// Not a test: the process that the next test kills. Without a word on standard input it ends at once.
#[test]
#[ignore = "run as a process of its own by another test"]
fn waits_to_be_killed() {
    let mut input = std::io::stdin().lines();
    let Some(Ok(_)) = input.next() else { return };
    let cluster = Cluster::start(&Options::default()).unwrap();
    println!("server {} {}", cluster.server().pid().unwrap().as_raw_nonzero(), cluster.server().directory().display());
    assert!(input.next().is_none(), "killed before");
}

#[test]
fn a_killed_test_leaves_neither_process_nor_directory() {
    use std::io::{BufRead, BufReader, Write};
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "waits_to_be_killed", "--nocapture"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "go").unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let line = output.lines().map(Result::unwrap).find(|line| line.contains("server ")).unwrap();
    let mut words = line.split(' ').rev();
    let (directory, pid) = (std::path::PathBuf::from(words.next().unwrap()), words.next().unwrap().parse().unwrap());
    let pid = Pid::from_raw(pid).unwrap();
    assert!(test_kill_process(pid).is_ok() && directory.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    within(Duration::from_secs(15), "server gone", || test_kill_process(pid).is_err());
    within(Duration::from_secs(15), "directory gone", || !directory.exists());
}

#[test]
fn a_difference_names_exactly_what_changed() {
    let pair = Pair::start(&Options::default()).unwrap();
    let before = Snapshot::of_server(&pair.postgres2).unwrap();
    pair.postgres2.psql("postgres", "CREATE ROLE tenant LOGIN").unwrap();
    pair.postgres2.psql("postgres", "CREATE DATABASE tenant OWNER tenant").unwrap();
    pair.postgres2.psql("postgres", "COMMENT ON DATABASE tenant IS 'mark'").unwrap();
    let during = Snapshot::of_server(&pair.postgres2).unwrap();
    let difference = before.difference(&during);
    let kinds: Vec<&str> = difference.added.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(kinds, ["comment", "database", "role"], "{difference}");
    assert!(difference.removed.is_empty());
    pair.postgres2.psql("postgres", "DROP DATABASE tenant").unwrap();
    pair.postgres2.psql("postgres", "DROP ROLE tenant").unwrap();
    let after = before.difference(&Snapshot::of_server(&pair.postgres2).unwrap());
    assert!(after.is_empty(), "{after}");
}

#[test]
fn passwords_work_and_are_in_no_log() {
    use secrecy::ExposeSecret;
    let pair = Pair::start(&Options::default()).unwrap();
    for (cluster, endpoint) in [(&pair.postgres1, pair.platform()), (&pair.postgres2, pair.odoo_admin())] {
        let mut psql = std::process::Command::new(cluster.server().installation().bin().join("psql"));
        let login = |password: &str, psql: &mut std::process::Command| {
            psql.args(["-XqAt", "-h", &endpoint.host, "-U", &endpoint.user, "-d", &endpoint.database, "-c", "SELECT 'in'"])
                .args(["-p", &endpoint.port.to_string()])
                .env("PGPASSWORD", password)
                .output()
                .unwrap()
        };
        let good = login(endpoint.password.expose_secret(), &mut psql);
        assert_eq!(String::from_utf8_lossy(&good.stdout), "in\n", "{}", String::from_utf8_lossy(&good.stderr));
        let mut psql = std::process::Command::new(cluster.server().installation().bin().join("psql"));
        assert!(!login("wrong", &mut psql).status.success());
        assert!(!cluster.log().unwrap().contains(endpoint.password.expose_secret()));
        let entries = cluster.log_entries().unwrap();
        assert!(entries.iter().any(|entry| entry.statement() == Some("SELECT 'in'") && entry.user == endpoint.user));
    }
}
