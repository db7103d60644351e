//! `DELETE /api/v1/instances/{id}`

use crate::rig::{Rig, instance_path, is_time, uuid};
use serde_json::json;

#[tokio::test]
async fn the_row_is_terminated_at_once_and_a_repetition_names_the_same_job() {
    let rig = Rig::start();
    let instance = rig.created().await;
    let first = rig.delete(&instance_path(&instance, "")).await;
    assert_eq!(first.status, 200, "{first:?}");
    assert!(is_time(&first.json["timestamp"]));
    let expected = json!({
        "status": "success", "message": "Instance deletion started", "instance_id": instance["id"],
        "job_id": first.json["job_id"], "timestamp": first.json["timestamp"],
    });
    assert_eq!(first.json, expected);
    let row = rig.get(&instance_path(&instance, "")).await.json;
    assert_eq!(
        (&row["status"], &row["hostname"], &row["operation_id"]),
        (&"terminated".into(), &json!(null), &first.json["job_id"])
    );
    let second = rig.delete(&instance_path(&instance, "/")).await;
    assert_eq!((second.status, &second.json["job_id"]), (200, &first.json["job_id"]));
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations WHERE kind = 'delete'"), "1");
}

#[tokio::test]
async fn a_queued_provisioning_makes_way() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    rig.delete(&instance_path(&instance, "")).await;
    let states = rig.sql("SELECT kind, state FROM instance_service.operations ORDER BY seq");
    assert_eq!(states, "provision|cancelled\ndelete|queued");
}

#[tokio::test]
async fn an_unknown_instance_is_not_found() {
    let got = Rig::start().delete(&format!("/api/v1/instances/{}", uuid())).await;
    assert_eq!((got.status, got.detail()), (404, "Instance not found"));
}

/// Engine 9, rule 6: a wrong list must not cost everything.
#[tokio::test]
async fn a_bulk_removal_is_braked() {
    let rig = Rig::with(|policy| policy.delete_brake = Some(2));
    let mut instances = Vec::new();
    for _ in 0..4 {
        instances.push(rig.created().await);
    }
    let paths: Vec<String> = instances.iter().map(|instance| instance_path(instance, "")).collect();
    let answers = futures::future::join_all(paths.iter().map(|path| rig.delete(path))).await;
    let mut statuses: Vec<_> = answers.iter().map(|got| got.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429, 429]);
    let braked = answers.iter().find(|got| got.status == 429).unwrap();
    assert!(!braked.header("retry-after").is_empty() && braked.detail().contains("try again later"), "{braked:?}");
    let terminated = "SELECT count(*) FROM public.instances WHERE status = 'terminated'";
    assert_eq!(rig.sql(terminated), "2", "what is refused changes nothing");
    // What was accepted is answered again, brake or not.
    let first = answers.iter().position(|got| got.status == 200).unwrap();
    assert_eq!(rig.delete(&instance_path(&instances[first], "")).await.json["job_id"], answers[first].json["job_id"]);
    rig.sql("UPDATE instance_service.operations SET created_at = now() - interval '61 min'");
    let refused = answers.iter().position(|got| got.status == 429).unwrap();
    assert_eq!(rig.delete(&instance_path(&instances[refused], "")).await.status, 200);
}
