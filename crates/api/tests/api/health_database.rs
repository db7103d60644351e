//! `GET /health/database`

use crate::rig::{Rig, is_time, uuid};
use serde_json::{Value, json};
use testkit::Stop;

fn register(rig: &Rig, name: &str, separated: bool, checked: &str) {
    rig.sql(&format!(
        "INSERT INTO instance_service.odoo_servers
                (id, name, admin_host, admin_port, default_database, admin_user, secret_name, tenant_host, tenant_port, separated,
                 state, healthy, latency_ms, version, checked_at, error, capacity)
         VALUES ('{}', '{name}', 'pg2.internal', 5432, 'postgres', 'odoo_admin', 'secret', 'pg2.internal', 5432, {separated},
                 'active', true, 3, '15.18', {checked}, NULL, 100)",
        uuid()
    ));
}

#[tokio::test]
async fn it_shows_postgres1_and_the_registered_servers_without_their_addresses() {
    let rig = Rig::start();
    rig.created().await;
    register(&rig, "default", true, "now()");
    let got = rig.get("/health/database").await;
    assert_eq!(got.status, 200);
    let server = &got.json["odoo_servers"][0];
    assert!(is_time(&server["checked_at"]), "{server}");
    let mut json = got.json.clone();
    json["odoo_servers"][0]["checked_at"] = Value::Null;
    let expected = json!({
        "status": "healthy", "database": "connected", "instance_count": 1, "separated": true,
        "odoo_servers": [{"name": "default", "state": "active", "healthy": true, "latency_ms": 3, "version": "15.18",
                          "instances": 0, "capacity": 100, "checked_at": null, "error": null, "deviations": []}],
    });
    assert_eq!(json, expected);
    for inner in ["pg2.internal", "odoo_admin", "secret"] {
        assert!(!got.text.contains(inner), "{inner}");
    }
}

#[tokio::test]
async fn an_old_look_says_nothing_and_a_shared_server_is_told() {
    let rig = Rig::start();
    register(&rig, "default", true, "now() - interval '3 minutes'");
    register(&rig, "legacy", false, "NULL");
    let got = rig.get("/health/database").await;
    assert_eq!((got.status, &got.json["separated"]), (200, &false.into()));
    for server in got.json["odoo_servers"].as_array().unwrap() {
        assert_eq!(server["healthy"], Value::Null, "{server}");
    }
}

#[tokio::test]
async fn where_a_server_deviates_is_told() {
    let rig = Rig::start();
    register(&rig, "default", true, "now()");
    rig.sql("UPDATE instance_service.odoo_servers SET deviations = '[\"PUBLIC may CONNECT to template1\"]'");
    let got = rig.get("/health/database").await;
    assert_eq!(got.json["odoo_servers"][0]["deviations"], json!(["PUBLIC may CONNECT to template1"]));
}

#[tokio::test]
async fn nothing_is_said_of_separation_while_no_server_is_in_use() {
    let rig = Rig::start();
    assert_eq!(rig.get("/health/database").await.json["separated"], Value::Null);
    register(&rig, "default", true, "now()");
    rig.sql("UPDATE instance_service.odoo_servers SET state = 'disabled'");
    assert_eq!(rig.get("/health/database").await.json["separated"], Value::Null);
    register(&rig, "second", true, "now()");
    assert_eq!(rig.get("/health/database").await.json["separated"], true);
}

#[tokio::test]
async fn without_the_schema_postgres1_answers_and_nothing_is_counted() {
    let got = Rig::unmigrated().get("/health/database").await;
    assert_eq!((got.status, &got.json["database"], &got.json["instance_count"]), (200, &"connected".into(), &Value::Null));
    assert_eq!((&got.json["separated"], &got.json["odoo_servers"]), (&Value::Null, &json!([])));
}

#[tokio::test]
async fn only_a_failing_postgres1_makes_it_fail() {
    let mut rig = Rig::impatient();
    rig.cluster.stop(Stop::Immediate).unwrap();
    let got = rig.get("/health/database").await;
    assert_eq!((got.status, &got.json["status"], &got.json["database"]), (503, &"unhealthy".into(), &"failed".into()));
    assert!(got.json["error"].is_string() && !got.header("retry-after").is_empty(), "{got:?}");
}
