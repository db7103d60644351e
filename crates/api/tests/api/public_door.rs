//! The public door: every route against every kind of caller, by a table typed by hand; sessions, their store, and its memory.

use crate::rig::{Rig, instance_path, uuid};
use axum::body::Body;
use axum::http::Request;
use chrono::TimeDelta;
use clients::Session;
use domain::sources::Clock as _;
use serde_json::json;
use std::collections::BTreeSet;

/// Route; then the statuses for: no token, an unknown one, one whose time is over, another customer, the owner, the internal door.
const TABLE: &str = "
GET / 200 200 200 200 200 200
GET /health 200 200 200 200 200 200
GET /livez 401 401 401 403 403 200
GET /readyz 401 401 401 403 403 200
GET /metrics 401 401 401 403 403 200
GET /health/database 401 401 401 403 403 200
GET /openapi.json 401 401 401 403 403 200
GET /docs 401 401 401 403 403 200
POST /webhooks/killbill/{secret} 401 401 401 403 403 404

GET /api/v1/instances 401 401 401 403 200 200
POST /api/v1/instances 401 401 401 403 403 422
GET /api/v1/instances/by-subscription/{subscription_id} 401 401 401 403 403 404
GET /api/v1/instances/check-subdomain/{text} 401 401 401 200 200 200
GET /api/v1/instances/{id} 401 401 401 404 200 200
PUT /api/v1/instances/{id} 401 401 401 403 403 200
DELETE /api/v1/instances/{id} 401 401 401 403 403 200
GET /api/v1/instances/{id}/status 401 401 401 404 200 200
GET /api/v1/instances/{id}/logs 401 401 401 404 200 200
POST /api/v1/instances/{id}/actions 401 401 401 404 400 400
POST /api/v1/instances/{id}/provision 401 401 401 403 403 200
POST /api/v1/instances/{id}/restart-with-subscription 401 401 401 403 403 400
POST /api/v1/instances/{id}/apply-resources 401 401 401 403 403 200
GET /api/v1/instances/{id}/backups 401 401 401 404 200 200
GET /api/v1/instances/{id}/backup-schedule 401 401 401 404 200 200
PUT /api/v1/instances/{id}/backup-schedule 401 401 401 404 200 200
POST /api/v1/instances/{id}/clone 401 401 401 403 403 422
POST /api/v1/instances/{id}/import 401 401 401 403 403 400
POST /api/v1/instances/{id}/undo-restore 401 401 401 403 403 400
GET /api/v1/backups/{id} 401 401 401 404 200 200
DELETE /api/v1/backups/{id} 401 401 401 403 403 409
GET /api/v1/backups/{id}/export 401 401 401 404 202 202
POST /api/v1/backups/{id}/verify 401 401 401 403 403 200

GET /api/v1/operations 401 401 401 404 200 200
GET /api/v1/operations/{id} 401 401 401 404 200 200
GET /api/v1/operations/{id}/events 401 401 401 404 200 200
POST /api/v1/operations/{id}/cancel 401 401 401 404 403 409

GET /admin/failed-instances 401 401 401 403 403 200
GET /admin/failed-mails 401 401 401 403 403 200
POST /admin/retry-mail/{id} 401 401 401 403 403 404
POST /admin/retry-instance/{id} 401 401 401 403 403 400
GET /admin/instance-jobs/{id} 401 401 401 403 403 200
GET /admin/instance-stats 401 401 401 403 403 200
POST /admin/suspend-instance/{id} 401 401 401 403 403 200
POST /admin/unsuspend-instance/{id} 401 401 401 403 403 400
POST /admin/operations/{id}/retry 401 401 401 403 403 409
GET /admin/odoo-servers 401 401 401 403 403 501
POST /admin/odoo-servers 401 401 401 403 403 501
PATCH /admin/odoo-servers/{id} 401 401 401 403 403 501
POST /admin/relocate-instance/{id} 401 401 401 403 403 501
POST /admin/adopt 401 401 401 403 403 501
GET /admin/adoption-report 401 401 401 403 403 501
GET /api/v1/monitoring/status 401 401 401 403 403 200
POST /api/v1/monitoring/start 401 401 401 403 403 200
POST /api/v1/monitoring/stop 401 401 401 403 403 200
POST /api/v1/monitoring/restart 401 401 401 403 403 200
POST /api/v1/monitoring/reconcile 401 401 401 403 403 202
GET /api/v1/monitoring/containers 401 401 401 403 403 200
GET /api/v1/monitoring/containers/{name}/status 401 401 401 403 403 404
POST /api/v1/monitoring/containers/{name}/sync 401 401 401 403 403 404
GET /api/v1/monitoring/metrics 401 401 401 403 403 200
GET /api/v1/monitoring/config 401 401 401 403 403 200
PUT /api/v1/monitoring/config 401 401 401 403 403 200
GET /api/v1/monitoring/tasks/{id}/status 401 401 401 403 403 404
GET /api/v1/monitoring/health 401 401 401 403 403 200
";

struct Row {
    method: &'static str,
    path: &'static str,
    expected: [u16; 6],
}

fn table() -> Vec<Row> {
    let row = |line: &'static str| {
        let parts: Vec<&str> = line.split(' ').collect();
        let [method, path, statuses @ ..] = &parts[..] else { panic!("{line}") };
        let statuses: Vec<u16> = statuses.iter().map(|status| status.parse().unwrap()).collect();
        Row { method, path, expected: statuses.try_into().unwrap() }
    };
    TABLE.lines().filter(|line| !line.is_empty()).map(row).collect()
}

/// A provisioned instance's worth of things, all of one customer.
struct Things {
    customer: String,
    instance: String,
    operation: String,
    backup: String,
}

async fn things(rig: &Rig) -> Things {
    let instance = rig.provisioning().await;
    let text = |field: &str| instance[field].as_str().unwrap().to_owned();
    let things = Things {
        customer: text("customer_id"),
        instance: text("id"),
        operation: text("operation_id"),
        backup: rig.whole_backup(&instance),
    };
    rig.finish(&things.operation, &json!({}));
    things
}

/// A route with real ids in it.
fn filled(path: &str, of: &Things) -> String {
    let id = match path {
        _ if path.contains("/operations/") => &of.operation,
        _ if path.contains("/backups/") => &of.backup,
        _ => &of.instance,
    };
    let path = path
        .replace("{id}", id)
        .replace("{subscription_id}", &uuid())
        .replace("{text}", "corner-shop")
        .replace("{name}", "odoo-1");
    match path.as_str() {
        "/api/v1/instances" => format!("{path}?customer_id={}", of.customer),
        "/api/v1/operations" => format!("{path}?instance_id={}", of.instance),
        _ => path,
    }
}

#[tokio::test]
async fn every_route_has_its_row_and_keeps_to_it() {
    let rig = Rig::start();
    rig.share();
    let description = serde_json::to_value(api::openapi()).unwrap();
    let mut routes = BTreeSet::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys().filter(|key| *key != "parameters");
        routes.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    let rows = table();
    let known: BTreeSet<String> = rows.iter().map(|row| format!("{} {}", row.method, row.path)).collect();
    assert_eq!(known, routes, "each route has one row, and each row a route");

    let over = uuid();
    let mut faults = Vec::new();
    for row in &rows {
        let things = things(&rig).await;
        let end = Some(rig.clock.now() - TimeDelta::seconds(1));
        rig.sessions.put(&over, Session { customer: things.customer.parse().unwrap(), expires_at: end });
        let (stranger, owner) = (rig.log_in(&uuid()), rig.log_in(&things.customer));
        let path = filled(row.path, &things);
        let body = if row.path.ends_with("/actions") { r#"{"action": "restart"}"# } else { "{}" };
        let mut seen = Vec::new();
        for token in [None, Some("unknown"), Some(&over), Some(&stranger), Some(&owner)] {
            seen.push(rig.by_public(row.method, &path, token, body).await.status);
        }
        let request = Request::builder().method(row.method).uri(&path).body(Body::from(body)).unwrap();
        seen.push(rig.send(request).await.status);
        if seen != row.expected {
            faults.push(format!("{} {}: expected {:?}, saw {seen:?}", row.method, row.path, row.expected));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test]
async fn a_customer_sees_nothing_of_anothers_and_is_told_no_more_than_of_nothing() {
    let rig = Rig::start();
    let mine = things(&rig).await;
    let stranger = rig.log_in(&uuid());
    let get = async |path: String| rig.by_public("GET", &path, Some(&stranger), "").await;
    let (theirs, nothing) =
        (get(format!("/api/v1/instances/{}", mine.instance)).await, get(format!("/api/v1/instances/{}", uuid())).await);
    assert_eq!((theirs.status, theirs.detail()), (nothing.status, nothing.detail()));
    let (theirs, nothing) =
        (get(format!("/api/v1/operations/{}", mine.operation)).await, get(format!("/api/v1/operations/{}", uuid())).await);
    assert_eq!((theirs.status, theirs.detail()), (nothing.status, nothing.detail()));
    assert_eq!(get("/api/v1/operations".to_owned()).await.status, 400, "of which instance?");
    assert_eq!(get("/api/v1/instances".to_owned()).await.status, 400);
}

#[tokio::test]
async fn what_only_looks_is_not_shown_and_what_customers_start_they_cancel() {
    let rig = Rig::start();
    let mine = things(&rig).await;
    let owner = rig.log_in(&mine.customer);
    rig.sql(&format!(
        "UPDATE public.instances SET status = 'running', desired_state = 'running', phase = 'ready', provisioning_status = 'completed'
          WHERE id = '{}'",
        mine.instance
    ));
    let looking = uuid();
    rig.sql(&format!(
        "INSERT INTO instance_service.operations (id, scope, instance_id, kind, class, def_version, params, priority, door, actor)
         VALUES ('{looking}', 'own:{looking}', '{}', 'fetch_logs', 'control', 1, '{{}}', 0, 'internal', 'test')",
        mine.instance
    ));
    let list = rig.by_public("GET", &format!("/api/v1/operations?instance_id={}", mine.instance), Some(&owner), "").await;
    assert_eq!((&list.json["total"], &list.json["operations"][0]["kind"]), (&json!(1), &json!("provision")));
    assert_eq!(rig.by_public("GET", &format!("/api/v1/operations/{looking}"), Some(&owner), "").await.status, 404);

    let path = format!("/api/v1/instances/{}/actions", mine.instance);
    let stop = rig.by_public("POST", &path, Some(&owner), r#"{"action": "stop"}"#).await;
    assert_eq!(stop.status, 200, "{stop:?}");
    let job = stop.json["job_id"].as_str().unwrap();
    let who = rig.sql(&format!("SELECT door, actor FROM instance_service.operations WHERE id = '{job}'"));
    assert_eq!(who, format!("public|{}", mine.customer));
    let trail = "SELECT door, actor FROM instance_service.audit_log WHERE action = 'stop_accepted'";
    assert_eq!(rig.sql(trail), format!("public|{}", mine.customer));
    let cancelled = rig.by_public("POST", &format!("/api/v1/operations/{job}/cancel"), Some(&owner), "").await;
    assert_eq!((cancelled.status, &cancelled.json["state"]), (202, &json!("cancelled")));
    for action in ["suspend", "unsuspend", "terminate"] {
        let got = rig.by_public("POST", &path, Some(&owner), &json!({ "action": action }).to_string()).await;
        assert_eq!(got.status, 403, "{action}");
        let strange = rig.by_public("POST", &path, Some(&rig.log_in(&uuid())), &json!({ "action": action }).to_string()).await;
        assert_eq!(strange.status, 403, "whose it is comes after what is open: {action}");
    }
}

#[tokio::test]
async fn keys_of_two_customers_are_two_keys() {
    let rig = Rig::start();
    let mine = things(&rig).await;
    let path = format!("/api/v1/instances/{}/actions", mine.instance);
    let ask = async |token: &str| {
        let request = Request::post(&path)
            .header("x-forwarded-host", "app.example")
            .header("authorization", format!("Bearer {token}"))
            .header("idempotency-key", "one");
        rig.send(request.body(Body::from(r#"{"action": "restart"}"#)).unwrap()).await
    };
    let (owner, stranger) = (rig.log_in(&mine.customer), rig.log_in(&uuid()));
    assert_eq!((ask(&owner).await.status, ask(&stranger).await.status), (400, 404));
    let again = ask(&owner).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (400, "true"));
}

#[tokio::test]
async fn a_store_that_is_away_is_nobodys_fault_and_nobodys_leave() {
    let rig = Rig::start();
    let mine = things(&rig).await;
    let owner = rig.log_in(&mine.customer);
    let path = format!("/api/v1/instances/{}", mine.instance);
    rig.sessions.set_down(true);
    let got = rig.by_public("GET", &path, Some(&owner), "").await;
    assert_eq!((got.status, got.header("retry-after").is_empty()), (503, false), "{got:?}");
    assert_eq!(rig.by_public("GET", "/health", None, "").await.status, 200);
    assert_eq!(rig.get(&path).await.status, 200, "the internal door asks nobody");
    rig.sessions.set_down(false);
    assert_eq!(rig.by_public("GET", &path, Some(&owner), "").await.status, 200);
}

#[tokio::test]
async fn a_session_is_remembered_for_five_seconds_and_no_longer_than_it_lasts() {
    let rig = Rig::start();
    let mine = things(&rig).await;
    let owner = rig.log_in(&mine.customer);
    let path = format!("/api/v1/instances/{}/status", mine.instance);
    let status = async |token: &str| rig.by_public("GET", &path, Some(token), "").await.status;
    assert_eq!((status(&owner).await, status(&owner).await, rig.sessions.asked()), (200, 200, 1));
    rig.sessions.remove(&owner);
    assert_eq!(status(&owner).await, 200, "it is remembered");
    rig.clock.forward(6);
    assert_eq!(status(&owner).await, 401, "and then it is not");
    let short = uuid();
    let end = Some(rig.clock.now() + TimeDelta::seconds(3));
    rig.sessions.put(&short, Session { customer: mine.customer.parse().unwrap(), expires_at: end });
    assert_eq!(status(&short).await, 200);
    rig.clock.forward(4);
    assert_eq!(status(&short).await, 401);
    let asked = rig.sessions.asked();
    for _ in 0..2 {
        assert_eq!(status("unknown").await, 401);
    }
    assert_eq!(rig.sessions.asked(), asked + 2, "what is not there is not remembered");
}

#[tokio::test]
async fn host_names_are_looked_up_thirty_times_a_minute() {
    let rig = Rig::start();
    let (one, other) = (rig.log_in(&uuid()), rig.log_in(&uuid()));
    let check = async |token: &str| rig.by_public("GET", "/api/v1/instances/check-subdomain/shop", Some(token), "").await;
    for look in 1..=30 {
        assert_eq!(check(&one).await.status, 200, "look {look}");
    }
    let refused = check(&one).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    assert_eq!(check(&other).await.status, 200, "another session has its own");
    assert_eq!(rig.get("/api/v1/instances/check-subdomain/shop").await.status, 200, "and so has the internal door");
    rig.clock.forward(60);
    assert_eq!(check(&one).await.status, 200);
}

#[tokio::test]
async fn tokens_that_are_none_are_never_looked_up() {
    let rig = Rig::start();
    let instance = rig.created().await;
    let path = instance_path(&instance, "");
    let long = format!("Bearer {}", "x".repeat(10_000));
    for value in ["Basic abc", "Bearer", "Bearer ", "Bearer a b", "Bearer\u{e9}", long.as_str()] {
        let request = Request::get(&path).header("x-forwarded-host", "h").header("authorization", value.as_bytes());
        assert_eq!(rig.send(request.body(Body::empty()).unwrap()).await.status, 401, "{value:?}");
    }
    let twice = Request::get(&path)
        .header("x-forwarded-host", "h")
        .header("authorization", "Bearer a")
        .header("authorization", "Bearer b");
    assert_eq!(rig.send(twice.body(Body::empty()).unwrap()).await.status, 401);
    assert_eq!(rig.sessions.asked(), 0);
    let preflight = Request::options(&path).header("origin", "https://app.example").header("x-forwarded-host", "h");
    assert_eq!(rig.send(preflight.body(Body::empty()).unwrap()).await.status, 200, "a preflight needs no token");
}
