//! `GET /api/v1/instances/{id}/logs`

use crate::rig::{Got, Rig, instance_path, is_time, uuid};
use serde_json::{Value, json};
use std::time::Duration;

/// Gives an instance a place, as a provisioning does.
fn place(rig: &Rig, instance: &Value) {
    let (id, server, name) = (instance["id"].as_str().unwrap(), uuid(), "odoo_0123456789abcdef");
    rig.sql(&format!(
        "INSERT INTO instance_service.odoo_servers
                (id, name, admin_host, admin_port, default_database, admin_user, secret_name, tenant_host, tenant_port)
         VALUES ('{server}', 'default', 'h', 5432, 'postgres', 'odoo_admin', 's', 'h', 5432);
         UPDATE public.instances SET odoo_server_id = '{server}', db_host = 'h', db_port = 5432, db_name = '{name}', db_user = '{name}',
                service_name = 'odoo-0123456789abcdef', data_dir = '/srv/{name}', mark = '0123456789abcdef' WHERE id = '{id}'"
    ));
}

async fn waits_for_operation(rig: &Rig) -> String {
    loop {
        let id = rig.sql("SELECT id FROM instance_service.operations WHERE kind = 'fetch_logs' AND state = 'queued'");
        if !id.is_empty() {
            return id;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn lines_come_from_a_worker_while_no_connection_is_held() {
    let rig = Rig::start();
    let instance = rig.created().await;
    place(&rig, &instance);
    let path = instance_path(&instance, "/logs?lines=2");
    let worker = async {
        let operation = waits_for_operation(&rig).await;
        assert_eq!(rig.sql("SELECT params->>'lines' FROM instance_service.operations"), "2");
        assert_eq!(rig.sql("SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"), "0");
        rig.finish(&operation, &json!({"logs": ["one", "two"]}));
    };
    let (got, ()) = tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(rig.get(&path), worker) }).await.unwrap();
    assert_eq!((got.status, &got.json["logs"]), (200, &json!(["one", "two"])), "{got:?}");
    assert!(is_time(&got.json["timestamp"]) && got.json["instance_id"] == instance["id"]);
    // A tenant's lines are not kept, and the request does not take the instance's place.
    let kept = "SELECT string_agg(o::text, '') || coalesce(string_agg(s::text, ''), '') || coalesce(string_agg(e::text, ''), '')
                  FROM instance_service.operations o LEFT JOIN instance_service.operation_steps s ON s.operation_id = o.id
                  LEFT JOIN instance_service.operation_events e ON e.operation_id = o.id";
    assert!(!rig.sql(kept).contains("two"));
    assert_eq!(rig.get(&instance_path(&instance, "")).await.json["operation_id"], Value::Null);
}

#[tokio::test]
async fn without_a_worker_the_answer_is_503_and_the_request_is_withdrawn() {
    let rig = Rig::with(|policy| policy.logs_wait = Duration::from_millis(300));
    let instance = rig.created().await;
    place(&rig, &instance);
    let got: Got = rig.get(&instance_path(&instance, "/logs")).await;
    assert_eq!((got.status, got.header("retry-after").is_empty()), (503, false));
    assert_eq!(rig.sql("SELECT state FROM instance_service.operations WHERE kind = 'fetch_logs'"), "cancelled");
}

/// The caller has gone; nobody else reads a tenant's lines as the result of an operation.
#[tokio::test]
async fn lines_that_nobody_fetched_are_shown_nowhere() {
    let rig = Rig::start();
    let instance = rig.created().await;
    place(&rig, &instance);
    let path = instance_path(&instance, "/logs");
    let gone = tokio::time::timeout(Duration::from_secs(30), async {
        tokio::select! {
            got = rig.get(&path) => panic!("{got:?}"),
            operation = waits_for_operation(&rig) => operation,
        }
    });
    let operation = gone.await.unwrap();
    rig.finish(&operation, &json!({"logs": ["of a tenant"]}));
    for path in [format!("/api/v1/operations/{operation}"), "/api/v1/operations?kind=fetch_logs".to_owned()] {
        let got = rig.get(&path).await;
        assert!(got.status == 200 && got.text.contains("succeeded") && !got.text.contains("of a tenant"), "{got:?}");
    }
    let events = rig.get(&format!("/api/v1/operations/{operation}/events")).await;
    assert!(events.text.contains("succeeded") && !events.text.contains("of a tenant"), "{events:?}");
}

#[tokio::test]
async fn what_never_ran_has_no_lines() {
    let rig = Rig::start();
    let instance = rig.created().await;
    let got = rig.get(&instance_path(&instance, "/logs")).await;
    assert_eq!((got.status, &got.json["logs"]), (200, &json!([])));
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations"), "0");
}

#[tokio::test]
async fn odd_values_are_refused() {
    let rig = Rig::start();
    let instance = rig.created().await;
    for lines in ["0", "1001", "-1", "many", "%00"] {
        let got = rig.get(&instance_path(&instance, &format!("/logs?lines={lines}"))).await;
        assert_eq!((got.status, got.places()), (422, vec!["query.lines".to_owned()]), "{lines}");
    }
    assert_eq!(rig.get(&format!("/api/v1/instances/{}/logs", uuid())).await.status, 404);
}
