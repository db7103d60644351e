//! Calls of later releases.

use crate::rig::{Rig, uuid};
use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::Value;

/// The calls of contract 4.3, 8.4 and 16.4 that this release does not serve.
fn calls() -> Vec<(Method, String)> {
    let id = uuid();
    let list = format!(
        "GET /admin/odoo-servers
         POST /admin/odoo-servers
         PATCH /admin/odoo-servers/{id}
         POST /admin/relocate-instance/{id}
         POST /admin/adopt
         GET /admin/adoption-report"
    );
    let call = |line: &str| {
        let (method, path) = line.trim().split_once(' ').unwrap();
        (method.parse().unwrap(), path.to_owned())
    };
    list.lines().map(call).collect()
}

#[tokio::test]
async fn each_of_them_says_so_under_both_spellings() {
    let rig = Rig::start();
    for (method, path) in calls() {
        for path in [path.clone(), format!("{path}/")] {
            let request = Request::builder().method(method.clone()).uri(&path).body(Body::from("{}")).unwrap();
            let got = rig.send(request).await;
            assert_eq!(got.status, 501, "{method} {path}");
            assert!(got.detail().ends_with("is not available in this version of the service"), "{got:?}");
        }
    }
}

#[test]
fn the_description_marks_exactly_these() {
    let description = serde_json::to_value(api::openapi()).unwrap();
    let paths = description["paths"].as_object().unwrap();
    let calls_of = |item: &Value| item.as_object().unwrap().values().filter(|call| call["tags"][0] == "not built").count();
    assert_eq!(paths.values().map(calls_of).sum::<usize>(), calls().len());
}
