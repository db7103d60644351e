//! Suspension, reactivation, changes of an order and of limits: what billing calls, and what it finds in the row afterwards.

use crate::rig::{Got, Rig, instance_path, is_time, order, order_with, uuid};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

async fn act(rig: &Rig, instance: &Value, action: &str, reason: &str) -> Got {
    rig.post(&instance_path(instance, "/actions"), &json!({ "action": action, "parameters": { "reason": reason } })).await
}

async fn put(rig: &Rig, instance: &Value, body: &Value) -> Got {
    let request = Request::put(instance_path(instance, "")).body(Body::from(body.to_string())).unwrap();
    rig.send(request).await
}

async fn billing(rig: &Rig, instance: &Value, status: &str) {
    let body = json!({ "billing_status": status, "provisioning_trigger": "invoice_payment_success_billing_update" });
    assert_eq!(rig.post(&instance_path(instance, "/provision"), &body).await.status, 200);
}

/// An instance with data, as after its provisioning.
async fn running(rig: &Rig) -> Value {
    let instance = rig.created().await;
    rig.sql(&format!(
        "UPDATE public.instances SET status = 'running', desired_state = 'running', phase = 'ready', provisioning_status = 'completed'
          WHERE id = '{}'",
        id(&instance)
    ));
    instance
}

fn id(instance: &Value) -> &str {
    instance["id"].as_str().unwrap()
}

fn column(rig: &Rig, instance: &Value, columns: &str) -> String {
    rig.sql(&format!("SELECT {columns} FROM public.instances WHERE id = '{}'", id(instance)))
}

fn kinds(rig: &Rig, instance: &Value) -> String {
    let ordered =
        "SELECT string_agg(kind, ' ' ORDER BY seq) FROM instance_service.operations WHERE state = 'queued' AND instance_id =";
    rig.sql(&format!("{ordered} '{}'", id(instance)))
}

#[tokio::test]
async fn a_debt_takes_it_down_and_a_payment_brings_it_back() {
    let rig = Rig::start();
    let instance = running(&rig).await;
    for _ in 0..2 {
        let got = act(&rig, &instance, "suspend", "Payment failed for invoice 7").await;
        assert_eq!((got.status, &got.json["status"]), (200, &json!("success")), "{got:?}");
        assert_eq!(got.json["message"], "Instance suspended successfully");
    }
    let said =
        column(&rig, &instance, "status, suspension, billing_status, desired_state, resume_to, suspension_reason, error_message");
    let reason = "Payment failed for invoice 7";
    let expected =
        format!("paused|debt|payment_required|stopped|running|{reason}|Instance suspended due to billing issues ({reason})");
    assert_eq!(said, expected);
    assert_eq!(act(&rig, &instance, "start", "").await.status, 402);
    billing(&rig, &instance, "paid").await;
    assert_eq!(column(&rig, &instance, "status"), "paused", "a billing update alone moves nothing");
    let got = act(&rig, &instance, "start", "").await;
    assert_eq!(got.json["status"], "queued");
    assert_eq!(column(&rig, &instance, "status, suspension, resume_to IS NULL"), "starting|none|t");
    assert_eq!(kinds(&rig, &instance), "start");
}

#[tokio::test]
async fn unsuspending_starts_what_ran_and_is_paid() {
    let rig = Rig::start();
    for (billing_status, status, kind) in [("paid", "starting", "start"), ("payment_required", "stopped", "")] {
        let instance = running(&rig).await;
        act(&rig, &instance, "suspend", "overdue").await;
        billing(&rig, &instance, billing_status).await;
        let got = act(&rig, &instance, "unsuspend", "paid by bank transfer").await;
        assert_eq!(got.json["message"], "Instance unsuspended successfully", "{got:?}");
        assert_eq!((column(&rig, &instance, "status").as_str(), kinds(&rig, &instance).as_str()), (status, kind));
        assert_eq!(got.json["job_id"].is_string(), kind == "start");
        assert_eq!(act(&rig, &instance, "unsuspend", "").await.status, 400, "it is not suspended any more");
    }
}

/// A provisioning that gives up while its suspension is lifted: the new one waits behind it, and nothing is stuck.
#[tokio::test]
async fn a_suspended_provisioning_is_ordered_again_when_it_is_paid() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    rig.sql("UPDATE instance_service.operations SET state = 'running', lease_token = 1, started_at = now()");
    act(&rig, &instance, "suspend", "overdue").await;
    billing(&rig, &instance, "paid").await;
    let got = act(&rig, &instance, "unsuspend", "").await;
    assert_eq!((got.status, got.json["job_id"].is_string()), (200, true), "{got:?}");
    assert_eq!(column(&rig, &instance, "status, provisioning_status"), "starting|provisioning");
    assert_eq!(kinds(&rig, &instance), "suspend provision");
}

#[tokio::test]
async fn a_return_is_ordered_then_paid_and_the_address_is_the_same() {
    let rig = Rig::start();
    let instance = running(&rig).await;
    let host = column(&rig, &instance, "hostname");
    let path = instance_path(&instance, "/restart-with-subscription");
    let subscription = uuid();
    let ordered = json!({ "subscription_id": subscription, "billing_status": "payment_required", "skip_status_change": true });
    let early = rig.post(&path, &ordered).await;
    assert_eq!(early.status, 400);
    assert_eq!(early.detail(), "Instance must be terminated to restart with new subscription (current: running)");
    act(&rig, &instance, "terminate", "cancelled").await;
    for _ in 0..2 {
        let got = rig.post(&path, &ordered).await;
        assert_eq!((got.status, &got.json["instance_status"], &got.json["job_id"]), (200, &json!("terminated"), &Value::Null));
        assert!(is_time(&got.json["timestamp"]));
    }
    let found = rig.get(&format!("/api/v1/instances/by-subscription/{subscription}")).await;
    assert_eq!((found.status, &found.json["id"]), (200, &instance["id"]));
    let second = rig.post("/api/v1/instances/", &order_with(json!({ "subscription_id": subscription }))).await;
    assert_eq!(second.status, 409, "the subscription waits for its instance: {second:?}");

    let paid = json!({ "subscription_id": subscription });
    let got = rig.post(&path, &paid).await;
    assert_eq!(got.json["message"], format!("Instance reactivated with subscription {subscription} - status: starting"));
    assert_eq!((&got.json["billing_status"], got.json["job_id"].is_string()), (&json!("paid"), true));
    assert_eq!(column(&rig, &instance, "status, desired_state, provisioning_status"), "starting|running|completed");
    assert_eq!(column(&rig, &instance, "hostname"), host);
    assert_eq!(kinds(&rig, &instance), "reactivate");
    assert_eq!(rig.post(&path, &paid).await.status, 400, "renewals send it again");
    for body in [json!({}), json!({ "subscription_id": null })] {
        assert_eq!(rig.post(&path, &body).await.status, 400, "{body}");
    }
    assert_eq!(rig.post(&path, &json!({ "subscription_id": "7" })).await.status, 422);
}

#[tokio::test]
async fn a_return_without_data_is_a_provisioning_and_what_is_taken_meanwhile_is_told() {
    let rig = Rig::start();
    let back = |instance: &Value| (instance_path(instance, "/restart-with-subscription"), json!({ "subscription_id": uuid() }));
    let never = rig.created().await;
    act(&rig, &never, "terminate", "cancelled").await;
    let (path, body) = back(&never);
    assert_eq!(rig.post(&path, &body).await.status, 200);
    assert_eq!(kinds(&rig, &never), "provision");

    let named = rig.post("/api/v1/instances/", &order_with(json!({ "subdomain": "corner-shop" }))).await.json;
    act(&rig, &named, "terminate", "cancelled").await;
    let heir = rig.post("/api/v1/instances/", &order_with(json!({ "subdomain": "corner-shop" }))).await;
    assert_eq!(heir.status, 201);
    let (path, body) = back(&named);
    let got = rig.post(&path, &body).await;
    assert_eq!((got.status, got.detail()), (409, "Subdomain 'corner-shop' is already taken"));
    let taken = json!({ "subscription_id": heir.json["subscription_id"] });
    assert_eq!(rig.post(&path, &taken).await.status, 409);
    assert_eq!(column(&rig, &named, "status, awaiting_reactivation"), "terminated|f", "nothing is half-written");

    let gone = rig.created().await;
    rig.delete(&instance_path(&gone, "")).await;
    let (path, body) = back(&gone);
    assert_eq!(rig.post(&path, &body).await.status, 409);
    assert_eq!(rig.post(&format!("/api/v1/instances/{}/restart-with-subscription", uuid()), &body).await.status, 404);
}

#[tokio::test]
async fn a_change_is_stored_whole_or_not_at_all() {
    let rig = Rig::start();
    let instance = running(&rig).await;
    let got = put(
        &rig,
        &instance,
        &json!({ "name": "Shop of the south", "cpu_limit": 2.25, "memory_limit": "4g", "metadata": { "plan": "large" },
                 "description": null, "customer_id": 7, "status": "terminated" }),
    )
    .await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(
        (&got.json["name"], &got.json["cpu_limit"], &got.json["memory_limit"]),
        (&json!("Shop of the south"), &json!(2.25), &json!("4G"))
    );
    assert_eq!((&got.json["metadata"], &got.json["status"]), (&json!({ "plan": "large" }), &json!("running")));
    assert_eq!(got.json, rig.get(&instance_path(&instance, "")).await.json, "the whole object");
    assert_eq!(column(&rig, &instance, "resources_pending, running_limits ->> 'memory_limit'"), "t|2G");
    let before = rig.rows();
    for (body, status) in [
        (json!({ "cpu_limit": 99 }), 422),
        (json!({ "name": "ok", "memory_limit": "0G" }), 400),
        (json!({ "environment_vars": { "PGHOST": "x" } }), 400),
        (json!({ "custom_addons": ["a", "a"] }), 400),
        (json!({ "metadata": [] }), 422),
        (json!({}), 200),
    ] {
        assert_eq!(put(&rig, &instance, &body).await.status, status, "{body}");
    }
    assert_eq!(rig.rows(), before);
    put(&rig, &instance, &json!({ "cpu_limit": 1.5, "memory_limit": "2G" })).await;
    assert_eq!(column(&rig, &instance, "resources_pending, running_limits IS NULL"), "f|t", "back where it was");
    let audit = rig.sql("SELECT details FROM instance_service.audit_log WHERE action = 'amend' ORDER BY id LIMIT 1");
    assert_eq!(audit, r#"{"fields": ["name", "cpu_limit", "memory_limit", "metadata"]}"#);
    rig.delete(&instance_path(&instance, "")).await;
    assert_eq!(put(&rig, &instance, &json!({ "name": "late" })).await.status, 409);
    assert_eq!(put(&rig, &json!({ "id": uuid() }), &json!({ "name": "x" })).await.status, 404);
}

#[tokio::test]
async fn new_limits_reach_what_runs_and_wait_for_everything_else() {
    let rig = Rig::start();
    let instance = running(&rig).await;
    put(&rig, &instance, &json!({ "cpu_limit": 3 })).await;
    let path = instance_path(&instance, "/apply-resources");
    let first = rig.post(&path, &json!({})).await;
    assert_eq!((first.status, &first.json["applied"], &first.json["cpu_limit"]), (200, &json!(false), &json!(3.0)), "{first:?}");
    let again = rig.send(Request::post(&path).body(Body::empty()).unwrap()).await;
    assert_eq!(again.json["job_id"], first.json["job_id"], "one that waits does for both");
    assert_eq!(kinds(&rig, &instance), "apply_resources");
    let stopped = rig.post("/api/v1/instances/", &order()).await.json;
    let got = rig.post(&instance_path(&stopped, "/apply-resources"), &json!({})).await;
    assert_eq!((got.status, &got.json["job_id"], &got.json["status"]), (200, &Value::Null, &json!("success")));
    rig.delete(&instance_path(&stopped, "")).await;
    assert_eq!(rig.post(&instance_path(&stopped, "/apply-resources"), &json!({})).await.status, 409);
}

#[tokio::test]
async fn what_is_cancelled_before_it_began_is_taken_back() {
    let rig = Rig::start();
    for (action, before) in [("stop", "running|running"), ("restart", "running|running")] {
        let instance = running(&rig).await;
        let job = act(&rig, &instance, action, "").await.json["job_id"].as_str().unwrap().to_owned();
        assert_ne!(column(&rig, &instance, "status"), "running");
        let got = rig.post(&format!("/api/v1/operations/{job}/cancel"), &json!({})).await;
        assert_eq!((got.status, &got.json["state"]), (202, &json!("cancelled")), "{got:?}");
        assert_eq!(column(&rig, &instance, "status, desired_state"), before, "{action}");
    }
    let instance = running(&rig).await;
    act(&rig, &instance, "suspend", "overdue").await;
    billing(&rig, &instance, "paid").await;
    let job = act(&rig, &instance, "start", "").await.json["job_id"].as_str().unwrap().to_owned();
    rig.post(&format!("/api/v1/operations/{job}/cancel"), &json!({})).await;
    assert_eq!(column(&rig, &instance, "status, suspension, desired_state"), "stopped|none|stopped", "a paid debt is not back");
}
