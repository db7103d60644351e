//! `GET /api/v1/instances/{id}/status`

use crate::rig::{Rig, instance_path, uuid};
use serde_json::json;

#[tokio::test]
async fn it_has_the_fields_of_the_contract() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    let got = rig.get(&instance_path(&instance, "/status")).await;
    let expected = json!({
        "instance_id": instance["id"], "status": "creating", "billing_status": "paid", "provisioning_status": "provisioning",
        "last_health_check": null, "error_message": null, "started_at": null, "external_url": null, "internal_url": null,
        "operation_id": instance["operation_id"],
    });
    assert_eq!((got.status, got.json), (200, expected));
}

#[tokio::test]
async fn an_unknown_id_is_not_found() {
    let got = Rig::start().get(&format!("/api/v1/instances/{}/status", uuid())).await;
    assert_eq!((got.status, got.detail()), (404, "Instance not found"));
}
