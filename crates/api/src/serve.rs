//! Runs the routers on their listeners until the process is to end.

use crate::state::AppState;
use anyhow::Context;
use axum::Router;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long open requests may take once the process is to end.
const DRAIN: Duration = Duration::from_secs(30);
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
    let open = futures::future::try_join_all(doors.into_iter().map(|(listener, routes)| door(state.clone(), listener, routes)));
    tokio::select! {
        ended = open => ended.map(drop),
        () = drained(&state) => {
            tracing::warn!("requests were still open when the time to end them was over");
            Ok(())
        }
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!(%address, "listening");
    Ok(listener)
}

async fn door(state: AppState, listener: TcpListener, routes: Router) -> anyhow::Result<()> {
    let end = state.shutdown().clone().cancelled_owned();
    axum::serve(listener, routes).with_graceful_shutdown(end).await.context("a listener failed")
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
