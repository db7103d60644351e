//! The health port: `/livez`, `/readyz`, `/metrics`. It knows no instance and no customer.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use db::migrate::{SchemaState, schema_state};
use db::platform::PlatformDb;
use metrics_exporter_prometheus::PrometheusHandle;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Whether this worker takes work: from the end of its start to the wish to stop.
#[derive(Clone, Debug)]
pub struct Readiness {
    started: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl Readiness {
    /// Not ready yet; and no longer once `stop` trips.
    pub fn until(stop: CancellationToken) -> Self {
        Self { started: Arc::default(), stop }
    }

    /// The start has ended.
    pub fn started(&self) {
        self.started.store(true, Ordering::Release);
    }

    fn get(&self) -> bool {
        self.started.load(Ordering::Acquire) && !self.stop.is_cancelled()
    }
}

/// What the port answers from.
#[derive(Clone)]
pub struct Port {
    /// postgres1.
    pub db: PlatformDb,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Whether work is taken.
    pub readiness: Readiness,
}

impl Port {
    /// Takes the address, and answers on it until `stop`. Returns the address taken and the task to run.
    ///
    /// # Errors
    /// The address is in use or not ours.
    pub async fn open(
        self,
        address: SocketAddr,
        stop: CancellationToken,
    ) -> io::Result<(SocketAddr, impl Future<Output = io::Result<()>> + Send)> {
        let listener = TcpListener::bind(address).await?;
        let taken = listener.local_addr()?;
        let router = Router::new()
            .route("/livez", get(|| async { "alive\n" }))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self);
        let serve = async move { axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await };
        Ok((taken, serve))
    }
}

async fn ready(State(port): State<Port>) -> (StatusCode, &'static str) {
    if !port.readiness.get() {
        return (StatusCode::SERVICE_UNAVAILABLE, "starting or stopping\n");
    }
    match schema_state(&port.db).await {
        Ok(SchemaState::Fits) => (StatusCode::OK, "ready\n"),
        Ok(SchemaState::TooOld) => (StatusCode::SERVICE_UNAVAILABLE, "the schema is too old\n"),
        Ok(SchemaState::TooNew) => (StatusCode::SERVICE_UNAVAILABLE, "the schema is newer than this release\n"),
        Err(error) => {
            tracing::debug!(error = %error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "postgres1 does not answer\n")
        }
    }
}

async fn metrics(State(port): State<Port>) -> String {
    port.metrics.render()
}
