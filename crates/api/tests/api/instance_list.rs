//! `GET /api/v1/instances`

use crate::rig::{Got, Rig, instance_path, order_with, uuid};
use serde_json::{Value, json};

async fn three(rig: &Rig, customer: &str) -> Vec<Value> {
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(rig.post("/api/v1/instances/", &order_with(json!({"customer_id": customer}))).await.json);
    }
    made
}

async fn list(rig: &Rig, customer: &str, more: &str) -> Got {
    let got = rig.get(&format!("/api/v1/instances/?customer_id={customer}{more}")).await;
    assert_eq!(got.status, 200, "{got:?}");
    got
}

fn ids(got: &Got) -> Vec<Value> {
    got.json["instances"].as_array().unwrap().iter().map(|instance| instance["id"].clone()).collect()
}

#[tokio::test]
async fn it_is_newest_first_with_terminated_ones_and_a_true_total() {
    let rig = Rig::start();
    let customer = uuid();
    let made = three(&rig, &customer).await;
    three(&rig, &uuid()).await;
    rig.delete(&instance_path(&made[0], "")).await;
    let got = list(&rig, &customer, "").await;
    let expected: Vec<Value> = made.iter().rev().map(|instance| instance["id"].clone()).collect();
    assert_eq!(ids(&got), expected);
    assert_eq!((&got.json["total"], &got.json["page"], &got.json["page_size"]), (&json!(3), &json!(1), &json!(100)));
    let second = list(&rig, &customer, "&page=2&page_size=2").await;
    assert_eq!((ids(&second), &second.json["total"]), (vec![made[0]["id"].clone()], &json!(3)));
    let far = list(&rig, &customer, "&page=1000000000").await;
    assert_eq!((ids(&far), &far.json["total"]), (vec![], &json!(3)));
}

#[tokio::test]
async fn the_status_is_part_of_the_query() {
    let rig = Rig::start();
    let customer = uuid();
    let made = three(&rig, &customer).await;
    rig.delete(&instance_path(&made[1], "")).await;
    let got = list(&rig, &customer, "&status=terminated&page_size=1").await;
    assert_eq!((ids(&got), &got.json["total"]), (vec![made[1]["id"].clone()], &json!(1)));
    assert_eq!(list(&rig, &customer, "&status=running").await.json["total"], 0);
}

#[tokio::test]
async fn a_missing_customer_breaks_a_rule_and_odd_values_are_of_the_wrong_form() {
    let rig = Rig::start();
    let got = rig.get("/api/v1/instances/").await;
    assert_eq!((got.status, got.detail()), (400, "customer_id parameter is required"));
    let wrong = [
        ("customer_id=1", "query.customer_id"),
        ("customer_id=%00", "query.customer_id"),
        ("page=0", "query.page"),
        ("page=-1", "query.page"),
        ("page=x", "query.page"),
        ("page=99999999999999999999", "query.page"),
        ("page_size=0", "query.page_size"),
        ("page_size=101", "query.page_size"),
        ("status=sleeping", "query.status"),
        ("status=%00", "query.status"),
    ];
    for (query, place) in wrong {
        let got = rig.get(&format!("/api/v1/instances/?{query}")).await;
        assert_eq!((got.status, got.places()), (422, vec![place.to_owned()]), "{query}");
    }
}
