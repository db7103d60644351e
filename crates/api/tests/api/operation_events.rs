//! `GET /api/v1/operations/{id}/events`

use crate::rig::{Rig, uuid};
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use futures::StreamExt;
use serde_json::{Value, json};
use std::time::Duration;
use tower::ServiceExt;

/// One event as it came over the wire.
#[derive(Debug)]
struct Event {
    id: i64,
    name: String,
    data: Value,
}

struct Stream {
    body: axum::body::BodyDataStream,
    buffer: String,
}

impl Stream {
    async fn open(rig: &Rig, operation: &Value, last: Option<i64>) -> Self {
        let mut request = Request::get(format!("/api/v1/operations/{}/events", operation.as_str().unwrap()));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = rig.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200);
        let header = |headers: &HeaderMap, name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header(response.headers(), "content-type"), "text/event-stream");
        assert!(!header(response.headers(), "x-request-id").is_empty());
        Self { body: response.into_body().into_data_stream(), buffer: String::new() }
    }

    /// The next event; `None` when the stream has closed.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let event = Event::read(block);
                self.buffer = rest.to_owned();
                return Some(event);
            }
            self.buffer.push_str(std::str::from_utf8(&self.body.next().await?.unwrap()).unwrap());
        }
    }

    async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

impl Event {
    fn read(block: &str) -> Self {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
        let data = serde_json::from_str(&field("data:")).unwrap();
        Self { id: field("id:").parse().unwrap(), name: field("event:"), data }
    }
}

fn tell(rig: &Rig, operation: &Value, event: &str, data: &Value) {
    rig.sql(&format!(
        "INSERT INTO instance_service.operation_events (operation_id, event, data) VALUES ('{}', '{event}', '{data}')",
        operation.as_str().unwrap()
    ));
}

#[tokio::test]
async fn it_starts_with_the_current_state_follows_what_happens_and_closes_after_the_final_event() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    let id = &instance["operation_id"];
    let mut stream = Stream::open(&rig, id, None).await;
    let first = stream.next().await.unwrap();
    let current = rig.get(&format!("/api/v1/operations/{}", id.as_str().unwrap())).await.json;
    assert_eq!((first.name.as_str(), first.data), ("operation", current));
    tell(&rig, id, "step", &json!({"name": "choose", "state": "done"}));
    let step = stream.next().await.unwrap();
    assert_eq!((step.name.as_str(), &step.data["name"]), ("step", &"choose".into()));
    rig.finish(id.as_str().unwrap(), &json!({}));
    let rest = stream.rest().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0].data["state"], "succeeded");
    assert!(first.id < step.id && step.id < rest[0].id);
}

#[tokio::test]
async fn last_event_id_goes_on_behind_it_without_loss() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    let id = &instance["operation_id"];
    let mut stream = Stream::open(&rig, id, None).await;
    let seen = stream.next().await.unwrap().id;
    drop(stream);
    // More than the feed reads or holds at once.
    rig.sql(&format!(
        "INSERT INTO instance_service.operation_events (operation_id, event, data)
         SELECT '{}', 'step', jsonb_build_object('name', 'step ' || n) FROM generate_series(0, 249) AS n ORDER BY n",
        id.as_str().unwrap()
    ));
    rig.finish(id.as_str().unwrap(), &json!({}));
    let events = Stream::open(&rig, id, Some(seen)).await.rest().await;
    let names: Vec<String> =
        events.iter().filter(|event| event.name == "step").map(|event| event.data["name"].as_str().unwrap().to_owned()).collect();
    assert_eq!(names, (0..250).map(|n| format!("step {n}")).collect::<Vec<_>>());
    assert!(events[1..].windows(2).all(|pair| pair[0].id < pair[1].id));
    assert_eq!(events.last().unwrap().data["state"], "succeeded");
}

#[tokio::test]
async fn an_ended_operation_is_one_event_and_the_end() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    rig.finish(instance["operation_id"].as_str().unwrap(), &json!({}));
    for last in [None, Some(1_000_000)] {
        let events = Stream::open(&rig, &instance["operation_id"], last).await.rest().await;
        assert_eq!((events.len(), &events[0].data["state"]), (1, &"succeeded".into()), "{events:?}");
    }
}

#[tokio::test]
async fn many_streams_hold_no_connection() {
    let rig = Rig::start();
    let mut streams = Vec::new();
    let instance = rig.provisioning().await;
    for _ in 0..50 {
        let mut stream = Stream::open(&rig, &instance["operation_id"], None).await;
        stream.next().await.unwrap();
        streams.push(stream);
    }
    // More streams than the pool has connections, and the API still answers.
    assert_eq!(rig.get("/api/v1/operations").await.status, 200);
    rig.finish(instance["operation_id"].as_str().unwrap(), &json!({}));
    for stream in streams {
        assert_eq!(stream.rest().await.len(), 1);
    }
}

#[tokio::test]
async fn a_stream_goes_on_after_postgres1_was_restarted() {
    let mut rig = Rig::start();
    let instance = rig.provisioning().await;
    let mut stream = Stream::open(&rig, &instance["operation_id"], None).await;
    stream.next().await.unwrap();
    rig.cluster.restart(testkit::Stop::Immediate).unwrap();
    rig.finish(instance["operation_id"].as_str().unwrap(), &json!({}));
    assert_eq!(stream.rest().await.last().unwrap().data["state"], "succeeded");
}

#[tokio::test]
async fn the_end_of_the_process_closes_the_stream() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    let mut stream = Stream::open(&rig, &instance["operation_id"], None).await;
    stream.next().await.unwrap();
    rig.state.shutdown().cancel();
    assert!(stream.rest().await.is_empty());
}

#[tokio::test]
async fn odd_requests_are_refused() {
    let rig = Rig::start();
    let instance = rig.provisioning().await;
    let unknown = rig.get(&format!("/api/v1/operations/{}/events", uuid())).await;
    assert_eq!((unknown.status, unknown.detail()), (404, "Operation not found"));
    for last in ["x", "-1", "1e3", "99999999999999999999"] {
        let path = format!("/api/v1/operations/{}/events", instance["operation_id"].as_str().unwrap());
        let got = rig.send(Request::get(path).header("last-event-id", last).body(Body::empty()).unwrap()).await;
        assert_eq!((got.status, got.places()), (422, vec!["header.Last-Event-ID".to_owned()]), "{last}");
    }
}

/// A client that reads on has to show now and then that it is still logged in; it comes again by itself.
#[tokio::test]
async fn a_customers_stream_ends_before_its_operation_does() {
    let rig = Rig::with(|policy| policy.longest_stream = Duration::from_millis(300));
    let instance = rig.provisioning().await;
    let token = rig.log_in(instance["customer_id"].as_str().unwrap());
    let path = format!("/api/v1/operations/{}/events", instance["operation_id"].as_str().unwrap());
    let request = Request::get(path).header("x-forwarded-host", "app.example").header("authorization", format!("Bearer {token}"));
    let response = rig.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let stream = Stream { body: response.into_body().into_data_stream(), buffer: String::new() };
    let events = tokio::time::timeout(Duration::from_secs(30), stream.rest()).await.unwrap();
    assert_eq!((events.len(), events[0].data["state"].as_str()), (1, Some("queued")));
}
