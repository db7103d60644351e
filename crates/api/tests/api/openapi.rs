//! `GET /openapi.json`

use crate::rig::{Rig, uuid};
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::Value;

#[test]
fn the_description_is_the_accepted_one() {
    insta::assert_json_snapshot!("openapi", api::openapi());
}

#[tokio::test]
async fn the_served_description_is_the_generated_one() {
    let got = Rig::start().get("/openapi.json").await;
    assert_eq!((got.status, got.header("content-type")), (200, "application/json"));
    assert_eq!(got.json, serde_json::to_value(api::openapi()).unwrap());
}

#[tokio::test]
async fn every_described_call_exists() {
    let rig = Rig::start();
    let description = serde_json::to_value(api::openapi()).unwrap();
    for (path, calls) in description["paths"].as_object().unwrap() {
        for method in calls.as_object().unwrap().keys() {
            let concrete = path.split('/').map(|part| if part.starts_with('{') { uuid() } else { part.to_owned() });
            let concrete = concrete.collect::<Vec<_>>().join("/");
            let method: Method = method.to_uppercase().parse().unwrap();
            let request = Request::builder().method(method.clone()).uri(&concrete).body(Body::empty()).unwrap();
            let got = rig.send(request).await;
            assert_ne!(got.status, 405, "{method} {path}");
            assert!(got.status != 404 || got.detail() != "Not Found", "{method} {path}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let description = serde_json::to_value(api::openapi()).unwrap();
    let mut references = Vec::new();
    gather(&description, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let found = description.pointer(reference.trim_start_matches('#'));
        assert!(found.is_some(), "{reference} leads nowhere");
    }
}

fn gather(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| gather(value, references));
        }
        Value::Array(items) => items.iter().for_each(|item| gather(item, references)),
        _ => {}
    }
}

#[test]
fn every_call_declares_its_path_its_key_and_what_may_befall_it() {
    let description = serde_json::to_value(api::openapi()).unwrap();
    for (path, calls) in description["paths"].as_object().unwrap() {
        for (method, call) in calls.as_object().unwrap() {
            let declared = |kind: &str| -> Vec<&str> {
                let parameters = call["parameters"].as_array().into_iter().flatten();
                parameters.filter(|one| one["in"] == kind).filter_map(|one| one["name"].as_str()).collect()
            };
            let named: Vec<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
            assert_eq!(declared("path"), named, "{method} {path}");
            let built = call["tags"][0] != "not built" && path.starts_with("/api/");
            assert!(!built || method != "post" || declared("header").contains(&"Idempotency-Key"), "{method} {path}");
            assert!(!built || call["responses"]["503"].is_object(), "{method} {path}");
        }
    }
}
