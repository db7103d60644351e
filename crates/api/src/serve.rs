//! Runs the routers on their listeners until the process is to end.

use crate::state::AppState;
use anyhow::Context;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long open requests may take once the process is to end.
const DRAIN: Duration = Duration::from_secs(30);
/// How long a caller may take to send its headers, and how long a connection may be silent.
const HEADERS: Duration = Duration::from_secs(30);
/// Pause after a connection that could not be accepted: there may be no file left to open.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How often the schema is looked at, so that a migration made meanwhile is noticed.
const SCHEMA_EVERY: Duration = Duration::from_secs(5);
const UPKEEP_EVERY: Duration = Duration::from_secs(10);

/// Serves both doors; returns once the shutdown token has tripped and open requests have ended.
///
/// # Errors
/// An address cannot be listened on.
pub async fn serve(state: AppState, internal: SocketAddr, public: Option<SocketAddr>) -> anyhow::Result<()> {
    let mut doors = vec![(listen(internal).await?, crate::app(&state))];
    if let Some(public) = public {
        doors.push((listen(public).await?, crate::public_app(&state)));
    }
    tokio::spawn(watch_schema(state.clone()));
    tokio::spawn(keep_measures(state.clone()));
    let doors = doors.into_iter().map(|(listener, routes)| accept(listener, routes, HEADERS, state.shutdown()));
    tokio::select! {
        _ended = futures::future::join_all(doors) => {}
        () = drained(&state) => tracing::warn!("requests were still open when the time to end them was over"),
    }
    Ok(())
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!(%address, "listening");
    Ok(listener)
}

/// Serves HTTP/1.1 on a listener until `end`, and then until open requests have ended. A connection that has not sent the headers
/// of its next request within `headers` is closed.
///
/// Not `axum::serve`: that sets no limit to how slowly a caller may send its headers, and keeps silent connections for ever.
pub async fn accept(listener: TcpListener, routes: Router, headers: Duration, end: &CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(headers);
    let open = GracefulShutdown::new();
    let accept = async {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    // An answer that takes more than one segment must not wait until the caller has confirmed the first.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection was over before it began");
                        continue;
                    }
                    let service = TowerToHyperService::new(routes.clone());
                    let connection = open.watch(http.serve_connection(TokioIo::new(stream), service));
                    tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "a connection ended early");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    };
    end.run_until_cancelled(accept).await;
    open.shutdown().await;
}

async fn drained(state: &AppState) {
    state.shutdown().cancelled().await;
    tokio::time::sleep(DRAIN).await;
}

async fn watch_schema(state: AppState) {
    let watch = async {
        loop {
            if let Err(error) = state.schema().look(state.db()).await {
                tracing::warn!(%error, "postgres1 cannot be asked for its schema; trying again");
            }
            tokio::time::sleep(SCHEMA_EVERY).await;
        }
    };
    state.shutdown().run_until_cancelled(watch).await;
}

async fn keep_measures(state: AppState) {
    let keep = async {
        loop {
            tokio::time::sleep(UPKEEP_EVERY).await;
            state.measures().upkeep();
        }
    };
    state.shutdown().run_until_cancelled(keep).await;
}
