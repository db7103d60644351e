//! `POST /webhooks/killbill/{secret}`

use crate::rig::{Got, Rig, WEBHOOK_SECRET, uuid};
use axum::body::Body;
use axum::http::Request;
use bootstrap::settings::{LogFormat, LogSettings};
use serde_json::{Value, json};
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testkit::Stop;
use tracing::Level;

fn path() -> String {
    format!("/webhooks/killbill/{WEBHOOK_SECRET}")
}

fn event(kind: &str, object: &str, metadata: Value) -> Value {
    json!({"eventType": kind, "accountId": uuid(), "objectType": "SUBSCRIPTION", "objectId": object, "metaData": metadata})
}

async fn push(rig: &Rig, body: &str) -> Got {
    rig.send(Request::post(path()).header("content-type", "text/plain").body(Body::from(body.to_owned())).unwrap()).await
}

async fn said(rig: &Rig, body: &Value) -> String {
    let got = push(rig, &body.to_string()).await;
    assert_eq!(got.status, 200, "{got:?}");
    got.json["status"].as_str().unwrap().to_owned()
}

fn rows(rig: &Rig) -> String {
    rig.sql("SELECT event_type, object_id, metadata, state, received FROM instance_service.webhook_events ORDER BY id")
}

#[tokio::test]
async fn an_event_is_kept_before_it_is_answered_and_changes_nothing() {
    let rig = Rig::start();
    let (id, before) = (uuid(), rig.rows());
    let metadata = json!("{\"actionType\":\"EFFECTIVE\",\"bundleExternalKey\":\"b\"}");
    assert_eq!(said(&rig, &event("SUBSCRIPTION_CANCEL", &id, metadata)).await, "stored");
    assert_eq!(rows(&rig), format!("SUBSCRIPTION_CANCEL|{id}|{{\"actionType\": \"EFFECTIVE\"}}|pending|1"));
    assert_eq!(rig.rows(), before);
}

#[tokio::test]
async fn only_the_right_secret_opens_it_and_only_while_it_is_on() {
    let rig = Rig::start();
    let body = event("SUBSCRIPTION_CREATION", &uuid(), Value::Null);
    for secret in ["wrong", &WEBHOOK_SECRET[1..], &format!("{WEBHOOK_SECRET}x"), &WEBHOOK_SECRET.to_lowercase(), "%00"] {
        let got = rig.post(&format!("/webhooks/killbill/{secret}"), &body).await;
        assert_eq!(got.status, 404, "{secret}");
        assert!(!got.text.contains(secret), "{got:?}");
    }
    let off = Rig::with(|policy| policy.webhook_secret = None);
    for secret in [WEBHOOK_SECRET, "None", "%20"] {
        assert_eq!(off.post(&format!("/webhooks/killbill/{secret}"), &body).await.status, 404, "{secret}");
    }
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.webhook_events"), "0");
    assert_eq!(rig.post(&format!("{}/", path()), &body).await.status, 200, "with a slash");
    assert_eq!(rig.get(&path()).await.status, 405);
}

#[tokio::test]
async fn what_is_nothing_for_us_is_answered_alike_and_not_kept() {
    let rig = Rig::start();
    assert_eq!(push(&rig, "").await.status, 200);
    assert_eq!(push(&rig, " \r\n").await.status, 200);
    let requested = json!("{\"actionType\":\"REQUESTED\"}");
    for body in [
        event("TAG_CREATION", &uuid(), Value::Null),
        event("SUBSCRIPTION_CREATION", "not-an-id", Value::Null),
        event("SUBSCRIPTION_CANCEL", &uuid(), requested),
        json!([]),
        json!("text"),
        Value::Null,
        json!({}),
    ] {
        assert_eq!(said(&rig, &body).await, "ignored", "{body}");
    }
    assert_eq!(rows(&rig), "");
    for broken in ["{", "{\"eventType\":", "\u{1}", "eventType=x"] {
        let got = push(&rig, broken).await;
        assert_eq!((got.status, got.detail()), (400, "The request body is not valid JSON"), "{broken}");
    }
    assert_eq!(push(&rig, &format!("\"{}\"", "x".repeat(1 << 20))).await.status, 413);
}

#[tokio::test]
async fn a_payment_is_known_again_by_its_id_and_anything_else_for_a_minute() {
    let rig = Rig::start();
    let payment = |kind: &str, id: &str| event(kind, &uuid(), json!(format!("{{\"paymentId\":\"{id}\"}}")));
    assert_eq!(said(&rig, &payment("INVOICE_PAYMENT_SUCCESS", "p1")).await, "stored");
    assert_eq!(said(&rig, &payment("INVOICE_PAYMENT_SUCCESS", "p1")).await, "repeated", "whatever else it says");
    assert_eq!(said(&rig, &payment("INVOICE_PAYMENT_FAILED", "p1")).await, "stored", "it may fail before it succeeds");
    assert_eq!(said(&rig, &payment("INVOICE_PAYMENT_SUCCESS", "p2")).await, "stored");
    let change = event("SUBSCRIPTION_CHANGE", &uuid(), Value::Null);
    assert_eq!(said(&rig, &change).await, "stored");
    assert_eq!(said(&rig, &change).await, "repeated");
    assert_eq!(said(&rig, &event("SUBSCRIPTION_CHANGE", &uuid(), Value::Null)).await, "stored");
    rig.sql("UPDATE instance_service.webhook_events SET received_at = received_at - interval '61 seconds'");
    assert_eq!(said(&rig, &change).await, "stored", "a plan may change there and back");
    assert_eq!(said(&rig, &payment("INVOICE_PAYMENT_SUCCESS", "p1")).await, "repeated", "a payment does not happen again");
}

#[tokio::test]
async fn equal_events_at_once_are_one() {
    let rig = Rig::start();
    let body = event("SUBSCRIPTION_CREATION", &uuid(), Value::Null);
    let answers = futures::future::join_all((0..8).map(|_| said(&rig, &body))).await;
    assert_eq!(answers.iter().filter(|answer| *answer == "stored").count(), 1, "{answers:?}");
    assert_eq!(rig.sql("SELECT count(*), max(received) FROM instance_service.webhook_events"), "1|8");
}

#[tokio::test]
async fn the_offer_of_another_protocol_is_not_taken_and_the_body_read() {
    let rig = Rig::start();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, end) = (listener.local_addr().unwrap(), tokio_util::sync::CancellationToken::new());
    let (router, stop) = (rig.router.clone(), end.clone());
    let server = tokio::spawn(async move { api::serve::accept(listener, router, Duration::from_secs(20), &stop).await });
    let body = event("SUBSCRIPTION_EXPIRED", &uuid(), Value::Null).to_string();
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nContent-Length: {}\r\n\r\n{body}",
        path(),
        body.len()
    );
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    });
    assert_eq!(answer.await.unwrap(), "HTTP/1.1 200");
    assert_eq!(rig.sql("SELECT event_type FROM instance_service.webhook_events"), "SUBSCRIPTION_EXPIRED");
    end.cancel();
    server.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_kept_is_a_503_so_that_it_comes_again() {
    let mut rig = Rig::impatient();
    let body = event("SUBSCRIPTION_CREATION", &uuid(), Value::Null);
    rig.get("/readyz").await;
    rig.cluster.stop(Stop::Immediate).unwrap();
    let begin = Instant::now();
    let got = rig.post(&path(), &body).await;
    assert_eq!((got.status, got.header("retry-after").is_empty()), (503, false));
    assert!(begin.elapsed() < Duration::from_secs(15), "the sender waits no longer");
    rig.cluster.start_again().unwrap();
    assert_eq!(said(&rig, &body).await, "stored");
    // Whatever stands in the way: the sender has to come again.
    rig.sql("REVOKE INSERT ON instance_service.webhook_events FROM instance_service");
    assert_eq!(rig.post(&path(), &event("SUBSCRIPTION_CREATION", &uuid(), Value::Null)).await.status, 503);
}

/// What a log was given.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_secret_is_in_no_log_line_and_in_no_answer() {
    let lines = Lines::default();
    let settings = LogSettings { level: Level::TRACE, format: LogFormat::Json };
    let writer = lines.clone();
    let log = tracing::subscriber::set_default(bootstrap::telemetry::subscriber(&settings, move || writer.clone()));
    let mut rig = Rig::impatient();
    let body = event("SUBSCRIPTION_CREATION", &uuid(), Value::Null);
    let mut answers = Vec::new();
    for path in
        [path(), format!("{}/", path()), format!("/instance{}", path()), format!("{}/more", path()), format!("{}%20", path())]
    {
        answers.push(rig.post(&path, &body).await);
        answers.push(rig.get(&path).await);
    }
    answers.push(push(&rig, "{").await);
    answers.push(rig.get("/metrics").await);
    rig.cluster.stop(Stop::Immediate).unwrap();
    answers.push(rig.post(&path(), &body).await);
    drop(log);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("/webhooks/killbill/***"), "nothing was logged");
    assert_eq!(text.lines().find(|line| line.contains(WEBHOOK_SECRET)), None);
    for got in answers {
        assert!(!got.text.contains(WEBHOOK_SECRET), "{got:?}");
    }
}
