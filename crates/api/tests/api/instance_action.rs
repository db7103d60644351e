//! `POST /api/v1/instances/{id}/actions`

use crate::rig::{Rig, instance_path, is_time, uuid};
use db::platform::PlatformTx;
use db::platform::instances;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn terminate_succeeds_at_once_and_when_repeated() {
    let rig = Rig::start();
    let instance = rig.created().await;
    let body = json!({"action": "terminate", "parameters": {"reason": "Subscription cancelled"}});
    for _ in 0..2 {
        let got = rig.post(&instance_path(&instance, "/actions"), &body).await;
        assert!(got.status == 200 && is_time(&got.json["timestamp"]), "{got:?}");
        let expected = json!({
            "instance_id": instance["id"], "action": "terminate", "status": "success",
            "message": "Instance terminated successfully", "timestamp": got.json["timestamp"], "job_id": null,
        });
        assert_eq!(got.json, expected);
    }
    let row = rig.get(&instance_path(&instance, "")).await.json;
    assert_eq!(row["status"], "terminated");
    let reason = "Instance terminated due to subscription cancellation (Subscription cancelled)";
    assert_eq!(row["error_message"], reason);
}

#[tokio::test]
async fn terminate_takes_a_provisioning_with_it() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    let got = rig.post(&instance_path(&instance, "/actions"), &json!({"action": "terminate"})).await;
    assert_eq!(got.status, 200);
    assert_eq!(rig.sql("SELECT state FROM instance_service.operations WHERE kind = 'provision'"), "cancelled");
}

#[tokio::test]
async fn unknown_instances_and_words_are_told_apart() {
    let rig = Rig::start();
    let instance = rig.created().await;
    let before = rig.rows();
    for word in ["start", "stop", "restart", "update", "backup", "restore", "suspend", "unsuspend", "unpause"] {
        let unknown = rig.post(&format!("/api/v1/instances/{}/actions", uuid()), &json!({"action": word})).await;
        assert_eq!((unknown.status, unknown.detail()), (404, "Instance not found"), "{word}");
    }
    let cases = [
        (json!({"action": "explode"}), "body.action"),
        (json!({"action": "TERMINATE"}), "body.action"),
        (json!({"action": 1}), "body.action"),
        (json!({}), "body.action"),
        (json!({"action": "terminate", "parameters": []}), "body.parameters"),
        (json!({"action": "terminate", "parameters": {"reason": 5}}), "body.parameters.reason"),
        (json!({"action": "backup", "parameters": {"name": 5}}), "body.parameters.name"),
        (json!({"action": "backup", "parameters": {"name": "n".repeat(101)}}), "body.parameters.name"),
        (json!({"action": "restore", "parameters": {"backup_id": 5}}), "body.parameters.backup_id"),
    ];
    for (body, place) in cases {
        let got = rig.post(&instance_path(&instance, "/actions"), &body).await;
        assert_eq!((got.status, got.places()), (422, vec![place.to_owned()]), "{body}");
    }
    assert_eq!(rig.rows(), before);
}

/// Contract 1: every request that changes something answers within five seconds.
#[tokio::test]
async fn a_row_that_somebody_else_holds_is_waited_for_two_seconds() {
    let rig = Rig::start();
    let instance = rig.created().await;
    // It ends after five seconds, as every idle transaction does: whoever waits longer is served.
    let _holder = held(&rig, &instance).await;
    let got = rig.post(&instance_path(&instance, "/actions"), &json!({"action": "terminate"})).await;
    assert_eq!((got.status, got.header("retry-after").is_empty()), (503, false), "{got:?}");
}

/// The row in the hands of somebody else.
async fn held(rig: &Rig, instance: &Value) -> PlatformTx {
    let mut tx = rig.state.db().begin().await.unwrap();
    instances::lock(&mut tx, instance["id"].as_str().unwrap().parse().unwrap()).await.unwrap().unwrap();
    tx
}

#[tokio::test]
async fn a_change_that_takes_too_long_is_given_up() {
    let rig = Rig::with(|policy| policy.change_limit = Duration::from_millis(1500));
    let instance = rig.created().await;
    let _holder = held(&rig, &instance).await;
    let got = rig.post(&instance_path(&instance, "/actions"), &json!({"action": "terminate"})).await;
    assert_eq!((got.status, got.detail()), (503, "The request took too long"), "{got:?}");
}
