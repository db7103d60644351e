//! What the machine allows: the same statement through the same libraries with nothing around it. One route, one statement, an answer of
//! about the length that the API's has; no door, no shape, no log, no figures.

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};
use std::sync::{Arc, Mutex, PoisonError};
use stories::Stack;
use tokio::runtime::Runtime;

/// About as long as one instance.
const BODY: &str = match std::str::from_utf8(&[b'x'; 1400]) {
    Ok(body) => body,
    Err(_) => "",
};

/// Serves until it is dropped.
pub(crate) struct Bare {
    url: String,
    _runtime: Runtime,
}

struct Shared {
    sql: String,
    options: PgConnectOptions,
    kept: Mutex<Vec<PgConnection>>,
}

impl Bare {
    /// Answers each request with the outcome of the statement, whose first parameter is the last UUID in the address; others say which
    /// part of a list is asked for.
    pub(crate) fn start(stack: &Stack, sql: &str, parameters: usize) -> Result<Self> {
        let endpoint = stack.pair.platform();
        let options = PgConnectOptions::new_without_pgpass()
            .host(&endpoint.host)
            .port(endpoint.port)
            .database(&endpoint.database)
            .username(&endpoint.user)
            .password(endpoint.password.expose_secret());
        let shared = Arc::new(Shared { sql: sql.to_owned(), options, kept: Mutex::default() });
        let routes = Router::new().fallback(async move |State(shared): State<Arc<Shared>>, uri: Uri| {
            answer(&shared, &uri, parameters).await.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
        });
        let runtime = Runtime::new()?;
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
        let url = format!("http://{}", listener.local_addr()?);
        runtime.spawn(async move { axum::serve(listener, routes.with_state(shared)).await });
        Ok(Self { url, _runtime: runtime })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

async fn answer(shared: &Shared, uri: &Uri, parameters: usize) -> Result<&'static str> {
    let text = uri.to_string();
    let id = text.split(['/', '=', '&', '?']).rfind(|part| part.len() == 36).context("no id")?;
    let taken = shared.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut connection = match taken {
        Some(connection) => connection,
        None => PgConnection::connect_with(&shared.options).await?,
    };
    let mut query = sqlx::query(AssertSqlSafe(shared.sql.as_str())).bind(id.parse::<uuid::Uuid>()?);
    if parameters > 1 {
        query = query.bind(100_i64).bind(0_i64);
    }
    query.fetch_all(&mut connection).await?;
    shared.kept.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    Ok(BODY)
}
