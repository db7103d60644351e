//! `GET /api/v1/operations/{id}`

use crate::rig::{Rig, is_time, uuid};
use serde_json::{Value, json};

#[tokio::test]
async fn it_has_the_fields_of_the_contract_and_nothing_inner() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    let id = instance["operation_id"].as_str().unwrap();
    let mut got = rig.get(&format!("/api/v1/operations/{id}")).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert!(is_time(&got.json["created_at"]));
    got.json["created_at"].take();
    let expected = json!({
        "id": id, "kind": "provision", "state": "queued", "instance_id": instance["id"],
        "requested_by": {"door": "internal", "actor": "internal"}, "reason": "ordered with the instance", "percent": 0,
        "current_step": null, "attempts": 0, "max_attempts": 3, "queue_position": 1, "cancel_requested": false, "error": null,
        "result": null, "created_at": null, "started_at": null, "finished_at": null, "steps": [],
    });
    assert_eq!(got.json, expected);
}

#[tokio::test]
async fn steps_and_states_are_shown_in_the_clients_words() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    let id = instance["operation_id"].as_str().unwrap();
    rig.sql(&format!(
        "UPDATE instance_service.operations SET state = 'waiting', direction = 'forward', percent = 40, current_step = 'make', started_at = now(),
                error = '{{\"code\": \"x\", \"message\": \"for the customer\", \"cause\": \"for us\"}}',
                plan = '[{{\"name\": \"choose\", \"place\": \"postgres1\", \"weight\": 1}}, {{\"name\": \"make\", \"place\": \"postgres2\", \"weight\": 2}},
                         {{\"name\": \"ready\", \"place\": \"runtime\", \"weight\": 1}}]' WHERE id = '{id}';
         INSERT INTO instance_service.operation_steps (operation_id, step, phase, step_version, position, place, status, attempt, lease_token,
                                                       started_at, finished_at)
         VALUES ('{id}', 'choose', 'apply', 1, 0, 'postgres1', 'done', 0, 1, now() - interval '2 s', now() - interval '1 s'),
                ('{id}', 'make', 'apply', 1, 1, 'postgres2', 'started', 0, 1, now(), NULL)"
    ));
    let path = format!("/api/v1/operations/{id}");
    let got = rig.get(&path).await;
    let words = |json: &Value, field: &str| -> Vec<String> {
        json["steps"].as_array().unwrap().iter().map(|step| step[field].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(got.json["state"], "running");
    assert_eq!(words(&got.json, "state"), ["done", "running", "pending"]);
    assert_eq!(words(&got.json, "server"), ["postgres1", "postgres2", "runtime"]);
    assert_eq!(got.json["steps"][0]["duration_ms"], 1000);
    assert_eq!(got.json["error"], json!({"code": "x", "message": "for the customer"}));
    assert!(!got.text.contains("for us"));
    for (set, word) in
        [("direction = 'undo'", "compensating"), ("state = 'needs_attention', direction = 'forward'", "compensating")]
    {
        rig.sql(&format!("UPDATE instance_service.operations SET {set} WHERE id = '{id}'"));
        assert_eq!(rig.get(&path).await.json["state"], word);
    }
}

#[tokio::test]
async fn an_unknown_id_is_not_found_and_a_malformed_one_is_invalid() {
    let rig = Rig::start();
    let got = rig.get(&format!("/api/v1/operations/{}", uuid())).await;
    assert_eq!((got.status, got.detail()), (404, "Operation not found"));
    assert_eq!(rig.get("/api/v1/operations/x").await.status, 422);
}

/// The description is written by hand, the object is db's: they must have the same fields.
#[tokio::test]
async fn the_description_has_the_fields_that_are_sent() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    let sent = rig.get(&format!("/api/v1/operations/{}", instance["operation_id"].as_str().unwrap())).await.json;
    let description = serde_json::to_value(api::openapi()).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&description["components"]["schemas"]["Operation"]["properties"]), keys(&sent));
    let instance_keys = keys(&description["components"]["schemas"]["Instance"]["properties"]);
    assert_eq!(instance_keys, keys(&instance));
}
