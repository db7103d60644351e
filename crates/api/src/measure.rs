//! Figures for Prometheus: requests by route and status, their duration, and what is read from postgres1 at each scrape.
//!
//! Labels are routes, methods, status words; never ids or names of customers.

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use std::sync::Arc;
use std::time::Duration;

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0];

/// The recorder of one process. It belongs to the state, not to the process, so that two routers do not mix their figures.
#[derive(Clone)]
pub struct Measures {
    recorder: Arc<PrometheusRecorder>,
    handle: PrometheusHandle,
}

impl Measures {
    /// A recorder without any figures.
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new();
        let named = Matcher::Full("http_request_duration_seconds".to_owned());
        // The only error is an empty list of buckets; summaries without buckets would be the result.
        let builder = builder.set_buckets_for_metric(named, BUCKETS).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        Self { recorder: Arc::new(recorder), handle }
    }

    /// Records with the `metrics` macros.
    pub fn record<T>(&self, work: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(self.recorder.as_ref(), work)
    }

    /// The exposition text.
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// Moves recorded durations into their buckets; to be called now and then when nobody scrapes.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

impl Default for Measures {
    fn default() -> Self {
        Self::new()
    }
}

/// The route that a request took, as its answer says it.
#[derive(Clone)]
struct Route(String);

/// Notes the route in the answer, for [`Measures::count`] around it.
pub async fn note_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| Route(path.as_str().to_owned()));
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

impl Measures {
    /// Counts and times one request, however it ended; one that got no route (refused, timed out) has none.
    pub fn count(&self, method: &Method, response: &Response, took: Duration) {
        // Anybody can send any word as a method; each would be a new figure for the life of the process.
        let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
        let method = if known.contains(method) { method.as_str().to_owned() } else { "other".to_owned() };
        let route = response.extensions().get::<Route>().map_or("none", |route| route.0.as_str()).to_owned();
        let status = response.status().as_u16().to_string();
        self.record(|| {
            let labels = [("method", method), ("route", route), ("status", status)];
            metrics::counter!("http_requests_total", &labels).increment(1);
            metrics::histogram!("http_request_duration_seconds", &labels).record(took.as_secs_f64());
        });
    }
}
