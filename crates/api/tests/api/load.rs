//! Many requests at once, with the pool of a deployment.

use crate::rig::{Rig, instance_path, order};
use futures::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_creates_with_one_subscription_make_one_row_that_every_answer_names() {
    let rig = Rig::start();
    let body = order();
    let answers = join_all((0..50).map(|_| rig.post("/api/v1/instances/", &body))).await;
    let ids: BTreeSet<String> = answers.iter().map(|got| got.json["id"].to_string()).collect();
    assert_eq!(ids.len(), 1, "{answers:?}");
    let mut statuses: Vec<u16> = answers.iter().map(|got| got.status).collect();
    statuses.sort_unstable();
    assert_eq!((statuses.iter().filter(|status| **status == 201).count(), statuses[0]), (1, 200));
    assert_eq!(rig.sql("SELECT count(*) FROM public.instances"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_provisions_make_one_operation_and_forty_nine_skips() {
    let rig = Rig::start();
    let path = instance_path(&rig.created().await, "/provision");
    let body = json!({});
    let answers = join_all((0..50).map(|_| rig.post(&path, &body))).await;
    let count = |word: &str| answers.iter().filter(|got| got.status == 200 && got.json["status"] == word).count();
    assert_eq!((count("success"), count("skipped")), (1, 49), "{answers:?}");
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_creates_of_different_customers_all_succeed_over_ten_connections() {
    let rig = Rig::start();
    let orders: Vec<Value> = (0..100).map(|_| order()).collect();
    let answers = join_all(orders.iter().map(|order| rig.post("/api/v1/instances/?provision=true", order))).await;
    let refused: Vec<_> = answers.iter().filter(|got| got.status != 201).collect();
    assert!(refused.is_empty(), "{refused:?}");
    assert_eq!(rig.sql("SELECT count(DISTINCT id), count(DISTINCT hostname) FROM public.instances"), "100|100");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn creates_for_one_host_name_have_one_winner() {
    let rig = Rig::start();
    let orders: Vec<Value> = (0..20).map(|_| crate::rig::order_with(json!({"subdomain": "contested"}))).collect();
    let answers = join_all(orders.iter().map(|order| rig.post("/api/v1/instances/", order))).await;
    let count = |status: u16| answers.iter().filter(|got| got.status == status).count();
    assert_eq!((count(201), count(409)), (1, 19), "{answers:?}");
}
