//! `cargo dev up --detach`, `status`, `down`, `up` again and `reset`, as a developer runs them, in a directory and on ports of
//! their own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::Snapshot;
use testkit::guard::Guard;
use testkit::port::Port;

/// The tool with its options.
struct Dev<'a> {
    directory: &'a Path,
    odoo: &'a str,
    ports: [Port; 5],
}

impl Dev<'_> {
    /// What it prints.
    fn run(&self, command: &str, more: &[&str]) -> String {
        let flags = ["--api-port", "--worker-port", "--services-port", "--postgres1-port", "--postgres2-port"];
        let mut dev = Command::new(env!("CARGO_BIN_EXE_xtask"));
        dev.arg(command).args(more).arg("--directory").arg(self.directory).args(["--odoo", self.odoo]);
        for (flag, port) in flags.iter().zip(&self.ports) {
            dev.args([*flag, &port.number().to_string()]);
        }
        let output = dev.output().unwrap();
        let (said, complained) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
        assert!(output.status.success(), "{command} failed: {said}{complained}");
        said
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.run("status", &["--json"])).unwrap()
    }

    /// Processes that name the directory.
    fn processes(&self) -> Vec<String> {
        let found = Snapshot::default().with_processes(&self.directory.display().to_string()).unwrap();
        found.lines("process").map(str::to_owned).collect()
    }
}

/// A word that stands behind a label in what `up` prints.
fn printed(said: &str, label: &str) -> String {
    let line = said.lines().find_map(|line| line.trim().strip_prefix(label)).unwrap_or_else(|| panic!("no {label} in {said}"));
    line.trim().to_owned()
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(60))).proxy(None).build().into()
}

fn page(url: &str) -> String {
    agent().get(url).call().unwrap().body_mut().read_to_string().unwrap()
}

fn has_exactly(object: &Value, keys: &[&str]) {
    let found: BTreeSet<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(found, keys.iter().copied().collect(), "{object}");
}

fn the_status_is_complete(status: &Value) {
    let top = ["running", "processes", "api_url", "docs_url", "worker_health_url", "odoo_versions", "logs", "mails", "servers"];
    has_exactly(status, &[&top[..], &["instances"]].concat());
    has_exactly(&status["servers"], &["postgres1", "postgres2"]);
    for server in status["servers"].as_object().unwrap().values() {
        has_exactly(server, &["host", "port", "user", "password_file", "database", "running"]);
        assert!(Path::new(server["password_file"].as_str().unwrap()).exists(), "{server}");
    }
    has_exactly(&status["instances"][0], &["id", "url", "login", "status"]);
    page(status["docs_url"].as_str().unwrap());
    page(status["worker_health_url"].as_str().unwrap());
}

fn the_login_page_is_served_and_the_login_works(said: &str, database: &str) {
    let (url, login, password) = (printed(said, "Odoo"), printed(said, "login"), printed(said, "password"));
    let login_page = page(&format!("{url}/web/login"));
    let asset = login_page.split('"').find(|part| part.starts_with("/web/assets/")).unwrap();
    assert!(!page(&format!("{url}{asset}")).is_empty());
    let arguments = json!([database, login, password, {}]);
    let request = json!({ "jsonrpc": "2.0", "method": "call", "id": 1,
                          "params": { "service": "common", "method": "authenticate", "args": arguments } });
    let mut answer = agent().post(format!("{url}/jsonrpc")).send_json(&request).unwrap();
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().unwrap()).unwrap();
    assert!(answer["result"].is_i64(), "{answer}");
}

/// The database of an instance is nobody's business but the servers': so it is asked there.
fn database(status: &Value, bin: &Path) -> String {
    let server = &status["servers"]["postgres1"];
    let password = std::fs::read_to_string(server["password_file"].as_str().unwrap()).unwrap();
    let mut psql = Command::new(bin.join("psql"));
    psql.args(["-XqAt", "-h", "127.0.0.1", "-p", &server["port"].to_string(), "-U", server["user"].as_str().unwrap()]);
    psql.args([
        "-d",
        server["database"].as_str().unwrap(),
        "-c",
        "SELECT db_name FROM public.instances WHERE status = 'running'",
    ]);
    let output = psql.env("PGPASSWORD", password.trim()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
#[ignore = "needs real Odoo: run `cargo dev test`, which brings it"]
#[expect(clippy::disallowed_methods, reason = "how the run names its Odoo")]
fn real_odoo_comes_up_goes_down_comes_back_and_is_removed() {
    let launcher = std::env::var("INSTANCE_TEST_ODOO").unwrap();
    let (before, after) = launcher.rsplit_once("19").unwrap();
    let odoo = format!("{before}{{version}}{after}");
    let directory = tempfile::Builder::new().prefix("up-").tempdir_in(testkit::seed::place("run").unwrap()).unwrap();
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o711)).unwrap();
    let _guard = Guard::over(directory.path()).unwrap();
    let ports = [(); 5].map(|()| Port::reserve().unwrap());
    let dev = Dev { directory: directory.path(), odoo: &odoo, ports };
    let bin = testkit::installation::Installation::find(None).unwrap();

    let said = dev.run("up", &["--detach"]);
    let status = dev.status();
    the_status_is_complete(&status);
    the_login_page_is_served_and_the_login_works(&said, &database(&status, bin.bin()));
    assert!(dev.run("up", &["--detach"]).contains("it runs already"));

    dev.run("down", &[]);
    assert_eq!(dev.processes(), [""; 0]);
    assert_eq!(dev.status()["running"], false);

    let again = dev.run("up", &["--detach"]);
    page(&format!("{}/web/login", printed(&again, "Odoo")));
    dev.run("reset", &[]);
    assert_eq!(dev.processes(), [""; 0]);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "reset leaves something");
}
