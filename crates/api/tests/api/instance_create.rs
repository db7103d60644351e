//! `POST /api/v1/instances`

use crate::rig::{Rig, instance_path, is_time, order, order_with, uuid};
use serde_json::{Value, json};

#[tokio::test]
async fn a_new_order_is_recorded_and_nothing_is_provisioned() {
    let rig = Rig::start();
    let order = order();
    let got = rig.post("/api/v1/instances/", &order).await;
    assert_eq!(got.status, 201, "{got:?}");
    let mut json = got.json;
    for time in ["created_at", "updated_at"] {
        assert!(is_time(&json[time]), "{json}");
        json[time] = Value::Null;
    }
    json["id"].take();
    let label = order["database_name"].as_str().unwrap();
    let expected = json!({
        "id": null, "customer_id": order["customer_id"], "subscription_id": order["subscription_id"], "name": "Shop",
        "description": null, "odoo_version": "17", "instance_type": "development", "status": "creating", "billing_status": "paid",
        "provisioning_status": "pending", "cpu_limit": 1.5, "memory_limit": "2G", "storage_limit": "10G", "external_url": null,
        "internal_url": null, "admin_email": "owner@shop.example", "subdomain": null, "hostname": label.replace('_', "-"),
        "database_name": label, "error_message": null, "last_health_check": null, "started_at": null, "created_at": null,
        "updated_at": null, "demo_data": false, "custom_addons": ["sale", "stock"], "metadata": {"source": "test"},
        "db_type": "shared", "operation_id": null,
    });
    assert_eq!(json, expected);
    assert_eq!(rig.sql("SELECT (SELECT count(*) FROM instance_service.operations), (SELECT count(*) FROM apalis.jobs)"), "0|0");
    assert_eq!(rig.sql("SELECT action, door, to_status FROM instance_service.audit_log"), "create|internal|creating");
}

#[tokio::test]
async fn with_provision_record_operation_and_wake_up_are_there_together() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    assert_eq!(instance["provisioning_status"], "provisioning");
    let row = rig.sql(
        "SELECT o.id, o.instance_id, o.kind, o.state, (SELECT count(*) FROM apalis.jobs) FROM instance_service.operations o",
    );
    let expected =
        format!("{}|{}|provision|queued|1", instance["operation_id"].as_str().unwrap(), instance["id"].as_str().unwrap());
    assert_eq!(row, expected);
}

#[tokio::test]
async fn a_repetition_for_a_subscription_answers_the_instance_that_is_there_whatever_else_it_says() {
    let rig = Rig::start();
    let first = order();
    let created = rig.post("/api/v1/instances/", &first).await;
    let mut other = first.clone();
    other["database_name"] = "admin".into();
    other["name"] = "Other".into();
    for body in [&first, &other] {
        let got = rig.post("/api/v1/instances/", body).await;
        assert_eq!((got.status, got.json), (200, created.json.clone()));
    }
    assert_eq!(rig.sql("SELECT count(*) FROM public.instances"), "1");
}

#[tokio::test]
async fn a_subscription_of_another_customer_is_a_conflict() {
    let rig = Rig::start();
    let instance = rig.created().await;
    let got = rig.post("/api/v1/instances/", &order_with(json!({"subscription_id": instance["subscription_id"]}))).await;
    assert_eq!((got.status, got.detail()), (409, "This subscription already has an instance"));
}

#[tokio::test]
async fn a_label_is_one_per_customer_and_a_host_name_is_one_for_all() {
    let rig = Rig::start();
    let customer = uuid();
    let fields = json!({"customer_id": customer, "database_name": "Shop", "subdomain": "shop-north"});
    let first = rig.post("/api/v1/instances/", &order_with(fields.clone())).await;
    assert_eq!((first.status, &first.json["hostname"]), (201, &"shop-north".into()));
    let again = rig.post("/api/v1/instances/", &order_with(json!({"customer_id": customer, "database_name": "shop"}))).await;
    assert_eq!((again.status, again.detail()), (400, "Database name 'shop' already exists for this customer"));
    let host = rig.post("/api/v1/instances/", &order_with(json!({"subdomain": "SHOP-north"}))).await;
    assert_eq!((host.status, host.detail()), (409, "Subdomain 'shop-north' is already taken"));
    // Two customers with one label: the second gets another host name rather than a refusal.
    let made = [(); 2].map(|()| order_with(json!({"database_name": "same_label"})));
    let hosts = [rig.post("/api/v1/instances/", &made[0]).await, rig.post("/api/v1/instances/", &made[1]).await];
    assert_eq!(hosts[0].json["hostname"], "same-label");
    assert!(hosts[1].json["hostname"].as_str().unwrap().starts_with("same-label-"), "{:?}", hosts[1]);
    rig.delete(&instance_path(&first.json, "")).await;
    assert_eq!(rig.post("/api/v1/instances/", &order_with(fields)).await.status, 201, "a terminated row holds no names");
}

#[tokio::test]
async fn the_subscription_is_asked_for_before_any_rule_and_after_the_form() {
    let rig = Rig::start();
    let sentence = "Instance creation must include a valid subscription_id";
    let got = rig.post("/api/v1/instances/", &order_with(json!({"subscription_id": null, "database_name": "admin"}))).await;
    assert_eq!((got.status, got.detail()), (400, sentence));
    let got = rig.post("/api/v1/instances/", &order_with(json!({"subscription_id": null, "cpu_limit": 9}))).await;
    assert_eq!((got.status, got.places()), (422, vec!["body.cpu_limit".to_owned()]));
}

#[tokio::test]
async fn every_wrong_field_is_named_in_one_answer() {
    let rig = Rig::start();
    let fields = json!({
        "name": 5, "cpu_limit": "a lot", "memory_limit": "2T", "demo_data": "yes", "custom_addons": ["sale", 7, 8], "metadata": [],
        "environment_vars": {"A": 1, "B": 2}, "customer_id": "me", "odoo_version": "14", "admin_email": "nobody",
    });
    let got = rig.post("/api/v1/instances/", &order_with(fields)).await;
    assert_eq!(got.status, 422);
    let mut places = got.places();
    places.sort();
    let expected = [
        "body.admin_email",
        "body.cpu_limit",
        "body.custom_addons",
        "body.customer_id",
        "body.demo_data",
        "body.environment_vars",
        "body.memory_limit",
        "body.metadata",
        "body.name",
        "body.odoo_version",
    ];
    assert_eq!(places, expected);
    assert_eq!(rig.rows(), "0|0|0|0|0|");
}

#[tokio::test]
async fn rules_of_the_house_are_told_in_one_sentence() {
    let rig = Rig::start();
    let cases = [
        (json!({"memory_limit": "0G"}), "Memory value must be positive: 0G"),
        (json!({"database_name": "Postgres"}), "postgres"),
        (json!({"subdomain": "admin"}), "admin"),
        (json!({"environment_vars": {"PGHOST": "x"}}), "PGHOST"),
        (json!({"custom_addons": ["sale", "sale"]}), "sale"),
    ];
    for (fields, part) in cases {
        let got = rig.post("/api/v1/instances/", &order_with(fields.clone())).await;
        assert_eq!(got.status, 400, "{fields} {got:?}");
        assert!(got.detail().to_lowercase().contains(&part.to_lowercase()), "{got:?}");
        assert_eq!(got.json.get("errors"), None, "{got:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused() {
    let rig = Rig::start();
    for body in ["", " ", "{", "[]", "null", "\"x\"", "{\"name\": \"\\ud800\"}", "{\"cpu_limit\": 1e999}", "\u{feff}{}"] {
        let request = axum::http::Request::post("/api/v1/instances/").body(body.to_owned().into()).unwrap();
        let got = rig.send(request).await;
        assert_eq!((got.status, got.places()), (422, vec!["body".to_owned()]), "{body:?}");
    }
    let deep = format!("{{\"metadata\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let request = axum::http::Request::post("/api/v1/instances/").body(deep.into()).unwrap();
    assert_eq!(rig.send(request).await.status, 422);
}

#[tokio::test]
async fn a_given_password_is_checked_and_never_kept() {
    let rig = Rig::start();
    let got = rig.post("/api/v1/instances/", &order_with(json!({"admin_password": "weak"}))).await;
    assert_eq!((got.status, got.places()), (422, vec!["body.admin_password".to_owned()]));
    assert!(!got.text.contains("weak"), "{got:?}");
    let got = rig.post("/api/v1/instances/", &order_with(json!({"admin_password": "Str0ngSecretWord"}))).await;
    assert_eq!(got.status, 201);
    let log = rig.cluster.log().unwrap();
    assert!(!got.text.contains("Str0ngSecretWord") && !log.contains("Str0ngSecretWord"));
    let rows = rig.sql("SELECT row_to_json(i) FROM public.instances i");
    assert!(!rows.contains("Str0ngSecretWord"), "{rows}");
}

#[tokio::test]
async fn a_query_value_of_the_wrong_form_is_refused() {
    let got = Rig::start().post("/api/v1/instances/?provision=perhaps", &order()).await;
    assert_eq!((got.status, got.places()), (422, vec!["query.provision".to_owned()]));
}

#[tokio::test]
async fn a_nul_is_refused_where_it_would_be_stored_and_ignored_elsewhere() {
    let rig = Rig::start();
    for (field, value) in [
        ("name", json!("a\0b")),
        ("description", json!("\0")),
        ("custom_addons", json!(["sale\0"])),
        ("environment_vars", json!({"A": "\0"})),
        ("metadata", json!({"a": [{"b\0": 1}]})),
    ] {
        let got = rig.post("/api/v1/instances/", &order_with(json!({field: value}))).await;
        assert!((400..=422).contains(&got.status), "{field}: {got:?}");
    }
    assert_eq!(rig.rows(), "0|0|0|0|0|");
    let got = rig.post("/api/v1/instances/", &order_with(json!({"unknown": "a\0b"}))).await;
    assert_eq!(got.status, 201, "{got:?}");
}
