//! One key never runs twice.

use crate::rig::{Rig, raw};
use db::platform::idempotency::{Answer, Begun, begin, remove_expired, store};
use serde_json::json;
use std::sync::Arc;

const SCOPE: &str = "internal billing POST /api/v1/instances/";

fn answer() -> Answer {
    Answer { status: 201, body: json!({ "id": 1 }), operation_id: None }
}

#[tokio::test]
async fn the_first_answer_is_repeated_for_the_same_body_only() {
    let rig = Rig::start();
    let mut tx = rig.tx().await;
    assert_eq!(begin(&mut tx, SCOPE, "k", b"body").await.unwrap(), Begun::Fresh);
    store(&mut tx, SCOPE, "k", b"body", &answer()).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = rig.tx().await;
    assert_eq!(begin(&mut tx, SCOPE, "k", b"body").await.unwrap(), Begun::Replay { status: 201, body: json!({ "id": 1 }) });
    assert_eq!(begin(&mut tx, SCOPE, "k", b"other").await.unwrap(), Begun::Mismatch);
    assert_eq!(begin(&mut tx, "another scope", "k", b"other").await.unwrap(), Begun::Fresh);
}

#[tokio::test]
async fn twice_at_once_the_second_is_told_so_and_never_waits() {
    let rig = Rig::start();
    let mut first = rig.tx().await;
    assert_eq!(begin(&mut first, SCOPE, "k", b"body").await.unwrap(), Begun::Fresh);
    let mut second = rig.tx().await;
    assert_eq!(begin(&mut second, SCOPE, "k", b"body").await.unwrap(), Begun::InProgress);
    second.rollback().await.unwrap();
    store(&mut first, SCOPE, "k", b"body", &answer()).await.unwrap();
    first.commit().await.unwrap();
    let mut third = rig.tx().await;
    assert!(matches!(begin(&mut third, SCOPE, "k", b"body").await.unwrap(), Begun::Replay { .. }));
}

#[tokio::test]
async fn many_at_once_run_once() {
    let rig = Rig::start().crowded().await;
    let calls = (0..30).map(|_| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move {
            let mut tx = rig.tx().await;
            if begin(&mut tx, SCOPE, "k", b"body").await.unwrap() != Begun::Fresh {
                return 0;
            }
            store(&mut tx, SCOPE, "k", b"body", &answer()).await.unwrap();
            tx.commit().await.unwrap();
            1
        })
    });
    let mut runs = 0;
    for call in calls.collect::<Vec<_>>() {
        runs += call.await.unwrap();
    }
    assert_eq!(runs, 1);
}

#[tokio::test]
async fn a_fault_keeps_neither_key_nor_effect() {
    let rig = Rig::start();
    let mut tx = rig.tx().await;
    assert_eq!(begin(&mut tx, SCOPE, "k", b"body").await.unwrap(), Begun::Fresh);
    store(&mut tx, SCOPE, "k", b"body", &answer()).await.unwrap();
    tx.rollback().await.unwrap();
    let mut tx = rig.tx().await;
    assert_eq!(begin(&mut tx, SCOPE, "k", b"body").await.unwrap(), Begun::Fresh);
    tx.rollback().await.unwrap();
    rig.created(raw("shop")).await;
}

#[tokio::test]
async fn an_expired_key_is_free_again() {
    let rig = Rig::start();
    let mut tx = rig.tx().await;
    store(&mut tx, SCOPE, "k", b"body", &answer()).await.unwrap();
    store(&mut tx, SCOPE, "fresh", b"body", &answer()).await.unwrap();
    tx.commit().await.unwrap();
    rig.sql("UPDATE instance_service.idempotency_keys SET expires_at = now() - interval '1 s' WHERE key = 'k'");
    let mut tx = rig.tx().await;
    assert_eq!(begin(&mut tx, SCOPE, "k", b"other").await.unwrap(), Begun::Fresh);
    store(&mut tx, SCOPE, "k", b"other", &answer()).await.unwrap();
    assert!(matches!(begin(&mut tx, SCOPE, "k", b"other").await.unwrap(), Begun::Replay { .. }));
    tx.rollback().await.unwrap();
    assert_eq!(remove_expired(&rig.db).await.unwrap(), 1);
    assert_eq!(rig.sql("SELECT key FROM instance_service.idempotency_keys"), "fresh");
}
