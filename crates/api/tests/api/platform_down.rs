//! postgres1 is down (contract 10, engine F11-F16).

use crate::rig::{Rig, instance_path, order, uuid};
use serde_json::json;
use std::time::Duration;
use testkit::Stop;

/// Some time for a busy machine, and less than the time limit of a request, which answers 503 as well.
const BOUND: Duration = Duration::from_secs(20);

#[tokio::test]
async fn requests_are_answered_503_in_time_and_served_again_afterwards() {
    let mut rig = Rig::impatient();
    let instance = rig.created().await;
    rig.cluster.stop(Stop::Immediate).unwrap();
    let gets = [
        "/readyz".to_owned(),
        "/api/v1/operations".to_owned(),
        instance_path(&instance, ""),
        format!("/api/v1/instances?customer_id={}", uuid()),
    ];
    for path in gets {
        let got = tokio::time::timeout(BOUND, rig.get(&path)).await.unwrap();
        assert_eq!((got.status, got.header("retry-after").is_empty()), (503, false), "{path}");
    }
    assert_eq!(rig.post("/api/v1/instances/", &order()).await.status, 503);
    assert_eq!(rig.post(&instance_path(&instance, "/provision"), &json!({})).await.status, 503);
    assert_eq!(rig.delete(&instance_path(&instance, "")).await.status, 503);
    rig.cluster.start_again().unwrap();
    assert_eq!(rig.get("/readyz").await.status, 200);
    assert_eq!(rig.get(&instance_path(&instance, "")).await.json, instance);
}

#[tokio::test]
async fn it_starts_while_postgres1_is_down() {
    let mut rig = Rig::impatient();
    rig.cluster.stop(Stop::Immediate).unwrap();
    assert_eq!(rig.get("/api/v1/operations").await.status, 503);
    assert_eq!(rig.get("/health").await.status, 200);
    rig.cluster.start_again().unwrap();
    assert_eq!(rig.get("/api/v1/operations").await.status, 200);
}

#[tokio::test]
async fn connections_that_were_cut_cost_no_answer() {
    let rig = Rig::impatient();
    let path = instance_path(&rig.created().await, "");
    let list = format!("/api/v1/instances?customer_id={}", uuid());
    // Several at once, so that several connections are open, those at hand for reads among them.
    let ask = || async { tokio::join!(rig.get(&path), rig.get(&path), rig.get(&list), rig.get("/api/v1/operations")) };
    ask().await;
    rig.sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'instance_service'");
    let answers: [_; 4] = ask().await.into();
    assert_eq!(answers.map(|answer| answer.status), [200; 4]);
    assert_eq!(rig.post("/api/v1/instances/", &order()).await.status, 201);
}

#[tokio::test]
async fn a_server_without_a_free_connection_is_a_503() {
    let rig = Rig::impatient();
    rig.sql("ALTER ROLE instance_service CONNECTION LIMIT 0");
    let got = rig.get("/api/v1/operations").await;
    assert_eq!((got.status, got.header("retry-after").is_empty()), (503, false));
}
