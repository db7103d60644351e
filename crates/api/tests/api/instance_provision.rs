//! `POST /api/v1/instances/{id}/provision`

use crate::rig::{Got, Rig, instance_path, is_time, order_with, uuid};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

async fn provision(rig: &Rig, instance: &Value, body: Value) -> Got {
    rig.post(&instance_path(instance, "/provision"), &body).await
}

fn status(got: &Got) -> (&str, &str) {
    (got.json["status"].as_str().unwrap(), got.json["message"].as_str().unwrap())
}

#[tokio::test]
async fn a_pending_instance_is_provisioned_once() {
    let rig = Rig::start();
    let instance = rig.created().await;
    for trigger in ["subscription_created", "invoice_payment_success"] {
        let got = provision(&rig, &instance, json!({"billing_status": "trial", "provisioning_trigger": trigger})).await;
        assert_eq!(got.status, 200);
        if trigger == "subscription_created" {
            assert_eq!(status(&got), ("success", "Instance provisioning started"));
            assert_eq!(got.json["billing_status"], "trial");
            assert!(is_time(&got.json["timestamp"]));
            assert_eq!(rig.sql("SELECT id FROM instance_service.operations"), got.json["job_id"].as_str().unwrap());
        } else {
            assert_eq!(status(&got), ("skipped", "Instance not in pending state (current: provisioning)"));
            let fields: Vec<&String> = got.json.as_object().unwrap().keys().collect();
            assert_eq!(fields, ["message", "status", "timestamp"]);
        }
    }
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations"), "1");
    assert_eq!(rig.get(&instance_path(&instance, "/status")).await.json["billing_status"], "trial");
}

#[tokio::test]
async fn a_call_without_body_means_paid() {
    let rig = Rig::start();
    let instance = rig.post("/api/v1/instances/", &order_with(json!({"billing_status": "payment_required"}))).await.json;
    let request = Request::post(instance_path(&instance, "/provision")).body(Body::empty()).unwrap();
    let got = rig.send(request).await;
    assert_eq!((status(&got), &got.json["billing_status"]), (("success", "Instance provisioning started"), &"paid".into()));
}

#[tokio::test]
async fn billing_updates_change_nothing_else_in_any_status() {
    let rig = Rig::start();
    let instance = rig.created().await;
    let cases = [
        ("trial_expired_billing_update", "payment_required", "Billing status updated to payment_required"),
        ("invoice_payment_success_billing_update", "paid", "Billing status updated to paid"),
        ("invoice_write_off_billing_resolved", "trial", "Billing status updated to trial after invoice write-off"),
    ];
    for terminated in [false, true] {
        if terminated {
            rig.post(&instance_path(&instance, "/actions"), &json!({"action": "terminate"})).await;
        }
        let before = rig.sql("SELECT status, provisioning_status, phase, desired_state FROM public.instances");
        for (trigger, billing, message) in cases {
            let got = provision(&rig, &instance, json!({"billing_status": billing, "provisioning_trigger": trigger})).await;
            assert_eq!((got.status, status(&got)), (200, ("success", message)));
            assert_eq!((&got.json["billing_status"], got.json.get("job_id")), (&billing.into(), None));
            assert_eq!(rig.sql("SELECT billing_status FROM public.instances"), billing);
        }
        assert_eq!(rig.sql("SELECT status, provisioning_status, phase, desired_state FROM public.instances"), before);
    }
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations"), "0");
}

#[tokio::test]
async fn a_terminated_instance_is_not_brought_back() {
    let rig = Rig::start();
    let instance = rig.created().await;
    rig.post(&instance_path(&instance, "/actions"), &json!({"action": "terminate"})).await;
    let before = rig.rows();
    let got = provision(&rig, &instance, json!({})).await;
    assert_eq!((status(&got), rig.rows()), (("skipped", "Instance is terminated"), before));
}

#[tokio::test]
async fn everything_is_checked_before_anything_is_written() {
    let rig = Rig::start();
    let instance = rig.created().await;
    let before = rig.rows();
    let cases = [
        (json!({"billing_status": "gold"}), "body.billing_status"),
        (json!({"billing_status": 1}), "body.billing_status"),
        (json!({"subscription_id": "mine"}), "body.subscription_id"),
        (json!({"provisioning_trigger": ["a"]}), "body.provisioning_trigger"),
    ];
    for (body, place) in cases {
        let got = provision(&rig, &instance, body).await;
        assert_eq!((got.status, got.places()), (422, vec![place.to_owned()]));
    }
    assert_eq!(rig.rows(), before);
}

#[tokio::test]
async fn a_subscription_of_another_live_instance_is_a_conflict_and_writes_nothing() {
    let rig = Rig::start();
    let (instance, other) = (rig.created().await, rig.created().await);
    let before = rig.rows();
    let got = provision(&rig, &instance, json!({"subscription_id": other["subscription_id"]})).await;
    assert_eq!((got.status, rig.rows()), (409, before));
    let fresh = uuid();
    let got = provision(&rig, &instance, json!({"subscription_id": fresh})).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(rig.get(&instance_path(&instance, "")).await.json["subscription_id"], *fresh);
}

#[tokio::test]
async fn an_unknown_instance_is_not_found() {
    let got = Rig::start().post(&format!("/api/v1/instances/{}/provision", uuid()), &json!({})).await;
    assert_eq!((got.status, got.detail()), (404, "Instance not found"));
}

/// A text that is only noted is told with every event of the operation, but it is no reason to refuse.
#[tokio::test]
async fn a_long_reason_is_cut_to_500_characters_and_loses_its_nul() {
    let rig = Rig::start();
    let instance = rig.created().await;
    let long = format!("\u{0}{}", "ä".repeat(501));
    let noted = "ä".repeat(500);
    for (path, body, reason) in [
        ("/provision", json!({"triggered_by": long}), "SELECT reason FROM instance_service.operations"),
        (
            "/actions",
            json!({"action": "terminate", "parameters": {"reason": long}}),
            "SELECT details->>'reason' FROM instance_service.audit_log WHERE action = 'terminate'",
        ),
    ] {
        let got = rig.post(&instance_path(&instance, path), &body).await;
        assert_eq!((got.status, &got.json["status"]), (200, &"success".into()), "{got:?}");
        assert_eq!(rig.sql(reason), noted);
    }
    let got = provision(&rig, &rig.created().await, json!({"provisioning_trigger": long})).await;
    assert_eq!(got.json["status"], "success", "{got:?}");
}
