//! The whole path on real Odoo 19, through the process driver: a login that works, and nothing left after a delete.

use crate::rig::Rig;
use bootstrap::OsEntropy;
use runtime::account::Account;
use runtime::directory::DataDirectories;
use runtime::process::{ProcessRuntime, ProcessSettings};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use testkit::cluster::Options;
use testkit::pair::Pair;

/// The pattern of the installations, as in the settings, from the launcher of Odoo 19. Without it the test fails, since it
/// has shown nothing.
#[allow(clippy::disallowed_methods, reason = "where Odoo is installed is a matter of the machine")]
fn installations() -> String {
    let launcher =
        std::env::var("INSTANCE_TEST_ODOO").unwrap_or_else(|_| panic!("INSTANCE_TEST_ODOO must name the launcher of Odoo 19"));
    let (before, after) = launcher.rsplit_once("19").unwrap();
    format!("{before}{{version}}{after}")
}

async fn rig() -> Rig {
    let root = tempfile::tempdir().unwrap();
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let account = if rustix::process::geteuid().is_root() { Account::named("odoo").unwrap() } else { Account::Own };
    let directories = DataDirectories::new(root.path(), account).unwrap();
    let settings = ProcessSettings { installations: installations(), ports: 18_600..=18_699 };
    let client = bootstrap::http::client(std::time::Duration::from_secs(60)).unwrap();
    let runtime = ProcessRuntime::new(settings, directories.clone(), client, Arc::new(OsEntropy)).unwrap();
    let pair = Pair::start(&Options::default()).unwrap();
    let socket = root.path().join("none");
    Rig::build(pair, root, directories, Arc::new(runtime), socket, Vec::new()).await
}

async fn authenticate(url: &str, database: &str, login: &str, password: &str) -> Value {
    let params = json!({ "service": "common", "method": "authenticate", "args": [database, login, password, {}] });
    let body = json!({ "jsonrpc": "2.0", "method": "call", "params": params });
    let client = bootstrap::http::client(std::time::Duration::from_secs(60)).unwrap();
    let answer = client.post(format!("{url}/jsonrpc")).json(&body).send().await.unwrap();
    answer.json::<Value>().await.unwrap()["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real Odoo: INSTANCE_TEST_ODOO=/opt/odoo-19/bin/odoo"]
async fn a_real_odoo_is_provisioned_logged_in_to_and_deleted() {
    bootstrap::tls::install();
    let rig = rig().await;
    rig.prepare_template().await;
    let before = rig.snapshot();
    let start = std::time::Instant::now();
    let id = rig.order(|raw| raw.custom_addons = Some(vec!["contacts".to_owned(), "no_such_module".to_owned()])).await;
    rig.drain().await;
    let operation = rig.last_operation().await;
    eprintln!("provisioned in {:?}: {:?}", start.elapsed(), operation.result);
    let instance = rig.instance(id).await;
    assert_eq!(instance.axes.status.as_str(), "running", "{operation:#?}");
    assert_eq!(operation.result.unwrap()["installed_addons"], json!(["contacts"]));

    let due = db::platform::outbox::claim_due(&rig.db, 10, std::time::Duration::from_secs(1)).await.unwrap();
    let mail = due.iter().find(|mail| mail.template == "instance_ready").unwrap();
    let password = db::platform::outbox::open_secrets(mail, &rig.tools.keyring).unwrap()["admin_password"].clone();
    let (url, database) = (instance.external_url.unwrap(), instance.placement.unwrap().db_name);
    let login = |name: &'static str, password: String| {
        let (url, database) = (url.clone(), database.clone());
        async move { authenticate(&url, database.as_str(), name, &password).await }
    };
    assert_eq!(login("owner@customer.example", password.expose_secret().to_owned()).await, json!(2));
    assert_eq!(login("admin", "admin".to_owned()).await, json!(false));

    rig.delete(id).await;
    rig.drain().await;
    let difference = before.difference(&rig.snapshot());
    assert!(difference.is_empty(), "{difference}");
}
