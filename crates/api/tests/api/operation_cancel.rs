//! `POST /api/v1/operations/{id}/cancel`

use crate::rig::{Got, Rig, instance_path, uuid};
use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

async fn cancel(rig: &Rig, operation: &Value) -> Got {
    let path = format!("/api/v1/operations/{}/cancel", operation.as_str().unwrap());
    rig.send(Request::post(path).body(Body::empty()).unwrap()).await
}

fn set(rig: &Rig, operation: &Value, columns: &str) {
    rig.sql(&format!("UPDATE instance_service.operations SET {columns} WHERE id = '{}'", operation.as_str().unwrap()));
}

#[tokio::test]
async fn a_queued_operation_is_cancelled_now_and_the_row_no_longer_waits_for_it() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    let got = cancel(&rig, &instance["operation_id"]).await;
    assert_eq!((got.status, &got.json["state"], &got.json["cancel_requested"]), (202, &"cancelled".into(), &true.into()));
    let row = rig.get(&instance_path(&instance, "")).await.json;
    assert_eq!((&row["provisioning_status"], &row["operation_id"]), (&"failed".into(), &Value::Null));
    let again = cancel(&rig, &instance["operation_id"]).await;
    assert_eq!((again.status, again.detail()), (409, "The operation has already ended"));
}

#[tokio::test]
async fn an_active_operation_is_asked_to_give_up() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    set(&rig, &instance["operation_id"], "state = 'running'");
    for _ in 0..2 {
        let got = cancel(&rig, &instance["operation_id"]).await;
        assert_eq!((got.status, &got.json["state"], &got.json["cancel_requested"]), (202, &"running".into(), &true.into()));
    }
}

#[tokio::test]
async fn what_cannot_be_cancelled_is_a_conflict() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    set(&rig, &instance["operation_id"], "state = 'running', past_return = true");
    let got = cancel(&rig, &instance["operation_id"]).await;
    assert_eq!((got.status, got.detail()), (409, "The operation is past its point of no return"));
    set(&rig, &instance["operation_id"], "state = 'needs_attention', past_return = false");
    let got = cancel(&rig, &instance["operation_id"]).await;
    assert_eq!((got.status, got.detail()), (409, "The operation could not be finished and waits for an operator"));
    let other = rig.created().await;
    let delete = rig.delete(&instance_path(&other, "")).await.json;
    let got = cancel(&rig, &delete["job_id"]).await;
    assert_eq!((got.status, got.detail()), (409, "This kind of operation cannot be cancelled"));
}

#[tokio::test]
async fn an_unknown_operation_is_not_found() {
    let got = cancel(&Rig::start(), &uuid().into()).await;
    assert_eq!((got.status, got.detail()), (404, "Operation not found"));
}
