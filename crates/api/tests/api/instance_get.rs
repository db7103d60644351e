//! `GET /api/v1/instances/{id}`

use crate::rig::{Rig, instance_path, uuid};

#[tokio::test]
async fn it_is_the_same_object_as_create_answers() {
    let rig = Rig::start();
    let created = rig.created().await;
    let got = rig.get(&instance_path(&created, "")).await;
    assert_eq!((got.status, got.json), (200, created));
}

#[tokio::test]
async fn an_unknown_id_is_not_found_and_a_malformed_one_is_invalid() {
    let rig = Rig::start();
    let unknown = rig.get(&format!("/api/v1/instances/{}", uuid())).await;
    assert_eq!((unknown.status, unknown.detail()), (404, "Instance not found"));
    for id in ["1", "null", "%00", "%ff", "..", "a%2Fb", "'%20OR%201=1--", &"9".repeat(200)] {
        let got = rig.get(&format!("/api/v1/instances/{id}")).await;
        assert_eq!((got.status, got.places()), (422, vec!["path.id".to_owned()]), "{id}");
    }
}

#[tokio::test]
async fn a_row_of_the_earlier_service_with_odd_values_can_be_read() {
    let rig = Rig::start();
    let (id, customer) = (uuid(), uuid());
    rig.sql(&format!(
        "INSERT INTO public.instances (id, customer_id, name, odoo_version, status, billing_status, provisioning_status, admin_email,
                                       database_name, admin_password, db_host, environment_vars)
         VALUES ('{id}', '{customer}', 'Old', '17.0', 'weird', 'pending_payment', 'completed', 'a@b.c', 'old', 'hunter2', 'postgres1',
                 '{{\"A\": \"hidden\"}}')"
    ));
    let got = rig.get(&format!("/api/v1/instances/{id}")).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert_eq!(got.json["odoo_version"], "17");
    assert_eq!(got.json["status"], "error");
    assert_eq!(got.json["billing_status"], "payment_required");
    for inner in ["hunter2", "hidden", "postgres1"] {
        assert!(!got.text.contains(inner), "{inner} is in {}", got.text);
    }
    assert_eq!(rig.get(&format!("/api/v1/instances?customer_id={customer}")).await.json["total"], 1);
}
