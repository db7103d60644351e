//! Heartbeats, the health port, and retention.

use crate::rig::{Rig, setup};
use bootstrap::{OsEntropy, http, telemetry};
use db::platform::{PlatformDb, PoolLimits, heartbeats};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use worker::reconcile::Round;
use worker::reconcile::retention::Retention;
use worker::vitals::{Heartbeat, Port, Readiness, check};

#[tokio::test]
async fn a_worker_is_well_while_it_beats_and_leaves_in_good_order() {
    let rig = Rig::start();
    assert!(!check(&rig.db, "here").await.unwrap());
    let stop = CancellationToken::new();
    let heartbeat =
        Heartbeat { db: rig.db.clone(), worker: "w-1".into(), host: "here".into(), runtime: "process", monitoring: setup() };
    let beating = tokio::spawn(heartbeat.run(stop.clone()));
    let well = async {
        while !check(&rig.db, "here").await.unwrap() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), well).await.unwrap();
    assert!(!check(&rig.db, "elsewhere").await.unwrap());
    rig.sql("UPDATE instance_service.worker_heartbeats SET beat_at = beat_at - interval '1 minute'");
    assert!(!check(&rig.db, "here").await.unwrap(), "a silent worker is not well");
    stop.cancel();
    beating.await.unwrap();
    assert!(heartbeats::fresh(&rig.db, Duration::from_secs(3600)).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_port_tells_life_readiness_and_metrics_apart() {
    let mut rig = Rig::start();
    let limits = PoolLimits { acquire_timeout: Duration::from_millis(500), ..PoolLimits::default() };
    let db = PlatformDb::connect_lazy(&rig.platform.platform(), &limits, "test");
    let leaving = CancellationToken::new();
    let readiness = Readiness::until(leaving.clone());
    let metrics = telemetry::install_metrics().unwrap();
    metrics::counter!("test_total").increment(3);
    let stop = CancellationToken::new();
    let port = Port { db, metrics, readiness: readiness.clone() };
    let (address, serve) = port.open("127.0.0.1:0".parse().unwrap(), stop.clone()).await.unwrap();
    let serving = tokio::spawn(serve);
    let client = http::client(Duration::from_secs(5)).unwrap();
    let get = |path: &'static str| {
        let request = client.get(format!("http://{address}{path}"));
        async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }
    };
    assert_eq!(get("/readyz").await.0, 503, "not started yet");
    readiness.started();
    assert_eq!(get("/readyz").await, (200, "ready\n".to_owned()));
    assert!(get("/metrics").await.1.contains("test_total 3"));
    rig.platform.postgres1.stop(testkit::Stop::Immediate).unwrap();
    assert_eq!(get("/readyz").await, (503, "postgres1 does not answer\n".to_owned()));
    leaving.cancel();
    assert_eq!(get("/readyz").await, (503, "starting or stopping\n".to_owned()));
    assert_eq!(get("/livez").await.0, 200, "it lives all the same");
    stop.cancel();
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn retention_removes_only_what_is_old() {
    let rig = Rig::start();
    let instance = rig.instance("running", "running").await;
    let operation = rig.operation(instance, "succeeded");
    rig.sql(&format!(
        "INSERT INTO instance_service.operation_events (operation_id, event, data, created_at) VALUES
            ('{operation}', 'step', '{{}}', now() - interval '31 days'), ('{operation}', 'step', '{{}}', now() - interval '29 days');
         INSERT INTO instance_service.idempotency_keys (scope, key, body_hash, status, body, expires_at) VALUES
            ('s', 'old', '', 200, '{{}}', now() - interval '1 second'), ('s', 'new', '', 200, '{{}}', now() + interval '1 hour');
         INSERT INTO instance_service.outbox (id, operation_id, customer_id, template, variables, secret, created_at) VALUES
            (gen_random_uuid(), '{operation}', '{operation}', 'old', '{{}}', 'x', now() - interval '8 days'),
            (gen_random_uuid(), '{operation}', '{operation}', 'new', '{{}}', 'x', now() - interval '6 days');
         INSERT INTO instance_service.worker_heartbeats (worker, host, version, beat_at) VALUES
            ('old', 'h', '1', now() - interval '2 days'), ('new', 'h', '1', now())"
    ));
    let report = Retention { db: rig.db.clone(), entropy: Arc::new(OsEntropy) }.round().await.unwrap();
    for part in ["events", "idempotency_keys", "secrets_erased", "heartbeats"] {
        assert_eq!(report[part], 1, "{part}: {report}");
    }
    assert_eq!(rig.sql("SELECT template FROM instance_service.outbox WHERE secret IS NOT NULL"), "new");
    assert_eq!(rig.sql("SELECT key FROM instance_service.idempotency_keys"), "new");
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operation_events"), "1");
    assert_eq!(rig.sql("SELECT worker FROM instance_service.worker_heartbeats"), "new");
}
