//! The life of backups as clients ask for it: reading, deleting, checking, schedules, the way back, copies.

use crate::rig::{Got, Rig, instance_path, is_time, uuid};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

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

fn backup_path(backup: &str, rest: &str) -> String {
    format!("/api/v1/backups/{backup}{rest}")
}

async fn put(rig: &Rig, path: &str, body: &Value) -> Got {
    rig.send(Request::put(path).body(Body::from(body.to_string())).unwrap()).await
}

#[tokio::test]
async fn a_backup_is_read_by_whom_it_belongs_to() {
    let rig = Rig::start();
    let instance = running(&rig).await;
    let backup = rig.whole_backup(&instance);
    rig.sql(&format!(
        "UPDATE instance_service.backups SET database_bytes = 7, files_bytes = 5, files_count = 2, proven_at = now(),
                summary = '{{\"taken_at\": \"2026-11-26T03:15:00Z\", \"postgres_version\": 15, \"dump_tool\": \"pg_dump 15\",
                            \"modules\": {{\"base\": \"19.0.1.3\"}}, \"rows\": {{\"res_users\": 5}}, \"unusable_attachments\": 0}}'
          WHERE id = '{backup}'"
    ));
    let got = rig.get(&backup_path(&backup, "")).await;
    assert_eq!((got.status, &got.json["instance_id"]), (200, &instance["id"]), "{got:?}");
    assert_eq!((&got.json["total_size"], &got.json["files"], &got.json["status"]), (&json!(12), &json!(2), &json!("completed")));
    assert_eq!((&got.json["modules"]["base"], &got.json["rows"]["res_users"]), (&json!("19.0.1.3"), &json!(5)));
    assert!(is_time(&got.json["taken_at"]) && is_time(&got.json["proven_at"]) && got.json["verified_at"].is_null(), "{got:?}");
    let list = rig.get(&instance_path(&instance, "/backups")).await;
    assert!(is_time(&list.json["last_backup_at"]) && is_time(&list.json["last_proof_at"]), "{list:?}");

    // Another customer's, a guessed one, and one of an instance that was removed are one and the same to a customer.
    let (owner, stranger) = (rig.log_in(instance["customer_id"].as_str().unwrap()), rig.log_in(&uuid()));
    let read = async |token: &str, backup: &str| rig.by_public("GET", &backup_path(backup, ""), Some(token), "").await;
    assert_eq!(read(&owner, &backup).await.status, 200);
    let refused = [read(&stranger, &backup).await, read(&owner, &uuid()).await];
    rig.sql(&format!("UPDATE public.instances SET status = 'terminated', desired_state = 'terminated', phase = 'purged', hostname = NULL WHERE id = '{}'", id(&instance)));
    for got in refused.iter().chain([&read(&owner, &backup).await]) {
        assert_eq!((got.status, got.detail()), (404, "Backup not found"));
    }
    let list = rig.by_public("GET", &instance_path(&instance, "/backups"), Some(&owner), "").await;
    assert_eq!((list.status, list.detail()), (404, "Instance not found"));
    assert_eq!(rig.get(&backup_path(&backup, "")).await.status, 200, "an operator still sees it");
    let other = running(&rig).await;
    let body = json!({ "action": "restore", "parameters": { "backup_id": backup } });
    for backup in [&backup, &uuid()] {
        let got = rig.post(&instance_path(&other, "/actions"), &body).await;
        assert_eq!((got.status, got.detail()), (404, "Backup not found"), "{backup}");
    }
}

#[tokio::test]
async fn one_of_the_earlier_service_is_asked_for_by_its_old_name_too() {
    let rig = Rig::start();
    let (instance, other) = (running(&rig).await, running(&rig).await);
    let enter = |name: &str, state: &str| {
        rig.sql(&format!(
            "INSERT INTO instance_service.backups (id, instance_id, customer_id, name, origin, state, odoo_version, created_at, completed_at, legacy)
             SELECT gen_random_uuid(), '{}', gen_random_uuid(), '{name}', 'imported', '{state}', '19', now(), now(),
                    '{{\"name\": \"{name}\", \"root\": \"r\", \"content\": null}}' RETURNING id",
            id(&instance)
        ))
    };
    let (whole, _failed) = (enter("shop_Mein Laden_20250304_050607", "completed"), enter("shop_20250101_010203", "failed"));
    let whole = whole.lines().next().unwrap().to_owned();
    let restore = async |of: &Value, backup: &str| {
        let body = json!({ "action": "restore", "parameters": { "backup_id": backup } });
        rig.post(&instance_path(of, "/actions"), &body).await
    };
    for (of, name) in [(&other, "shop_Mein Laden_20250304_050607"), (&instance, "shop_20250101_010203"), (&instance, "shop")] {
        let got = restore(of, name).await;
        assert_eq!((got.status, got.detail()), (404, "Backup not found"), "{name}");
    }
    let got = restore(&instance, "shop_Mein Laden_20250304_050607").await;
    let said = format!("Instance restore from backup {whole} queued for processing");
    assert_eq!((got.status, &got.json["message"]), (200, &json!(said)), "{got:?}");
    let got = rig.get(&backup_path(&whole, "")).await;
    assert_eq!((&got.json["origin"], &got.json["postgres_version"]), (&json!("imported"), &Value::Null), "{got:?}");
    let list = rig.get(&instance_path(&instance, "/backups")).await;
    assert_eq!((&list.json["total_backups"], &list.json["backups"][0]["database_size"]), (&json!(2), &json!(0)), "{list:?}");
    let got = rig.get(&backup_path(&whole, "/export")).await;
    assert!(got.status == 409 && got.detail().contains("cannot be exported"), "{got:?}");
}

#[tokio::test]
async fn the_last_whole_backup_and_one_that_is_read_stay() {
    let rig = Rig::start();
    let instance = running(&rig).await;
    let first = rig.whole_backup(&instance);
    assert_eq!(rig.delete(&backup_path(&first, "")).await.status, 409);
    let second = rig.whole_backup(&instance);
    let restore = json!({ "action": "restore", "parameters": { "backup_id": second } });
    assert_eq!(rig.post(&instance_path(&instance, "/actions"), &restore).await.status, 200);
    assert_eq!(rig.delete(&backup_path(&second, "")).await.status, 409, "a restore reads it");
    let got = rig.delete(&backup_path(&first, "")).await;
    assert_eq!((got.status, &got.json["status"]), (200, &json!("success")), "{got:?}");
    assert_eq!(rig.sql("SELECT kind FROM instance_service.operations ORDER BY seq DESC LIMIT 1"), "prune_backups");
    for got in [rig.delete(&backup_path(&first, "")).await, rig.get(&backup_path(&first, "")).await] {
        assert_eq!(got.status, 404);
    }
    let restore = json!({ "action": "restore", "parameters": { "backup_id": first } });
    assert_eq!(rig.post(&instance_path(&instance, "/actions"), &restore).await.status, 404);
    rig.sql(&format!("UPDATE instance_service.backups SET state = 'running' WHERE id = '{second}'"));
    assert_eq!(rig.delete(&backup_path(&second, "")).await.status, 400, "it is being taken");
}

#[tokio::test]
async fn a_check_is_queued_and_gives_way() {
    let rig = Rig::start();
    let instance = running(&rig).await;
    let backup = rig.whole_backup(&instance);
    let verify = async |body: Value| rig.post(&backup_path(&backup, "/verify"), &body).await;
    let got = verify(json!({ "restore": true })).await;
    assert_eq!((got.status, &got.json["status"]), (200, &json!("queued")), "{got:?}");
    // The row says nothing of it, and what is asked for next is shown at once.
    assert_eq!(rig.get(&instance_path(&instance, "")).await.json["status"], "running");
    rig.sql("UPDATE instance_service.operations SET state = 'running', lease_token = 1, started_at = now()");
    assert_eq!(rig.post(&instance_path(&instance, "/actions"), &json!({ "action": "stop" })).await.status, 200);
    assert_eq!(rig.get(&instance_path(&instance, "")).await.json["status"], "stopping");
    let asked = "SELECT preempted_by FROM instance_service.operations WHERE kind = 'verify_backup'";
    assert_eq!(rig.sql(asked), "stop");
    assert_eq!(verify(json!({ "restore": "yes" })).await.places(), ["body.restore"]);
    rig.sql(
        "UPDATE public.instances SET status = 'paused', suspension = 'debt', resume_to = 'running', desired_state = 'stopped'",
    );
    assert_eq!(verify(json!({ "restore": true })).await.status, 400, "nobody may log in who could load it");
    assert_eq!(verify(json!({})).await.status, 200);
    // What was found damaged may be found whole again; what was never whole may not.
    rig.sql(&format!("UPDATE instance_service.backups SET state = 'failed' WHERE id = '{backup}'"));
    assert_eq!(verify(json!({})).await.status, 200);
    rig.sql(&format!("UPDATE instance_service.backups SET completed_at = NULL WHERE id = '{backup}'"));
    assert_eq!(verify(json!({})).await.status, 404);
}

#[tokio::test]
async fn an_instance_has_the_configured_schedule_until_it_has_its_own() {
    let rig = Rig::start();
    let instance = running(&rig).await;
    let path = instance_path(&instance, "/backup-schedule");
    let got = rig.get(&path).await;
    let expected = json!({ "instance_id": instance["id"], "enabled": false, "hour": 3, "timezone": "UTC",
                           "keep": { "daily": 7, "weekly": 4, "monthly": 6 }, "is_default": true, "next_backup_at": null });
    assert_eq!((got.status, &got.json), (200, &expected));
    let got = put(&rig, &path, &json!({ "enabled": true, "timezone": "Europe/Berlin", "keep": { "weekly": 8 } })).await;
    assert_eq!((got.status, &got.json["is_default"], &got.json["hour"]), (200, &json!(false), &json!(3)), "{got:?}");
    assert_eq!(got.json["keep"], json!({ "daily": 7, "weekly": 8, "monthly": 6 }));
    assert!(is_time(&got.json["next_backup_at"]), "{got:?}");
    assert_eq!(rig.get(&path).await.json, got.json);
    for (body, place) in [
        (json!({ "hour": 24 }), "body.hour"),
        (json!({ "hour": 3.5 }), "body.hour"),
        (json!({ "timezone": "Middle/Earth" }), "body.timezone"),
        (json!({ "enabled": 1 }), "body.enabled"),
        (json!({ "keep": { "daily": -1 } }), "body.keep.daily"),
        (json!({ "keep": { "monthly": 1001 } }), "body.keep.monthly"),
        (json!({ "keep": [] }), "body.keep"),
    ] {
        let got = put(&rig, &path, &body).await;
        assert_eq!((got.status, got.places()), (422, vec![place.to_owned()]), "{body}: {got:?}");
    }
    assert_eq!(rig.get(&path).await.json["keep"]["weekly"], 8, "nothing was half-written");
    let stranger = rig.log_in(&uuid());
    assert_eq!(rig.by_public("PUT", &path, Some(&stranger), r#"{"enabled": false}"#).await.status, 404);
}

#[tokio::test]
async fn there_is_a_way_back_while_something_is_kept() {
    let rig = Rig::start();
    let instance = running(&rig).await;
    let back = async |body: Value| rig.post(&instance_path(&instance, "/undo-restore"), &body).await;
    assert_eq!(back(json!({})).await.status, 409);
    let restore = uuid();
    rig.sql(
        "INSERT INTO instance_service.odoo_servers
             (id, name, admin_host, admin_port, default_database, admin_user, secret_name, tenant_host, tenant_port)
         VALUES (gen_random_uuid(), 'one', 'localhost', 5432, 'postgres', 'odoo_admin', 'none', 'localhost', 5432)",
    );
    rig.sql(&format!(
        "INSERT INTO instance_service.replaced_data (instance_id, operation_id, server_id, db_name, db_oid, number, keep_until)
         SELECT '{}', '{restore}', id, 'x_o1', 1, 1, now() + interval '1 hour' FROM instance_service.odoo_servers LIMIT 1",
        id(&instance)
    ));
    assert_eq!(back(json!({ "job_id": uuid() })).await.status, 409, "not what that one replaced");
    let got = back(json!({ "job_id": restore })).await;
    assert_eq!((got.status, &got.json["status"]), (200, &json!("queued")), "{got:?}");
    assert_eq!(rig.get(&instance_path(&instance, "")).await.json["status"], "maintenance");
    assert_eq!(back(json!({ "job_id": 5 })).await.places(), ["body.job_id"]);
}

#[tokio::test]
async fn a_copy_is_an_order_of_the_same_customer_and_is_never_live() {
    let rig = Rig::start();
    let source = running(&rig).await;
    let body = |fields: Value| {
        let mut body =
            json!({ "name": "Copy", "database_name": "copy", "subscription_id": uuid(), "customer_id": source["customer_id"] });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        body
    };
    let ask = async |fields: Value| rig.post(&instance_path(&source, "/clone"), &body(fields)).await;
    let nothing = rig.rows();
    for (fields, status) in [
        (json!({ "neutralize": false }), 422),
        (json!({ "customer_id": uuid() }), 400),
        (json!({ "backup_id": uuid() }), 404),
        (json!({ "backup_id": "mine" }), 404),
        (json!({ "subscription_id": null }), 400),
        (json!({ "database_name": "Not Good!" }), 422),
        (json!({ "database_name": source["database_name"] }), 400),
    ] {
        assert_eq!(ask(fields.clone()).await.status, status, "{fields}");
    }
    assert_eq!(rig.rows(), nothing, "what is refused writes nothing");
    let got = ask(json!({})).await;
    assert_eq!((got.status, &got.json["instance_type"]), (201, &json!("staging")), "{got:?}");
    assert_eq!((&got.json["odoo_version"], &got.json["memory_limit"]), (&source["odoo_version"], &source["memory_limit"]));
    assert_eq!(rig.sql("SELECT string_agg(kind, ' ' ORDER BY kind) FROM instance_service.operations"), "backup provision");
    assert_eq!(rig.get(&instance_path(&source, "")).await.json["status"], "maintenance", "the original is backed up for it");
    let again = json!({ "subscription_id": got.json["subscription_id"] });
    assert_eq!(ask(again).await.status, 200, "repeated, it is the same");
}

#[tokio::test]
async fn an_update_stays_within_the_major_version() {
    let rig = Rig::start();
    let instance = running(&rig).await;
    let ask = async |parameters: Value| {
        rig.post(&instance_path(&instance, "/actions"), &json!({ "action": "update", "parameters": parameters })).await
    };
    let got = ask(Value::Null).await;
    assert_eq!((got.status, got.detail()), (400, "Target version required for update action"));
    for (version, status) in [(json!("16"), 400), (json!("18.0"), 400), (json!("seventeen"), 422), (json!([17]), 422)] {
        assert_eq!(ask(json!({ "version": version })).await.status, status, "{version}");
    }
    for modules in [json!("sale"), json!(["sale", 5]), json!(["--addons-path=/"])] {
        let got = ask(json!({ "version": "17", "modules": modules })).await;
        assert_eq!((got.status, got.places()), (422, vec!["body.parameters.modules".to_owned()]), "{modules}");
    }
    assert_eq!(rig.get(&instance_path(&instance, "")).await.json["status"], "running");
    let got = ask(json!({ "version": 17.0, "modules": ["sale"] })).await;
    assert_eq!((got.status, &got.json["message"]), (200, &json!("Instance update to 17 queued for processing")), "{got:?}");
    assert_eq!(rig.get(&instance_path(&instance, "")).await.json["status"], "updating");
}
