//! `GET /metrics`

use crate::rig::{Rig, instance_path};
use testkit::Stop;

#[tokio::test]
async fn requests_are_counted_by_route_and_rows_by_status_without_any_id() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    rig.get(&instance_path(&instance, "/status")).await;
    rig.sql("INSERT INTO instance_service.monitor_state (name, value, updated_at) VALUES
             ('watcher', '{\"state\": \"running\"}', now() - interval '1 hour'), ('drift', '{\"report\": {\"strays_in_all\": 3}}', now())");
    rig.get("/no/such/path").await;
    let text = rig.get("/metrics").await.text;
    let lines = [
        r#"http_requests_total{method="GET",route="/api/v1/instances/{id}/status",status="200"} 1"#,
        r#"http_requests_total{method="POST",route="/api/v1/instances",status="201"} 1"#,
        r#"http_requests_total{method="GET",route="none",status="404"} 1"#,
        r#"instances{status="creating"} 1"#,
        r#"operations{kind="provision",state="queued"} 1"#,
        "postgres1_up 1",
        "outbox_dead 0",
        "watcher_up 0",
        r#"drift{kind="strays"} 3"#,
        "http_request_duration_seconds_bucket",
    ];
    for line in lines {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for id in ["id", "customer_id", "subscription_id", "database_name"] {
        assert!(!text.contains(instance[id].as_str().unwrap()), "{id} is in\n{text}");
    }
}

#[tokio::test]
async fn a_status_that_no_instance_has_any_more_leaves_the_page() {
    let rig = Rig::start();
    let instance = rig.created().await;
    assert!(rig.get("/metrics").await.text.contains(r#"instances{status="creating"} 1"#));
    rig.delete(&instance_path(&instance, "")).await;
    let text = rig.get("/metrics").await.text;
    assert!(!text.contains(r#"instances{status="creating"}"#) && text.contains(r#"instances{status="terminated"} 1"#), "{text}");
}

#[tokio::test]
async fn the_page_is_there_while_postgres1_is_not() {
    let mut rig = Rig::impatient();
    rig.cluster.stop(Stop::Immediate).unwrap();
    let got = rig.get("/metrics").await;
    assert!(got.status == 200 && got.text.contains("postgres1_up 0"), "{got:?}");
}

#[tokio::test]
async fn postgres1_is_up_also_without_the_schema() {
    let got = Rig::unmigrated().get("/metrics").await;
    assert!(got.status == 200 && got.text.contains("postgres1_up 1"), "{got:?}");
}
