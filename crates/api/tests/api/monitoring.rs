//! `/api/v1/monitoring`: what it tells comes from the workers, and nothing is invented.

use crate::rig::{Rig, is_time, uuid};
use db::platform::heartbeats;
use db::platform::monitoring::{self, Effective, Watcher, Watching, WorkerDetails};
use serde_json::{Value, json};
use std::time::Duration;

const PATH: &str = "/api/v1/monitoring";

const CONFIGURED: Effective = Effective {
    run: true,
    restarts: 0,
    reconcile_interval_seconds: 900,
    health_check_interval_seconds: 60,
    resume_grace_seconds: 60,
};

/// What a worker says of itself.
async fn beats(rig: &Rig) {
    let details =
        WorkerDetails { runtime: "process".into(), monitoring: Some(CONFIGURED), memory_mb: Some(41.5), cpu_percent: Some(2.0) };
    heartbeats::beat(rig.state.db(), "w-1", "host", "1.0", &json!(details)).await.unwrap();
}

/// What a watcher says of itself.
async fn watches(rig: &Rig, restarts: u64) {
    let watcher = Watcher {
        state: Watching::Running,
        worker: "w-1".into(),
        restarts,
        started_at: Some("2026-11-23T03:04:00Z".parse().unwrap()),
        last_event_time: Some("2026-11-23T03:05:00Z".parse().unwrap()),
        total: 8,
        successful: 4,
        failed: 2,
        ignored: 1,
        duplicate: 1,
        event_ms: Some(12.5),
        ..Watcher::default()
    };
    monitoring::keep_watcher(rig.state.db(), &watcher).await.unwrap();
}

/// A provisioned instance in this status, seen so.
async fn service(rig: &Rig, status: &str, observed: &str) -> (String, String) {
    let id = rig.created().await["id"].as_str().unwrap().to_owned();
    let hex = id.replace('-', "")[..16].to_owned();
    let name = format!("odoo-{hex}");
    rig.sql(&format!(
        "INSERT INTO instance_service.odoo_servers
                (id, name, admin_host, admin_port, default_database, admin_user, secret_name, tenant_host, tenant_port)
         VALUES ('{}', 'default', 'h', 5432, 'postgres', 'odoo_admin', 's', 'h', 5432) ON CONFLICT DO NOTHING;
         UPDATE public.instances
            SET odoo_server_id = s.id, db_host = 'h', db_port = 5432, db_name = 'odoo_{hex}', db_user = 'odoo_{hex}',
                service_name = '{name}', data_dir = '/srv/{hex}', mark = '{hex}', phase = 'ready', status = '{status}',
                desired_state = 'running', provisioning_status = 'completed', observed_state = '{observed}',
                observed_at = now(), started_at = now() - interval '1 minute',
                hostname = CASE '{status}' WHEN 'terminated' THEN NULL ELSE hostname END
           FROM instance_service.odoo_servers s WHERE instances.id = '{id}'",
        uuid()
    ));
    (id, name)
}

/// The comparison that waits for a worker.
async fn waits(rig: &Rig) -> String {
    loop {
        let id = rig.sql("SELECT id FROM instance_service.operations WHERE kind = 'reconcile' AND state = 'queued'");
        if !id.is_empty() {
            return id;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn get(rig: &Rig, path: &str) -> Value {
    let got = rig.get(&format!("{PATH}{path}")).await;
    assert_eq!(got.status, 200, "{path}: {got:?}");
    got.json
}

async fn post(rig: &Rig, path: &str, body: &Value) -> Value {
    let got = rig.post(&format!("{PATH}{path}"), body).await;
    assert_eq!(got.status, 200, "{path}: {got:?}");
    got.json
}

#[tokio::test]
async fn nothing_is_told_that_nobody_measured() {
    let rig = Rig::start();
    let status = get(&rig, "/status").await;
    assert_eq!((&status["status"], &status["total_events_processed"]), (&json!("stopped"), &json!(0)));
    assert!(status["started_at"].is_null() && status["last_event_time"].is_null() && status["last_reconciliation"].is_null());
    let metrics = get(&rig, "/metrics").await;
    assert_eq!(metrics.as_object().unwrap().len(), 8);
    assert!(metrics.as_object().unwrap().values().all(Value::is_null), "{metrics}");
    let health = get(&rig, "/health").await;
    assert_eq!((&health["status"], &health["error"]), (&json!("unhealthy"), &json!("No worker has reported lately")));
    assert!(health["docker_connection"].is_null() && health["monitoring_active"] == false && is_time(&health["timestamp"]));
    assert!(get(&rig, "/config").await.as_object().unwrap().values().all(Value::is_null));
    assert_eq!(get(&rig, "/containers").await, json!([]));
}

#[tokio::test]
async fn what_workers_say_is_told() {
    let rig = Rig::start();
    beats(&rig).await;
    watches(&rig, 0).await;
    service(&rig, "running", "running").await;
    rig.sql(r#"INSERT INTO instance_service.monitor_state VALUES ('reconcile', '{"ok": true}')"#);
    let status = get(&rig, "/status").await;
    let expected = json!({
        "status": "running", "started_at": "2026-11-23T03:04:00.000000+00:00", "last_event_time": "2026-11-23T03:05:00.000000+00:00",
        "total_events_processed": 8, "successful_events": 4, "failed_events": 2, "ignored_events": 1, "duplicate_events": 1,
        "containers_monitored": 1, "last_reconciliation": status["last_reconciliation"],
    });
    assert_eq!(status, expected);
    assert!(is_time(&status["last_reconciliation"]));
    let metrics = get(&rig, "/metrics").await;
    assert_eq!((&metrics["event_processing_latency_ms"], &metrics["error_rate_percent"]), (&json!(12.5), &json!(25.0)));
    assert_eq!((&metrics["memory_usage_mb"], &metrics["cpu_usage_percent"]), (&json!(41.5), &json!(2.0)));
    assert!(metrics["uptime_seconds"].as_i64().unwrap() > 0 && metrics["docker_api_latency_ms"].is_null());
    let health = get(&rig, "/health").await;
    assert_eq!(
        (&health["status"], &health["docker_connection"], &health["monitoring_active"]),
        (&json!("healthy"), &json!(true), &json!(true))
    );
    assert!(health.get("error").is_none());
    // Words that are too old say nothing.
    rig.sql(
        "UPDATE instance_service.monitor_state SET updated_at = now() - interval '2 minutes' WHERE name = 'watcher';
             UPDATE instance_service.worker_heartbeats SET started_at = now() - interval '1 hour'",
    );
    let status = get(&rig, "/status").await;
    assert_eq!((&status["status"], &status["total_events_processed"]), (&json!("error"), &json!(8)), "what was counted stays");
    let health = get(&rig, "/health").await;
    assert_eq!((&health["error"], &health["docker_connection"]), (&json!("The watcher has not reported lately"), &Value::Null));
}

#[tokio::test]
async fn health_is_200_also_without_postgres1() {
    let mut rig = Rig::impatient();
    rig.cluster.stop(testkit::Stop::Immediate).unwrap();
    let health = get(&rig, "/health").await;
    assert_eq!((&health["status"], &health["error"]), (&json!("unhealthy"), &json!("The platform database does not answer")));
}

#[tokio::test]
async fn it_is_stopped_started_and_begun_anew() {
    let rig = Rig::start();
    beats(&rig).await;
    watches(&rig, 0).await;
    let stopped = post(&rig, "/stop", &json!({})).await;
    assert_eq!((&stopped["success"], &stopped["message"]), (&json!(true), &json!("Monitoring stopped")));
    assert!(is_time(&stopped["stopped_at"]));
    assert_eq!(get(&rig, "/status").await["status"], "stopping");
    assert_eq!(get(&rig, "/config").await["auto_start_monitoring"], false);
    post(&rig, "/stop", &json!({})).await;
    let started = post(&rig, "/start", &json!({})).await;
    let task = started["task_id"].as_str().unwrap();
    let queued = rig.sql(&format!("SELECT kind, door, params FROM instance_service.operations WHERE id = '{task}'"));
    assert_eq!(queued, r#"reconcile|internal|{"only": null, "dry_run": false, "force_update": false}"#);
    assert_eq!(get(&rig, "/status").await["status"], "running");
    assert!(post(&rig, "/start", &json!({"auto_reconcile": false})).await["task_id"].is_null());
    rig.sql(r#"UPDATE instance_service.settings SET value = value || '{"asked_at": "2026-01-01T00:00:00Z"}'"#);
    assert_eq!(post(&rig, "/restart", &json!({})).await["task_id"], task, "one comparison is enough");
    assert_eq!(get(&rig, "/status").await["status"], "starting", "the watcher that runs is the one before");
    watches(&rig, 1).await;
    assert_eq!(get(&rig, "/status").await["status"], "running");
    let trail = "SELECT string_agg(action, ' ' ORDER BY id) FROM instance_service.audit_log WHERE action LIKE 'monitoring%'";
    assert_eq!(rig.sql(trail), "monitoring_stop monitoring_stop monitoring_start monitoring_start monitoring_restart");
    let got = rig.post(&format!("{PATH}/start"), &json!({"auto_reconcile": "yes"})).await;
    assert_eq!((got.status, got.places()), (422, vec!["body.auto_reconcile".to_owned()]));
}

#[tokio::test]
async fn a_comparison_is_waited_for_and_followed_by_its_task() {
    let rig = Rig::with(|policy| policy.reconcile_wait = Duration::from_secs(30));
    let body = json!({"dry_run": true, "force_update": true});
    let detail = json!({
        "instance_id": uuid(), "container_name": "odoo-1", "database_status": "running", "docker_status": "failed",
        "expected_status": "error", "needs_update": true, "updated": false, "error_message": null,
    });
    let found = json!({"total_checked": 3, "mismatched": 1, "updated": 0, "errors": 0, "details": [detail]});
    let worker = async {
        let operation = waits(&rig).await;
        let pending = get(&rig, &format!("/tasks/{operation}/status")).await;
        assert_eq!(
            (&pending["status"], &pending["successful"], &pending["failed"]),
            (&json!("PENDING"), &json!(false), &json!(false))
        );
        rig.finish(&operation, &found);
        operation
    };
    let path = format!("{PATH}/reconcile");
    let (got, operation) = tokio::join!(rig.post_with_key(&path, "once", &body), worker);
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!((&got.json["task_id"], &got.json["success"]), (&json!(operation), &json!(true)));
    for field in ["total_checked", "mismatched", "updated", "errors", "details"] {
        assert_eq!(got.json[field], found[field], "{field}");
    }
    assert!(is_time(&got.json["completed_at"]));
    let again = rig.post_with_key(&path, "once", &body).await;
    assert_eq!((again.status, &again.json, again.header("idempotency-replayed")), (200, &got.json, "true"));
    let done = get(&rig, &format!("/tasks/{operation}/status")).await;
    assert_eq!(
        (&done["status"], &done["successful"], &done["result"]["mismatched"]),
        (&json!("SUCCESS"), &json!(true), &json!(1))
    );
    assert_eq!(rig.get(&format!("{PATH}/tasks/{}/status", uuid())).await.status, 404);
}

#[tokio::test]
async fn a_long_comparison_is_answered_with_its_task() {
    let rig = Rig::start();
    let got = rig.post(&format!("{PATH}/reconcile"), &json!({})).await;
    assert_eq!(got.status, 202, "{got:?}");
    let operation = rig.sql("SELECT id FROM instance_service.operations WHERE kind = 'reconcile' AND state = 'queued'");
    assert_eq!(got.json["task_id"], json!(operation));
    for field in ["success", "total_checked", "mismatched", "updated", "errors", "details", "completed_at"] {
        assert!(got.json[field].is_null(), "{got:?}");
    }
    let joined = rig.post(&format!("{PATH}/reconcile"), &json!({})).await;
    assert_eq!(joined.json["task_id"], json!(operation), "an equal one that waits is joined");
}

#[tokio::test]
async fn services_are_told_as_they_were_last_seen() {
    let rig = Rig::start();
    let (_, well) = service(&rig, "running", "running").await;
    let (_, ill) = service(&rig, "error", "unhealthy").await;
    let (_, gone) = service(&rig, "terminated", "absent").await;
    let all = get(&rig, "/containers").await;
    let names: Vec<&str> = all.as_array().unwrap().iter().map(|one| one["container_name"].as_str().unwrap()).collect();
    let mut expected = vec![well.as_str(), ill.as_str()];
    expected.sort_unstable();
    assert_eq!(names, expected, "those of terminated instances are gone: {gone}");
    let one = get(&rig, &format!("/containers/{well}/status")).await;
    assert_eq!(
        (&one["docker_status"], &one["instance_status"], &one["is_healthy"]),
        (&json!("running"), &json!("running"), &Value::Null)
    );
    assert!(["uptime_seconds", "container_id", "restart_count"].iter().all(|unmeasured| one[unmeasured].is_null()), "{one}");
    rig.sql("UPDATE public.instances SET last_health_check = now() WHERE observed_state = 'running'");
    assert_eq!(get(&rig, &format!("/containers/{well}/status")).await["is_healthy"], true);
    assert!(is_time(&one["started_at"]) && is_time(&one["last_checked"]));
    assert_eq!(get(&rig, &format!("/containers/{ill}/status")).await["is_healthy"], false);
    assert_eq!(get(&rig, "/containers?page=2&page_size=1").await.as_array().unwrap().len(), 1);
    for (name, status, detail) in [
        ("odoo-unknown", 404, "Container not found"),
        ("postgres", 400, "Not a SaaS Odoo container"),
        ("odoo-%00", 400, "Not a SaaS Odoo container"),
    ] {
        let got = rig.get(&format!("{PATH}/containers/{name}/status")).await;
        assert_eq!((got.status, got.detail()), (status, detail));
        let got = rig.post(&format!("{PATH}/containers/{name}/sync"), &json!({})).await;
        assert_eq!((got.status, got.detail()), (status, detail));
    }
}

#[tokio::test]
async fn one_service_is_looked_at_by_a_worker() {
    let rig = Rig::with(|policy| policy.reconcile_wait = Duration::from_secs(30));
    let (id, name) = service(&rig, "running", "running").await;
    let worker = async |result: Value| {
        let operation = waits(&rig).await;
        let params = rig.sql(&format!(
            "SELECT params ->> 'dry_run', params ->> 'only' FROM instance_service.operations WHERE id = '{operation}'"
        ));
        assert_eq!(params, format!("true|{id}"));
        rig.finish(&operation, &result);
    };
    let (path, nothing) = (format!("{PATH}/containers/{name}/sync"), json!({}));
    let detail = json!({
        "instance_id": id, "container_name": name, "database_status": "running", "docker_status": "failed",
        "expected_status": "error", "needs_update": true, "updated": false, "error_message": null,
    });
    let found = json!({"total_checked": 1, "mismatched": 1, "updated": 0, "errors": 0, "details": [detail]});
    let (got, ()) = tokio::join!(rig.post(&path, &nothing), worker(found));
    assert_eq!(
        (got.status, &got.json["docker_status"], &got.json["mapped_status"]),
        (200, &json!("failed"), &json!("error")),
        "{got:?}"
    );
    assert_eq!(got.json["metadata"], json!({"instance_id": id, "instance_status": "running", "needs_update": true}));
    assert!(is_time(&got.json["sync_time"]) && got.json["message"] == "The instance is not as its row says");
    let at_work = json!({"total_checked": 0, "mismatched": 0, "updated": 0, "errors": 0, "details": []});
    let (got, ()) = tokio::join!(rig.post(&path, &nothing), worker(at_work));
    assert_eq!(
        (&got.json["docker_status"], &got.json["message"]),
        (&Value::Null, &json!("An operation is at work on this instance"))
    );
    let blind = json!({"total_checked": 0, "mismatched": 0, "updated": 0, "errors": 1, "details": []});
    let (got, ()) = tokio::join!(rig.post_with_key(&path, "once", &nothing), worker(blind));
    assert_eq!((got.status, got.header("retry-after").is_empty()), (503, false), "unreachable is not absent");
    let found = json!({"total_checked": 1, "mismatched": 0, "updated": 0, "errors": 0, "details": []});
    let (got, ()) = tokio::join!(rig.post_with_key(&path, "once", &nothing), worker(found));
    assert_eq!(got.status, 200, "a look that came to nothing is not kept: {got:?}");
}

#[tokio::test]
async fn without_a_worker_nothing_is_looked_at_and_nobody_looks_later() {
    let rig = Rig::start();
    let (_, name) = service(&rig, "running", "running").await;
    let got = rig.post(&format!("{PATH}/containers/{name}/sync"), &json!({})).await;
    assert_eq!((got.status, got.detail()), (503, "No worker looked at the service in time"));
    assert_eq!(rig.sql("SELECT state FROM instance_service.operations WHERE kind = 'reconcile'"), "cancelled");
}

#[tokio::test]
async fn what_has_an_effect_can_be_set_and_nothing_else() {
    let rig = Rig::start();
    beats(&rig).await;
    let configured = json!({
        "auto_start_monitoring": true, "reconcile_interval_seconds": 900, "health_check_interval_seconds": 60, "resume_grace_seconds": 60,
    });
    assert_eq!(get(&rig, "/config").await, configured);
    let put = async |body: Value| {
        let request = axum::http::Request::put(format!("{PATH}/config")).body(axum::body::Body::from(body.to_string()));
        rig.send(request.unwrap()).await
    };
    let got = put(json!({"reconcile_interval_seconds": 30, "resume_grace_seconds": null})).await;
    assert_eq!(
        (got.status, &got.json["reconcile_interval_seconds"], &got.json["resume_grace_seconds"]),
        (200, &json!(30), &json!(60))
    );
    assert_eq!(get(&rig, "/config").await, got.json);
    let wishes = monitoring::wishes(rig.state.db()).await.unwrap();
    assert_eq!((wishes.reconcile_interval_seconds, wishes.resume_grace_seconds, wishes.run), (Some(30), None, None));
    for (body, places) in [
        (json!({"docker_timeout": 3}), vec!["body.docker_timeout"]),
        (json!({"reconcile_interval_seconds": 9}), vec!["body.reconcile_interval_seconds"]),
        (
            json!({"health_check_interval_seconds": "60", "auto_start_monitoring": 1}),
            vec!["body.auto_start_monitoring", "body.health_check_interval_seconds"],
        ),
        (json!({"resume_grace_seconds": 86_401, "reconcile_interval_seconds": 60}), vec!["body.resume_grace_seconds"]),
    ] {
        let got = put(body).await;
        assert_eq!((got.status, got.places()), (422, places.into_iter().map(str::to_owned).collect()));
    }
    assert_eq!(get(&rig, "/config").await["reconcile_interval_seconds"], 30, "nothing is half done");
}
