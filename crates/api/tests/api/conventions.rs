//! What every answer has in common (contract 3).

use crate::rig::{Got, Rig, instance_path, is_time, order, send, uuid};
use api::conventions::{BODY_LIMIT, wrap};
use api::doors::Listener;
use api::serve::accept;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::routing::get;
use bootstrap::settings::CorsOrigins;
use std::convert::Infallible;
use std::time::Duration;
use testkit::Stop;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

const ORIGIN: &str = "https://app.example";

async fn from_browser(rig: &Rig, path: &str) -> Got {
    rig.send(Request::get(path).header("origin", ORIGIN).body(Body::empty()).unwrap()).await
}

fn allows_origin(got: &Got) -> bool {
    got.header("access-control-allow-origin") == ORIGIN && got.header("access-control-allow-credentials") == "true"
}

#[tokio::test]
async fn an_unknown_path_is_not_found_in_plain_words() {
    let got = Rig::start().get("/api/v1/nothing").await;
    assert_eq!((got.status, got.detail()), (404, "Not Found"));
}

#[tokio::test]
async fn a_wrong_method_is_told_which_are_right() {
    let rig = Rig::start();
    let got = rig.delete("/api/v1/instances/").await;
    assert_eq!(got.status, 405);
    let mut allowed: Vec<&str> = got.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn both_spellings_of_a_path_are_answered_alike() {
    let rig = Rig::start();
    let instance = rig.created().await;
    let paths = ["/health", "/api/v1/operations", "/docs", &instance_path(&instance, ""), &instance_path(&instance, "/status")];
    for path in paths {
        let (plain, slashed) = (rig.get(path).await, rig.get(&format!("{path}/")).await);
        assert_eq!((plain.status, &plain.text), (200, &slashed.text), "{path}");
    }
    let list = format!("/api/v1/instances/?customer_id={}", instance["customer_id"].as_str().unwrap());
    assert_eq!(rig.get(&list).await.json, rig.get(&list.replace("/?", "?")).await.json);
}

#[tokio::test]
async fn a_fixed_word_wins_over_a_parameter() {
    let got = Rig::start().get("/api/v1/instances/check-subdomain/status").await;
    assert_eq!((got.status, &got.json["subdomain"]), (200, &"status".into()));
}

#[tokio::test]
async fn a_safe_request_id_is_taken_over_and_any_other_is_replaced() {
    let rig = Rig::start();
    let ask = |id: String| Request::get("/nothing").header("x-request-id", id).body(Body::empty()).unwrap();
    let longest = "a".repeat(64);
    for id in ["abc-1.2_3", &longest] {
        assert_eq!(rig.send(ask(id.to_owned())).await.header("x-request-id"), id);
    }
    for id in ["two words", "<script>", &"a".repeat(65)] {
        let made = rig.send(ask(id.to_owned())).await;
        assert_eq!(made.header("x-request-id").len(), uuid().len(), "{id}");
    }
}

#[tokio::test]
async fn the_request_id_is_in_the_audit_trail_and_the_operation() {
    let rig = Rig::start();
    let request = Request::post("/api/v1/instances?provision=true").header("x-request-id", "trail-1");
    rig.send(request.body(Body::from(order().to_string())).unwrap()).await;
    let found = rig.sql(
        "SELECT DISTINCT request_id FROM instance_service.audit_log UNION SELECT request_id FROM instance_service.operations",
    );
    assert_eq!(found, "trail-1");
}

#[tokio::test]
async fn cors_headers_are_on_answers_of_every_class() {
    let mut rig = Rig::impatient();
    let instance = rig.created().await;
    let paths = [
        (200, "/health".to_owned()),
        (200, instance_path(&instance, "")),
        (400, "/api/v1/instances/".to_owned()),
        (404, "/nothing".to_owned()),
        (404, format!("/api/v1/instances/{}", uuid())),
        (405, instance_path(&instance, "/provision")),
        (422, "/api/v1/instances/not-a-uuid".to_owned()),
        (501, "/admin/odoo-servers".to_owned()),
        (401, "/instance/api/v1/instances/".to_owned()),
    ];
    for (status, path) in paths {
        let got = from_browser(&rig, &path).await;
        assert!(got.status == status && allows_origin(&got), "{path}: {got:?}");
    }
    rig.cluster.stop(Stop::Immediate).unwrap();
    let got = from_browser(&rig, &instance_path(&instance, "")).await;
    assert!(got.status == 503 && allows_origin(&got), "{got:?}");
}

#[tokio::test]
async fn only_listed_origins_are_allowed_when_there_is_a_list() {
    let list = |origins: &[&str]| CorsOrigins::Only(origins.iter().map(|&origin| origin.to_owned()).collect());
    let rig = Rig::with(|policy| policy.cors = list(&[ORIGIN]));
    assert!(allows_origin(&from_browser(&rig, "/health").await));
    let rig = Rig::with(|policy| policy.cors = list(&["https://other.example"]));
    let got = from_browser(&rig, "/health").await;
    assert_eq!((got.status, got.header("access-control-allow-origin")), (200, ""));
}

#[tokio::test]
async fn preflight_is_answered_on_any_path_and_echoes_the_headers_asked_for() {
    let rig = Rig::with(|policy| policy.internal_door.token = Some("t".into()));
    let ask = |path: &str| Request::options(path).header("origin", ORIGIN);
    for path in ["/api/v1/instances/", "/nothing", "/admin/adopt", "/instance/api/v1/instances/"] {
        let named = ask(path).header("access-control-request-headers", "x-one, authorization").body(Body::empty()).unwrap();
        let got = rig.send(named).await;
        assert!(got.status == 200 && allows_origin(&got), "{path}: {got:?}");
        assert_eq!(got.header("access-control-allow-headers"), "x-one, authorization");
        assert_eq!(got.header("access-control-allow-methods"), "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
        assert_eq!(got.header("access-control-max-age"), "600");
        let unnamed = rig.send(ask(path).body(Body::empty()).unwrap()).await;
        let headers = "authorization, content-type, idempotency-key, last-event-id, x-request-id";
        assert_eq!(unnamed.header("access-control-allow-headers"), headers);
    }
}

#[tokio::test]
async fn a_panic_becomes_a_500_that_says_nothing_of_it() {
    let rig = Rig::start();
    async fn panics() -> &'static str {
        panic!("the secret is 42")
    }
    let router = wrap(&rig.state, Listener::Internal, Router::new().route("/panics", get(panics)));
    let got = send(&router, Request::get("/panics").header("origin", ORIGIN).body(Body::empty()).unwrap()).await;
    assert!(got.status == 500 && allows_origin(&got) && !got.text.contains("secret"), "{got:?}");
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_ended() {
    let rig = Rig::with(|policy| policy.request_limit = Duration::from_millis(50));
    async fn never() -> &'static str {
        std::future::pending().await
    }
    let router = wrap(&rig.state, Listener::Internal, Router::new().route("/never", get(never)));
    let got = send(&router, Request::get("/never").header("origin", ORIGIN).body(Body::empty()).unwrap()).await;
    assert!(got.status == 503 && allows_origin(&got) && !got.header("retry-after").is_empty(), "{got:?}");
    let counted = r#"http_requests_total{method="GET",route="none",status="503"} 1"#;
    assert!(rig.state.measures().render().contains(counted), "{}", rig.state.measures().render());
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_too_large_whether_announced_or_not() {
    let rig = Rig::start();
    let before = rig.rows();
    let big = vec![b' '; BODY_LIMIT + 1];
    let announced = Request::post("/api/v1/instances/").header("content-length", big.len()).body(Body::from(big.clone()));
    assert_eq!(rig.send(announced.unwrap()).await.status, 413);
    let chunks = futures::stream::iter(
        big.chunks(64 * 1024).map(|chunk| Ok::<_, Infallible>(Bytes::copy_from_slice(chunk))).collect::<Vec<_>>(),
    );
    let streamed = Request::post("/api/v1/instances/").body(Body::from_stream(chunks)).unwrap();
    assert_eq!(rig.send(streamed).await.status, 413);
    let mut fits = order().to_string().into_bytes();
    fits.resize(BODY_LIMIT, b' ');
    assert_eq!(rig.rows(), before);
    assert_eq!(rig.send(Request::post("/api/v1/instances/").body(Body::from(fits)).unwrap()).await.status, 201);
}

#[tokio::test]
async fn a_body_is_json_whatever_its_type_says_and_unknown_fields_are_ignored() {
    let rig = Rig::start();
    for kind in ["application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"] {
        let mut body = order();
        body["something_new"] = 1.into();
        let request =
            Request::post("/api/v1/instances/").header("content-type", kind).body(Body::from(body.to_string())).unwrap();
        assert_eq!(rig.send(request).await.status, 201, "{kind}");
    }
}

#[tokio::test]
async fn times_have_six_digits_and_an_offset() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    assert!(is_time(&instance["created_at"]) && is_time(&instance["updated_at"]), "{instance}");
    let deleted = rig.delete(&instance_path(&instance, "")).await;
    assert!(is_time(&deleted.json["timestamp"]), "{deleted:?}");
    let operation = rig.get(&format!("/api/v1/operations/{}", deleted.json["job_id"].as_str().unwrap())).await;
    assert!(is_time(&operation.json["created_at"]), "{operation:?}");
}

/// Over a real socket: the offer of another protocol is ignored and the whole body is read.
#[tokio::test]
async fn an_offer_of_h2c_is_ignored() {
    let rig = Rig::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (routes, end) = (rig.router.clone(), CancellationToken::new());
    let server = tokio::spawn(async move { accept(listener, routes, Duration::from_secs(60), &end).await });
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let body = order().to_string();
    let head = format!(
        "POST /api/v1/instances/ HTTP/1.1\r\nHost: instance-service:8003\r\nConnection: Upgrade, HTTP2-Settings, close\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let (first, rest) = body.as_bytes().split_at(10);
    stream.write_all(first).await.unwrap();
    stream.flush().await.unwrap();
    stream.write_all(rest).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    server.abort();
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

#[tokio::test]
async fn a_caller_that_sends_its_headers_too_slowly_is_let_go() {
    let rig = Rig::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (routes, end) = (rig.router.clone(), CancellationToken::new());
    let server = tokio::spawn(async move { accept(listener, routes, Duration::from_millis(100), &end).await });
    for begun in [&b"GET /livez HTTP/1.1\r\nHost: x\r\nX-Slow: "[..], b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", b""] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        // Ends only when the server closes: after nothing, or after the answer to a whole request.
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer.starts_with(b"HTTP/1.1 200"), begun.ends_with(b"\r\n\r\n"), "{}", String::from_utf8_lossy(&answer));
    }
    server.abort();
}
