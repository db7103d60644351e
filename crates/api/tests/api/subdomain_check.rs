//! `GET /api/v1/instances/check-subdomain/{text}`: always 200.

use crate::rig::{Got, Rig, instance_path, order_with};
use serde_json::json;

async fn check(rig: &Rig, text: &str) -> Got {
    let got = rig.get(&format!("/api/v1/instances/check-subdomain/{text}")).await;
    assert_eq!(got.status, 200, "{got:?}");
    got
}

#[tokio::test]
async fn a_free_label_is_available_and_a_taken_one_is_not_in_any_case() {
    let rig = Rig::start();
    assert_eq!(check(&rig, "Fresh").await.json, json!({"subdomain": "Fresh", "available": true, "message": "Available"}));
    let instance = rig.post("/api/v1/instances/", &order_with(json!({"subdomain": "fresh"}))).await.json;
    for text in ["fresh", "FRESH"] {
        assert_eq!(check(&rig, text).await.json, json!({"subdomain": text, "available": false, "message": "Already taken"}));
    }
    rig.delete(&instance_path(&instance, "")).await;
    assert_eq!(check(&rig, "fresh").await.json["available"], true, "a terminated row holds no name");
}

#[tokio::test]
async fn a_text_that_breaks_a_rule_is_answered_with_the_rule() {
    let rig = Rig::start();
    let long = "a".repeat(200);
    for text in [
        "",
        "ab",
        &long,
        "-abc",
        "abc-",
        "xn--abc",
        "a.b",
        "a_b",
        "admin",
        "%00",
        "%ff%fe",
        "..%2f..",
        "%27%3B--",
        "%C3%BC%C3%BC%C3%BC",
    ] {
        let got = check(&rig, text).await;
        assert_eq!(got.json["available"], false, "{text}");
        assert!(got.json["message"].as_str().unwrap().len() > 10, "{got:?}");
    }
}
