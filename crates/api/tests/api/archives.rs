//! Archives in Odoo's own format: fetched in parts, brought in three ways, and nobody else's.

use crate::rig::{Got, Rig, instance_path, uuid};
use axum::body::{Body, Bytes};
use axum::http::Request;
use futures::stream;
use serde_json::{Value, json};
use std::io;

const CONTENT: &str = "PK\x03\x04 the archive of a shop";

async fn running(rig: &Rig) -> Value {
    let instance = rig.created().await;
    rig.sql(&format!(
        "UPDATE public.instances SET status = 'running', desired_state = 'running', phase = 'ready', provisioning_status = 'completed'
          WHERE id = '{}'",
        instance["id"].as_str().unwrap()
    ));
    instance
}

fn export_path(backup: &str) -> String {
    format!("/api/v1/backups/{backup}/export")
}

async fn fetch(rig: &Rig, backup: &str, headers: &[(&str, &str)]) -> Got {
    let request = headers.iter().fold(Request::get(export_path(backup)), |request, (name, value)| request.header(*name, *value));
    rig.send(request.body(Body::empty()).unwrap()).await
}

/// What a worker does.
fn make(rig: &Rig, backup: &str, operation: &str, hours: i32) {
    std::fs::write(rig.transfer.path().join(format!("exports/{operation}-3.zip")), CONTENT).unwrap();
    let expires = rig.sql(&format!("SELECT to_json(now() + interval '{hours} hours') #>> '{{}}'"));
    let result = json!({ "backup_id": backup, "attempt": 3, "bytes": CONTENT.len(), "sha256": "00", "expires_at": expires });
    rig.finish(operation, &result);
}

#[tokio::test]
async fn an_archive_is_made_once_and_fetched_in_parts() {
    let rig = Rig::start();
    let instance = running(&rig).await;
    let backup = rig.whole_backup(&instance);
    assert_eq!(rig.get(&export_path(&backup)).await.status, 503, "no worker has this directory");
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations"), "0", "and nothing is made");
    rig.share();

    let looked = rig.send(Request::head(export_path(&backup)).body(Body::empty()).unwrap()).await;
    assert_eq!((looked.status, rig.sql("SELECT count(*) FROM instance_service.operations").as_str()), (404, "0"));
    let queued = rig.get(&export_path(&backup)).await;
    assert_eq!((queued.status, queued.header("retry-after")), (202, "5"), "{queued:?}");
    let operation = queued.json["operation_id"].as_str().unwrap().to_owned();
    let again = rig.get(&export_path(&backup)).await;
    assert_eq!((again.status, &again.json["operation_id"]), (202, &queued.json["operation_id"]));
    assert_eq!(rig.sql("SELECT count(*), min(scope) FROM instance_service.operations"), format!("1|export:{backup}"));
    assert!(queued.json["last_failure"].is_null());

    make(&rig, &backup, &operation, 1);
    let whole = fetch(&rig, &backup, &[]).await;
    assert_eq!((whole.status, whole.text.as_str(), whole.header("content-type")), (200, CONTENT, "application/zip"));
    assert_eq!(whole.header("content-length"), CONTENT.len().to_string());
    assert_eq!((whole.header("content-disposition"), whole.header("accept-ranges")), ("attachment; filename=\"b.zip\"", "bytes"));
    let tag = whole.header("etag").to_owned();
    assert_eq!(tag, format!("\"{operation}-3\""));
    let head = rig.send(Request::head(export_path(&backup)).body(Body::empty()).unwrap()).await;
    assert_eq!((head.status, head.text.as_str(), head.header("content-length")), (200, "", whole.header("content-length")));

    let end = CONTENT.len() - 1;
    for (range, part, text) in [
        ("bytes=0-1", format!("bytes 0-1/{}", end + 1), &CONTENT[..2]),
        ("bytes=5-", format!("bytes 5-{end}/{}", end + 1), &CONTENT[5..]),
        ("bytes=-4", format!("bytes {}-{end}/{}", end - 3, end + 1), "shop"),
    ] {
        let got = fetch(&rig, &backup, &[("range", range), ("if-range", &tag)]).await;
        assert_eq!((got.status, got.header("content-range"), got.text.as_str()), (206, part.as_str(), text), "{got:?}");
        assert_eq!(got.header("content-length"), text.len().to_string());
    }
    let other = fetch(&rig, &backup, &[("range", "bytes=0-1"), ("if-range", "\"another\"")]).await;
    assert_eq!((other.status, other.text.as_str()), (200, CONTENT), "a part of another archive is of no use");
    let beyond = fetch(&rig, &backup, &[("range", "bytes=1000-")]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{}", end + 1).as_str()));

    // It is not the one that was made, or it is gone: another one is made.
    std::fs::write(rig.transfer.path().join(format!("exports/{operation}-3.zip")), "PK").unwrap();
    let second = rig.get(&export_path(&backup)).await;
    assert!(second.status == 202 && second.json["operation_id"] != queued.json["operation_id"], "{second:?}");
    // One that has failed says why, once.
    let second = second.json["operation_id"].as_str().unwrap();
    rig.sql(&format!(
        "UPDATE instance_service.operations SET state = 'failed', finished_at = now(),
                error = '{{\"code\": \"no_room\", \"message\": \"There is no room.\", \"cause\": \"secret\"}}' WHERE id = '{second}'"
    ));
    let third = rig.get(&export_path(&backup)).await;
    assert_eq!((third.status, &third.json["last_failure"]), (202, &json!("There is no room.")), "{third:?}");
    assert!(!third.text.contains("secret"));
    make(&rig, &backup, third.json["job_id"].as_str().unwrap(), 1);
    assert_eq!(fetch(&rig, &backup, &[]).await.status, 200);

    // When its time is over it is made anew.
    rig.sql("UPDATE instance_service.operations SET result = jsonb_set(result, '{expires_at}', '\"2020-01-01T00:00:00Z\"') WHERE result IS NOT NULL");
    assert_eq!(fetch(&rig, &backup, &[]).await.status, 202);
    std::fs::remove_file(rig.transfer.path().join(".root")).unwrap();
    let away = fetch(&rig, &backup, &[]).await;
    assert_eq!((away.status, away.header("retry-after")), (503, "2"), "what is not mounted lacks nothing");
}

#[tokio::test]
async fn what_is_lost_keeps_nothing_from_being_made() {
    let rig = Rig::start();
    rig.share();
    let instance = running(&rig).await;
    let backups = [(); 3].map(|()| rig.whole_backup(&instance));
    for backup in &backups {
        let queued = rig.get(&export_path(backup)).await;
        make(&rig, backup, queued.json["operation_id"].as_str().unwrap(), 1);
    }
    std::fs::remove_dir_all(rig.transfer.path().join("exports")).unwrap();
    std::fs::create_dir(rig.transfer.path().join("exports")).unwrap();
    for backup in &backups {
        assert_eq!(rig.get(&export_path(backup)).await.status, 202);
    }
}

#[tokio::test]
async fn an_archive_is_for_whom_it_belongs_to() {
    let rig = Rig::start();
    rig.share();
    let instance = running(&rig).await;
    let backup = rig.whole_backup(&instance);
    let (owner, stranger) = (rig.log_in(instance["customer_id"].as_str().unwrap()), rig.log_in(&uuid()));
    let ask = async |token: &str, backup: &str| rig.by_public("GET", &export_path(backup), Some(token), "").await;
    let refused = [ask(&stranger, &backup).await, ask(&owner, &uuid()).await];
    for got in &refused {
        assert_eq!((got.status, got.detail()), (404, "Backup not found"));
    }
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations"), "0");
    let queued = ask(&owner, &backup).await;
    assert_eq!(queued.status, 202, "{queued:?}");
    let operation = queued.json["operation_id"].as_str().unwrap();
    // Its owner follows it, and may cancel it; nobody else sees it.
    let path = format!("/api/v1/operations/{operation}");
    assert_eq!(rig.by_public("GET", &path, Some(&owner), "").await.status, 200);
    assert_eq!(rig.by_public("GET", &path, Some(&stranger), "").await.status, 404);
    let listed = format!("/api/v1/operations?instance_id={}", instance["id"].as_str().unwrap());
    let listed = rig.by_public("GET", &listed, Some(&owner), "").await;
    assert!(listed.status == 200 && listed.text.contains(operation), "{listed:?}");
    make(&rig, &backup, operation, 1);
    assert_eq!(ask(&owner, &backup).await.status, 200);
    assert_eq!(ask(&stranger, &backup).await.status, 404);

    // Three at a time of one instance, whatever its backups.
    for _ in 0..2 {
        assert_eq!(ask(&owner, &rig.whole_backup(&instance)).await.status, 202);
    }
    let last = rig.whole_backup(&instance);
    let many = ask(&owner, &last).await;
    assert!(many.status == 409 && many.detail().starts_with("Too many archives"), "{many:?}");
    let cancelled = rig.sql("SELECT id FROM instance_service.operations WHERE state = 'queued' LIMIT 1");
    assert_eq!(rig.by_public("POST", &format!("/api/v1/operations/{cancelled}/cancel"), Some(&owner), "").await.status, 202);
    assert_eq!(ask(&owner, &last).await.status, 202);

    // What is not whole, on its way out, or of an instance that was removed.
    for state in ["running", "failed", "deleting"] {
        rig.sql(&format!("UPDATE instance_service.backups SET state = '{state}' WHERE id = '{backup}'"));
        assert_eq!(ask(&owner, &backup).await.status, 404, "{state}");
    }
    rig.sql(&format!("UPDATE instance_service.backups SET state = 'completed' WHERE id = '{backup}'"));
    rig.sql("UPDATE public.instances SET status = 'terminated', desired_state = 'terminated', phase = 'purged', hostname = NULL");
    assert_eq!(ask(&owner, &backup).await.status, 404);
    assert_eq!(rig.get(&export_path(&backup)).await.status, 200, "an operator may");
    assert_eq!(rig.get(&export_path("x")).await.status, 422);
}

async fn bring(rig: &Rig, path: &str, kind: &str, body: impl Into<Body>) -> Got {
    rig.send(Request::post(path).header("content-type", kind).body(body.into()).unwrap()).await
}

fn form(name: &str, content: &str) -> String {
    let part = |head: &str, content: &str| format!("--edge\r\ncontent-disposition: form-data; {head}\r\n\r\n{content}\r\n");
    format!("{}{}--edge--\r\n", part("name=\"master_pwd\"", "x"), part(name, content))
}

const FORM: &str = "multipart/form-data; boundary=edge";

#[tokio::test]
async fn an_archive_comes_in_whichever_way_and_waits_for_a_worker() {
    let rig = Rig::start();
    rig.share();
    let instance = running(&rig).await;
    let path = instance_path(&instance, "/import");
    let form = form("name=\"backup_file\"; filename=\"../../x.zip\"", CONTENT);
    for (kind, path, body) in [
        ("application/zip", path.clone(), CONTENT.to_owned()),
        ("application/octet-stream", format!("{path}/?label=from%20elsewhere"), CONTENT.to_owned()),
        (FORM, path.clone(), form),
    ] {
        let got = bring(&rig, &path, kind, body).await;
        assert_eq!((got.status, &got.json["bytes"]), (200, &json!(CONTENT.len())), "{got:?}");
        let operation = got.json["job_id"].as_str().unwrap();
        let lies = std::fs::read_to_string(rig.transfer.path().join(format!("imports/{operation}.zip"))).unwrap();
        assert_eq!(lies, CONTENT);
        let row = format!("SELECT kind, scope, params ->> 'origin' FROM instance_service.operations WHERE id = '{operation}'");
        assert_eq!(rig.sql(&row), format!("import|instance:{}|imported", instance["id"].as_str().unwrap()));
    }
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations WHERE params ->> 'label' = 'from elsewhere'"), "1");
    // The row shows nothing of it but that something is under way.
    let shown = rig.get(&instance_path(&instance, "")).await;
    assert_eq!(shown.json["status"], "running");

    let keyed = async |body: &str| {
        let request = Request::post(&path).header("content-type", "application/zip").header("idempotency-key", "once");
        rig.send(request.body(Body::from(body.to_owned())).unwrap()).await
    };
    let (first, second) = (keyed(CONTENT).await, keyed(CONTENT).await);
    assert_eq!((&first.json, second.header("idempotency-replayed")), (&second.json, "true"), "{second:?}");
    assert_eq!(keyed("PK\x03\x04 another one").await.status, 422);
    assert_eq!(rig.handed_over().len(), 4, "one for each operation");
}

#[tokio::test]
async fn what_is_not_taken_leaves_nothing() {
    let rig = Rig::start();
    let instance = running(&rig).await;
    let path = instance_path(&instance, "/import");
    assert_eq!(bring(&rig, &path, "application/zip", CONTENT).await.status, 503, "no worker has this directory");
    rig.share();
    let (large, before) = ("PK\x03\x04".to_owned() + &" ".repeat(1024 * 1024), rig.rows());
    let breaks = || {
        let pieces = [Ok(Bytes::from_static(CONTENT.as_bytes())), Err(io::Error::other("the caller is gone"))];
        Body::from_stream(stream::iter(pieces))
    };
    let long = format!("{path}?label={}", "x".repeat(101));
    for (status, what, path, kind, body) in [
        (422, "is not a zip archive", &path, "application/zip", Body::from("MZ not a zip")),
        (422, "is not a zip archive", &path, "application/zip", Body::empty()),
        (422, "is not a zip archive", &path, FORM, Body::from(form("name=\"f\"; filename=\"f\"", "no"))),
        (422, "is required", &path, FORM, Body::from(form("name=\"f\"", CONTENT))),
        (
            400,
            "did not arrive in full",
            &path,
            FORM,
            Body::from(form("name=\"f\"; filename=\"f\"", CONTENT).replace("--edge--", "")),
        ),
        (400, "did not arrive in full", &path, "application/zip", breaks()),
        (400, "did not arrive in full", &path, "multipart/form-data", Body::from(CONTENT)),
        (413, "larger than 1 MiB", &path, "application/zip", Body::from(large.clone())),
        (
            413,
            "larger than 1 MiB",
            &path,
            "application/zip",
            Body::from_stream(stream::iter([Ok::<_, io::Error>(large.clone())])),
        ),
        (413, "larger than 1 MiB", &path, FORM, Body::from(form("name=\"f\"; filename=\"f\"", &large))),
        (422, "Content-Type must be", &path, "text/plain", Body::from(CONTENT)),
        (422, "at most 100 characters", &long, "application/zip", Body::from(CONTENT)),
        (422, "url is required", &path, "application/json", Body::from("{}")),
        (422, "is not valid JSON", &path, "application/json", Body::from(CONTENT)),
        (422, "https address", &path, "application/json", Body::from(r#"{"url": "http://files.example/x"}"#)),
        (400, "are not fetched here", &path, "application/json", Body::from(r#"{"url": "https://files.example/x"}"#)),
        (404, "Instance not found", &instance_path(&json!({"id": uuid()}), "/import"), "application/zip", Body::from(CONTENT)),
        (422, "UUID", &"/api/v1/instances/x/import".to_owned(), "application/zip", Body::from(CONTENT)),
    ] {
        let got = bring(&rig, path, kind, body).await;
        assert!(got.status == status && got.detail().contains(what), "{what}: {got:?}");
        assert_eq!(rig.handed_over(), Vec::<String>::new(), "{what}");
        assert_eq!(rig.rows(), before, "{what}");
    }
    // Where nothing can be loaded, nothing is received.
    for (status, phase) in [("paused", "ready"), ("creating", "registered")] {
        rig.sql(&format!("UPDATE public.instances SET status = '{status}', desired_state = 'stopped', phase = '{phase}'"));
        let got = bring(&rig, &path, "application/zip", breaks()).await;
        assert!(got.status == 400 && got.detail().starts_with("Nothing can be imported"), "{got:?}");
    }
    let full = running(&rig).await;
    rig.sql(&format!(
        "INSERT INTO instance_service.operations (id, scope, instance_id, kind, class, def_version)
         SELECT gen_random_uuid(), 'instance:{0}', '{0}', 'backup', 'backup', 1 FROM generate_series(1, 10)",
        full["id"].as_str().unwrap()
    ));
    assert_eq!(bring(&rig, &instance_path(&full, "/import"), "application/zip", CONTENT).await.status, 409);
    assert_eq!(rig.handed_over(), Vec::<String>::new());
    // Elsewhere the limit of bodies is what it was.
    let other = rig.send(Request::post("/api/v1/instances").body(Body::from(large.repeat(2))).unwrap()).await;
    assert_eq!(other.status, 413);
}
