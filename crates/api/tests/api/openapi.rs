//! `GET /openapi.json`

use crate::rig::{Rig, uuid};
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use std::collections::BTreeSet;

#[test]
fn the_description_is_the_accepted_one() {
    let accepted: Value = serde_json::from_str(include_str!("../../../../docs/openapi.json")).unwrap();
    let generated = serde_json::to_value(api::openapi()).unwrap();
    assert!(generated == accepted, "docs/openapi.json is not what the code says: look at what `cargo dev openapi` changes");
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
fn every_call_has_a_name_of_its_own_and_says_whether_it_needs_the_token() {
    let description = serde_json::to_value(api::openapi()).unwrap();
    let scheme = &description["components"]["securitySchemes"]["internal_token"];
    assert_eq!((&scheme["in"], &scheme["name"]), (&"header".into(), &"X-Internal-Token".into()));
    let (mut names, mut open) = (BTreeSet::new(), 0);
    for (path, calls) in description["paths"].as_object().unwrap() {
        for (method, call) in calls.as_object().unwrap() {
            let name = call["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no name"));
            assert!(names.insert(name.to_owned()), "{method} {path} is a second {name}");
            let token = json!({"internal_token": []});
            let security = match path.as_str() {
                "/livez" | "/health" | "/webhooks/killbill/{secret}" => Value::Null,
                path if path.starts_with("/admin") || path.starts_with("/api/v1/monitoring") => json!([token]),
                _ => json!([{}, token]),
            };
            let (session, mut others) = (json!({"session": []}), call["security"].clone());
            let is_open = others.as_array().is_some_and(|ways| ways.contains(&session));
            if let Some(ways) = others.as_array_mut() {
                ways.retain(|way| *way != session);
            }
            assert_eq!(others, security, "{method} {path}");
            open += usize::from(is_open);
            assert!(!is_open || call["responses"]["401"].is_object(), "{method} {path}");
        }
    }
    // But for the bare check of no text, which has no description of its own.
    assert_eq!(open + 1, api::public_door::OPEN.len());
}

/// Null is said, not left out.
#[test]
fn every_field_of_an_instance_is_required() {
    let description = serde_json::to_value(api::openapi()).unwrap();
    for name in ["Instance", "InstanceStatus", "Operation", "Step"] {
        let schema = &description["components"]["schemas"][name];
        let fields: BTreeSet<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let required: BTreeSet<&str> = schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(required, fields, "{name}");
    }
    let host = &description["components"]["schemas"]["Instance"]["properties"]["hostname"]["type"];
    assert_eq!(host, &json!(["string", "null"]));
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

/// What schemathesis compares answers with would else let any field pass. The bodies of requests are open: unknown fields are ignored.
#[test]
fn answers_are_closed_and_requests_are_open() {
    let description = serde_json::to_value(api::openapi()).unwrap();
    let mut open = Vec::new();
    for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
        if schema["properties"].is_object() && schema["additionalProperties"] != false {
            open.push(name.as_str());
        }
    }
    assert_eq!(
        open,
        [
            "BackupCheck",
            "BackupScheduleChange",
            "ChangeInstance",
            "CreateInstance",
            "ImportForm",
            "ImportSource",
            "InstanceAction",
            "InstanceClone",
            "KillBillEvent",
            "ProvisionInstance",
            "ReactivateInstance",
            "WayBack"
        ]
    );
}

/// Who copies an example gets what it says.
#[tokio::test]
async fn the_examples_are_understood() {
    let rig = Rig::start();
    let description = serde_json::to_value(api::openapi()).unwrap();
    let example = |name: &str| description["components"]["schemas"][name]["example"].clone();
    let created = rig.post("/api/v1/instances/", &example("CreateInstance")).await;
    assert_eq!(created.status, 201, "{created:?}");
    let shown: BTreeSet<String> = example("Instance").as_object().unwrap().keys().cloned().collect();
    assert_eq!(shown, created.json.as_object().unwrap().keys().cloned().collect());
    let path = |rest: &str| format!("/api/v1/instances/{}{rest}", created.json["id"].as_str().unwrap());
    let put = Request::put(path("")).body(Body::from(example("ChangeInstance").to_string())).unwrap();
    assert_eq!(rig.send(put).await.status, 200);
    for (rest, name, status) in [
        ("/provision", "ProvisionInstance", 200),
        ("/actions", "InstanceAction", 200),
        ("/restart-with-subscription", "ReactivateInstance", 400),
    ] {
        let got = rig.post(&path(rest), &example(name)).await;
        assert_eq!(got.status, status, "{name}: {got:?}");
    }
}
