//! `/admin`: what operators see and ask for.

use crate::rig::{Rig, instance_path, uuid};
use serde_json::{Value, json};

fn id(instance: &Value) -> &str {
    instance["id"].as_str().unwrap()
}

#[tokio::test]
async fn failed_instances_are_counted_whole_and_tried_again() {
    let rig = Rig::start();
    let mut failed = Vec::new();
    for number in 0..3 {
        let instance = rig.created().await;
        rig.sql(&format!(
            "UPDATE public.instances SET status = 'error', provisioning_status = 'failed', error_message = 'no room {number}',
                    updated_at = now() + interval '{number} s' WHERE id = '{}'",
            id(&instance)
        ));
        failed.push(instance);
    }
    rig.created().await;
    let got = rig.get("/admin/failed-instances?page=1&page_size=2").await;
    assert_eq!((&got.json["count"], got.json["failed_instances"].as_array().unwrap().len()), (&json!(3), 2));
    assert_eq!(got.json["failed_instances"][0]["error_message"], "no room 2", "the newest change first");
    assert_eq!(rig.get("/admin/failed-instances?page=0").await.status, 422);

    let path = format!("/admin/retry-instance/{}", id(&failed[0]));
    let got = rig.post(&path, &json!({})).await;
    assert_eq!((got.status, &got.json["instance_id"]), (200, &failed[0]["id"]), "{got:?}");
    assert_eq!(rig.sql("SELECT kind FROM instance_service.operations"), "provision");
    let again = rig.post(&path, &json!({})).await;
    assert_eq!((again.status, again.detail()), (400, "Instance is not in ERROR status (current: starting)"));
    assert_eq!(rig.post(&format!("/admin/retry-instance/{}", uuid()), &json!({})).await.status, 404);

    let stats = rig.get("/admin/instance-stats").await.json;
    assert_eq!(
        (&stats["total_instances"], &stats["failed_instances"], &stats["healthy_instances"]),
        (&json!(4), &json!(2), &json!(0))
    );
    let counts = stats["status_counts"].as_object().unwrap();
    assert_eq!(
        (counts.len(), &counts["starting"], &counts["creating"], &counts["paused"]),
        (12, &json!(1), &json!(1), &json!(0))
    );

    let jobs = rig.get(&format!("/admin/instance-jobs/{}", id(&failed[0]))).await.json;
    assert_eq!((&jobs["current_status"], jobs["job_history"][0]["kind"].as_str()), (&json!("starting"), Some("provision")));
    assert_eq!(rig.get(&format!("/admin/instance-jobs/{}", uuid())).await.status, 404);
}

#[tokio::test]
async fn an_operators_suspension_is_lifted_by_an_operator() {
    let rig = Rig::start();
    let instance = rig.created().await;
    rig.sql("UPDATE public.instances SET status = 'running', desired_state = 'running', phase = 'ready', provisioning_status = 'completed'");
    let got = rig.post(&format!("/admin/suspend-instance/{}", id(&instance)), &json!({ "reason": "abuse" })).await;
    assert_eq!((got.status, &got.json["message"]), (200, &json!("Instance suspended successfully")));
    assert_eq!(
        rig.sql("SELECT status, suspension, suspension_reason, billing_status FROM public.instances"),
        "paused|operator|abuse|paid"
    );
    let start = rig.post(&instance_path(&instance, "/actions"), &json!({ "action": "start" })).await;
    assert!(start.status == 400 && start.detail().contains("operator"), "{start:?}");
    let got = rig.post(&format!("/admin/unsuspend-instance/{}", id(&instance)), &json!({})).await;
    assert_eq!((got.status, got.json["job_id"].is_string()), (200, true), "{got:?}");
    assert_eq!(rig.sql("SELECT status, suspension FROM public.instances"), "starting|none");
    assert_eq!(rig.post(&format!("/admin/unsuspend-instance/{}", id(&instance)), &json!({})).await.status, 400);
    assert_eq!(rig.post(&format!("/admin/suspend-instance/{}", uuid()), &json!({})).await.status, 404);
}

#[tokio::test]
async fn only_what_waits_for_an_operator_goes_on() {
    let rig = Rig::start();
    let operation = rig.provisioning().await["operation_id"].as_str().unwrap().to_owned();
    let path = format!("/admin/operations/{operation}/retry");
    let early = rig.post(&path, &json!({})).await;
    assert_eq!((early.status, early.detail()), (409, "The operation does not wait for an operator (it is queued)"));
    rig.sql("UPDATE instance_service.operations SET state = 'needs_attention', started_at = now()");
    let got = rig.post(&path, &json!({})).await;
    assert_eq!((got.status, &got.json["job_id"]), (200, &json!(operation)), "{got:?}");
    assert_eq!(rig.sql("SELECT state FROM instance_service.operations"), "waiting");
    assert_eq!(rig.post(&format!("/admin/operations/{}/retry", uuid()), &json!({})).await.status, 404);
}

#[tokio::test]
async fn mails_that_were_given_up_are_listed_and_sent_after_all() {
    let rig = Rig::start();
    let operation = rig.provisioning().await["operation_id"].as_str().unwrap().to_owned();
    let ids = [uuid(), uuid(), uuid()];
    for (number, (id, (state, variables))) in
        ids.iter().zip([("dead", r#"{"instance_name": "Shop"}"#), ("dead", "{}"), ("delivered", "{}")]).enumerate()
    {
        rig.sql(&format!(
            "INSERT INTO instance_service.outbox (id, operation_id, customer_id, template, variables, state, attempts, last_error, created_at)
             VALUES ('{id}', '{operation}', '{operation}', 't{number}', '{variables}', '{state}', 9, 'HTTP 503', now() - interval '{number} s')"
        ));
    }
    let got = rig.get("/admin/failed-mails").await;
    assert_eq!((got.status, &got.json["count"]), (200, &json!(2)), "{got:?}");
    let [sendable, erased] = [&got.json["failed_mails"][0], &got.json["failed_mails"][1]];
    assert_eq!((&sendable["id"], &sendable["template"], &sendable["replayable"]), (&json!(ids[0]), &json!("t0"), &json!(true)));
    assert_eq!(
        (&sendable["attempts"], &sendable["last_error"], &erased["replayable"]),
        (&json!(9), &json!("HTTP 503"), &json!(false))
    );
    assert!(!got.text.contains("Shop"), "what it says is not told");
    for (id, status, detail) in [
        (&ids[1], 409, "What the mail said is erased"),
        (&ids[2], 409, "The mail was not given up"),
        (&uuid(), 404, "Mail not found"),
    ] {
        let got = rig.post(&format!("/admin/retry-mail/{id}"), &json!({})).await;
        assert_eq!((got.status, got.detail()), (status, detail));
    }
    let got = rig.post(&format!("/admin/retry-mail/{}", ids[0]), &json!({})).await;
    assert_eq!((got.status, &got.json["message"]), (200, &json!("The mail is sent again")));
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.outbox WHERE state = 'pending' AND attempts = 0"), "1");
    assert_eq!(rig.get("/admin/failed-mails").await.json["count"], 1);
}
