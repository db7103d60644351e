//! `Idempotency-Key` on every POST (contract 3.2).

use crate::rig::{Rig, instance_path, order, order_with};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

const CREATE: &str = "/api/v1/instances/";

#[tokio::test]
async fn a_repetition_gets_the_first_answer() {
    let rig = Rig::start();
    let body = order();
    let first = rig.post_with_key(CREATE, "k", &body).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, ""));
    // The row moves on; the answer does not.
    rig.delete(&instance_path(&first.json, "")).await;
    let rows = rig.rows();
    for path in [CREATE, "/api/v1/instances"] {
        let again = rig.post_with_key(path, "k", &body).await;
        assert_eq!((again.status, again.header("idempotency-replayed"), &again.json), (201, "true", &first.json));
    }
    assert_eq!(rig.rows(), rows);
}

#[tokio::test]
async fn every_post_accepts_one() {
    let rig = Rig::start();
    let instance = rig.created().await;
    let provision = rig.post_with_key(&instance_path(&instance, "/provision"), "k", &json!({})).await;
    assert_eq!(provision.json["status"], "success", "{provision:?}");
    let again = rig.post_with_key(&instance_path(&instance, "/provision"), "k", &json!({})).await;
    assert_eq!((again.header("idempotency-replayed"), &again.json), ("true", &provision.json));
    let cancel = format!("/api/v1/operations/{}/cancel", provision.json["job_id"].as_str().unwrap());
    for replayed in ["", "true"] {
        let got = rig.post_with_key(&cancel, "k", &json!({})).await;
        assert_eq!((got.status, got.header("idempotency-replayed")), (202, replayed));
    }
    for replayed in ["", "true"] {
        let got = rig.post_with_key(&instance_path(&instance, "/actions"), "k", &json!({"action": "terminate"})).await;
        assert_eq!((got.status, got.header("idempotency-replayed")), (200, replayed));
    }
}

#[tokio::test]
async fn another_body_or_query_under_the_same_key_is_refused() {
    let rig = Rig::start();
    let body = order();
    rig.post_with_key(CREATE, "k", &body).await;
    let rows = rig.rows();
    for (path, body) in [(CREATE, order()), ("/api/v1/instances/?provision=true", body)] {
        let got = rig.post_with_key(path, "k", &body).await;
        assert_eq!((got.status, got.places()), (422, vec!["header.Idempotency-Key".to_owned()]));
    }
    assert_eq!(rig.rows(), rows);
}

#[tokio::test]
async fn a_key_belongs_to_one_path() {
    let rig = Rig::start();
    let (one, two) = (rig.created().await, rig.created().await);
    for instance in [&one, &two] {
        let got = rig.post_with_key(&instance_path(instance, "/provision"), "k", &json!({})).await;
        assert_eq!(got.json["status"], "success", "{got:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_kept_and_leaves_no_effect() {
    let rig = Rig::start();
    let taken = rig.created().await;
    let body = order_with(json!({"subscription_id": taken["subscription_id"]}));
    let rows = rig.rows();
    let first = rig.post_with_key(CREATE, "k", &body).await;
    let again = rig.post_with_key(CREATE, "k", &body).await;
    assert_eq!((first.status, again.status), (409, 409));
    assert_eq!((again.header("idempotency-replayed"), &again.json), ("true", &first.json));
    assert_eq!(rig.rows(), rows);
}

#[tokio::test]
async fn a_malformed_request_leaves_its_key_free() {
    let rig = Rig::start();
    for malformed in [order_with(json!({"cpu_limit": "many"})), order_with(json!({"customer_id": "mine"}))] {
        assert_eq!(rig.post_with_key(CREATE, "k", &malformed).await.status, 422);
    }
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.idempotency_keys"), "0");
    let corrected = rig.post_with_key(CREATE, "k", &order()).await;
    assert_eq!((corrected.status, corrected.header("idempotency-replayed")), (201, ""));
}

#[tokio::test]
async fn a_fault_is_not_kept() {
    let rig = Rig::start();
    let instance = rig.created().await;
    rig.sql("UPDATE public.instances SET status = 'running', desired_state = 'running', phase = 'ready'");
    rig.sql("REVOKE INSERT ON instance_service.operations FROM instance_service");
    let got = rig.post_with_key(&instance_path(&instance, "/actions"), "k", &json!({"action": "stop"})).await;
    assert_eq!(got.status, 500);
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.idempotency_keys"), "0");
}

#[tokio::test]
async fn key_and_effect_are_written_together_or_not_at_all() {
    let rig = Rig::start();
    rig.sql("REVOKE INSERT ON instance_service.idempotency_keys FROM instance_service");
    let rows = rig.rows();
    assert_eq!(rig.post_with_key(CREATE, "k", &order()).await.status, 500);
    assert_eq!(rig.rows(), rows);
}

#[tokio::test]
async fn equal_requests_at_once_have_one_effect() {
    let rig = Rig::start();
    let body = order();
    let requests = (0..20).map(|_| rig.post_with_key("/api/v1/instances/?provision=true", "k", &body));
    let answers = futures::future::join_all(requests).await;
    let done: Vec<&Value> = answers.iter().filter(|got| got.status == 201).map(|got| &got.json["id"]).collect();
    assert!(!done.is_empty() && done.iter().all(|id| *id == done[0]), "{answers:?}");
    for got in &answers {
        assert!(got.status == 201 || got.status == 409 && got.detail().contains("in progress"), "{got:?}");
    }
    assert_eq!(
        rig.sql("SELECT (SELECT count(*) FROM public.instances), (SELECT count(*) FROM instance_service.operations)"),
        "1|1"
    );
    // Once it is answered, any number at once get the same answer.
    let requests = (0..20).map(|_| rig.post_with_key("/api/v1/instances/?provision=true", "k", &body));
    for got in futures::future::join_all(requests).await {
        assert_eq!((got.status, &got.json["id"], got.header("idempotency-replayed")), (201, done[0], "true"), "{got:?}");
    }
}

#[tokio::test]
async fn an_expired_key_is_a_new_one() {
    let rig = Rig::start();
    let first = rig.post_with_key(CREATE, "k", &order()).await;
    rig.sql("UPDATE instance_service.idempotency_keys SET expires_at = now() - interval '1 s'");
    let second = rig.post_with_key(CREATE, "k", &order()).await;
    assert_eq!((second.status, second.json["id"] == first.json["id"]), (201, false));
}

#[tokio::test]
async fn a_key_is_1_to_255_printable_characters() {
    let rig = Rig::start();
    let longest = "k".repeat(255);
    assert_eq!(rig.post_with_key(CREATE, &longest, &order()).await.status, 201);
    let ask = |key: &[u8]| Request::post(CREATE).header("idempotency-key", key).body(Body::from(order().to_string())).unwrap();
    for key in [&b""[..], "k".repeat(256).as_bytes(), b"a\tb", b"\xc3\xbc", b"\xff"] {
        let got = rig.send(ask(key)).await;
        assert_eq!((got.status, got.places()), (422, vec!["header.Idempotency-Key".to_owned()]), "{key:?}");
    }
}

#[tokio::test]
async fn a_password_leaves_no_hash_behind() {
    let rig = Rig::start();
    let mut body = order_with(json!({"admin_password": "Str0ngSecretWord"}));
    assert_eq!(rig.post_with_key(CREATE, "k", &body).await.status, 201);
    // What was stored does not tell one password from another.
    body["admin_password"] = json!("An0therSecretWord");
    assert_eq!(rig.post_with_key(CREATE, "k", &body).await.header("idempotency-replayed"), "true");
    body["name"] = json!("Another shop");
    assert_eq!(rig.post_with_key(CREATE, "k", &body).await.status, 422);
}
