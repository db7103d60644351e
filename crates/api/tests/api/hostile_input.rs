//! Whatever comes in: never a 5xx, and what is refused leaves nothing behind.

use crate::rig::{Got, Rig, instance_path, order, uuid};
use axum::body::Body;
use axum::http::{Method, Request, Uri};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Number, Value, json};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// Texts that have broken something somewhere.
const HOSTILE: &[&str] = &[
    "",
    " ",
    "\u{0}",
    "a\u{0}b",
    "'; DROP TABLE instances; --",
    "\" OR 1=1 --",
    "$1",
    "%s%n",
    "../../etc/passwd",
    "..\\..",
    "{{7*7}}",
    "${jndi:ldap://x}",
    "<script>",
    "\r\nX-Injected: 1",
    "\u{202e}gnp",
    "ÜñïçødÉ",
    "💥",
    "\u{feff}",
    "null",
    "true",
    "0",
    "-1",
    "1e309",
    "NaN",
    "xn--abc",
    "postgres",
    "template1",
    "public",
    "0G",
    "99999999999999999999G",
    "-1G",
    "1.5G",
    "１Ｇ",
    "a@b",
    "a@@b",
    "@",
    "17.0",
    "v17",
    "99",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(HOSTILE).prop_map(str::to_owned),
        ".{0,40}",
        "[a-zA-Z0-9_-]{1,60}",
        proptest::sample::select(HOSTILE).prop_map(|text| text.repeat(200)),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    let float = any::<f64>().prop_filter_map("JSON has no such number", |n| Number::from_f64(n).map(Value::Number));
    prop_oneof![any::<i64>().prop_map(Value::from), any::<u64>().prop_map(Value::from), float, Just(json!(0.1)), Just(json!(8))]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number(), text().prop_map(Value::from)];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// An order with one to three fields replaced; all others are valid, so that each rule is reached.
fn order_body() -> impl Strategy<Value = Value> {
    let fields = [
        "name",
        "odoo_version",
        "instance_type",
        "description",
        "cpu_limit",
        "memory_limit",
        "storage_limit",
        "admin_email",
        "admin_password",
        "database_name",
        "subdomain",
        "demo_data",
        "custom_addons",
        "disabled_modules",
        "environment_vars",
        "metadata",
        "customer_id",
        "subscription_id",
        "billing_status",
        "provisioning_status",
        "db_type",
        "unknown",
    ];
    prop::collection::vec((proptest::sample::select(fields.to_vec()), json_value()), 1..4).prop_map(|changes| {
        let mut order = order();
        for (field, value) in changes {
            order[field] = value;
        }
        order
    })
}

/// PROPTEST_CASES says how long a run is.
fn cases(percent: u32) -> u32 {
    Config::default().cases * percent / 100
}

/// Sends many cases within one runtime and over one database; `percent` of the usual number.
fn for_all<S: Strategy>(
    percent: u32,
    strategy: &S,
    rig: &Rig,
    runtime: &tokio::runtime::Runtime,
    send: impl AsyncFn(&Rig, S::Value) -> Got,
) where
    S::Value: Clone + std::fmt::Debug,
{
    let mut runner = TestRunner::new(Config { cases: cases(percent), failure_persistence: None, ..Config::default() });
    let outcome = runner.run(strategy, |case| {
        let before = rig.rows();
        let got = runtime.block_on(send(rig, case.clone()));
        prop_assert!(got.status < 500 || got.status == 501, "{} for {case:?}: {}", got.status, got.text);
        if got.status >= 400 {
            prop_assert_eq!(rig.rows(), before, "something was written for {:?}", case);
        }
        Ok(())
    });
    outcome.unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn any_order_is_recorded_or_refused() {
    let runtime = runtime();
    let rig = runtime.block_on(async { Rig::start() });
    for_all(60, &order_body(), &rig, &runtime, async |rig, body| rig.post("/api/v1/instances/", &body).await);
}

#[test]
fn any_body_of_provision_and_actions_is_carried_out_or_refused() {
    let runtime = runtime();
    let (rig, instances) = runtime.block_on(async {
        let rig = Rig::start();
        let mut instances = Vec::new();
        for _ in 0..cases(30) {
            instances.push(rig.created().await);
        }
        (rig, instances)
    });
    // Most of what can be asked can be asked once, so that each case has an instance of its own.
    let next = Cell::new(0);
    let statuses = RefCell::new(BTreeSet::new());
    for_all(30, &prop_oneof![provision(), action()], &rig, &runtime, async |rig, (path, body)| {
        let instance = &instances[next.get() % instances.len()];
        next.set(next.get() + 1);
        let got = rig.post(&instance_path(instance, path), &body).await;
        statuses.borrow_mut().insert(got.status);
        got
    });
    // Else it would only show that bodies are refused.
    for status in [200, 400, 422] {
        assert!(statuses.borrow().contains(&status), "no case came to {status}");
    }
}

/// A word that is known, or anything.
fn word_of(words: &[&'static str]) -> impl Strategy<Value = Value> + use<> {
    prop_oneof![3 => proptest::sample::select(words.to_vec()).prop_map(Value::from), 1 => json_value()]
}

/// Some of these fields.
fn object(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> impl Strategy<Value = Value> {
    let fields: Vec<_> =
        fields.into_iter().map(|(name, value)| prop::option::of(value.prop_map(move |value| (name, value)))).collect();
    fields.prop_map(|fields| Value::Object(fields.into_iter().flatten().map(|(name, value)| (name.to_owned(), value)).collect()))
}

fn provision() -> impl Strategy<Value = (&'static str, Value)> {
    let triggers = [
        "trial_expired_billing_update",
        "invoice_payment_success_billing_update",
        "invoice_write_off_billing_resolved",
        "subscription_created",
        "invoice_payment_success",
        "invoice_payment_success_provision",
    ];
    let subscription = prop_oneof![2 => Just(()).prop_map(|()| json!(uuid())), 1 => json_value()];
    let body = object(vec![
        ("subscription_id", subscription.boxed()),
        ("billing_status", word_of(&["payment_required", "trial", "paid", "pending_payment"]).boxed()),
        ("provisioning_trigger", word_of(&triggers).boxed()),
        ("triggered_by", prop_oneof![text().prop_map(Value::from), json_value()].boxed()),
    ]);
    body.prop_map(|body| ("/provision", body))
}

fn action() -> impl Strategy<Value = (&'static str, Value)> {
    let words = ["start", "stop", "restart", "update", "backup", "restore", "suspend", "unsuspend", "unpause", "terminate"];
    let reason = text().prop_map(|reason| json!({ "reason": reason }));
    let body =
        object(vec![("action", word_of(&words).boxed()), ("parameters", prop_oneof![3 => reason, 1 => json_value()].boxed())]);
    body.prop_map(|body| ("/actions", body))
}

#[tokio::test]
async fn every_hostile_text_in_every_text_of_provision_and_actions_is_carried_out_or_refused() {
    let rig = Rig::start();
    for text in HOSTILE {
        let bodies = [
            ("/provision", json!({"provisioning_trigger": text})),
            ("/provision", json!({"triggered_by": text})),
            ("/provision", json!({"billing_status": text})),
            ("/provision", json!({"subscription_id": text})),
            ("/actions", json!({"action": "terminate", "parameters": {"reason": text}})),
            ("/actions", json!({"action": text})),
        ];
        for (path, body) in bodies {
            let instance = rig.created().await;
            let before = rig.rows();
            let got = rig.post(&instance_path(&instance, path), &body).await;
            assert!(got.status < 500, "{body}: {}", got.text);
            assert!(got.status == 200 || rig.rows() == before, "something was written for {body}");
        }
    }
}

#[test]
fn any_bytes_are_answered() {
    let runtime = runtime();
    let rig = runtime.block_on(async { Rig::start() });
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    for_all(20, &bytes, &rig, &runtime, async |rig, bytes| {
        rig.send(Request::post("/api/v1/instances/").body(Body::from(bytes)).unwrap()).await
    });
}

#[test]
fn any_path_and_query_is_answered() {
    let runtime = runtime();
    let rig = runtime.block_on(async { Rig::start() });
    let description = serde_json::to_value(api::openapi()).unwrap();
    let paths: Vec<String> = description["paths"].as_object().unwrap().keys().cloned().collect();
    let methods = vec![Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::HEAD];
    let names = vec!["customer_id", "status", "page", "page_size", "instance_id", "state", "kind", "lines", "provision", "x"];
    let query = prop::collection::vec((proptest::sample::select(names), text()), 0..3);
    let case = (proptest::sample::select(methods), proptest::sample::select(paths), text(), query);
    for_all(60, &case, &rig, &runtime, async |rig, (method, path, parameter, query)| {
        let uri = uri(&path, &parameter, &query);
        rig.send(Request::builder().method(method).uri(uri).body(Body::empty()).unwrap()).await
    });
}

fn uri(path: &str, parameter: &str, query: &[(&str, String)]) -> Uri {
    let parts = path.split('/').map(|part| if part.starts_with('{') { encoded(parameter) } else { part.to_owned() });
    let path = parts.collect::<Vec<_>>().join("/");
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    format!("{path}?{}", query.join("&")).parse().unwrap()
}

/// Every byte, so that no character changes where the path ends.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn any_header_is_answered() {
    let runtime = runtime();
    let rig = runtime.block_on(async { Rig::start() });
    let names = vec![
        "origin",
        "x-request-id",
        "idempotency-key",
        "last-event-id",
        "x-internal-token",
        "content-type",
        "accept",
        "content-length",
    ];
    let value = prop::collection::vec(0x20_u8..=0xff, 0..80)
        .prop_map(|bytes| bytes.into_iter().filter(|b| *b != 0x7f).collect::<Vec<u8>>());
    let case = (proptest::sample::select(names), value);
    for_all(30, &case, &rig, &runtime, async |rig, (name, value)| {
        rig.send(Request::post("/api/v1/instances/").header(name, value).body(Body::from("{}")).unwrap()).await
    });
}
