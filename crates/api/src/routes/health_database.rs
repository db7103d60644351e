//! `GET /health/database`: fails only when postgres1 fails. A failing Odoo server is shown.

use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use db::DbResult;
use db::platform::instances;
use db::platform::servers::{self, ServerRecord, ServerState};
use domain::times;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// When to ask again while postgres1 fails.
const RETRY_SECONDS: &str = "2";

/// A state older than this says nothing about now.
const FRESH: TimeDelta = TimeDelta::minutes(2);

/// How the databases are.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DatabaseHealth {
    /// `healthy`, or `unhealthy` when postgres1 fails.
    #[schema(example = "healthy")]
    status: &'static str,
    /// `connected` or `failed`.
    #[schema(example = "connected")]
    database: &'static str,
    #[serde(flatten)]
    found: Found,
}

/// What postgres1 says, or that it says nothing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Found {
    Answer {
        /// Rows, records of removed ones included. Null while the schema does not fit.
        #[schema(required)]
        instance_count: Option<i64>,
        /// Whether every Odoo server in use is another server than postgres1. Null while none is known.
        #[schema(required)]
        separated: Option<bool>,
        /// The registered Odoo servers.
        odoo_servers: Vec<OdooServerHealth>,
    },
    Fault {
        /// General words.
        error: &'static str,
    },
}

/// How one Odoo server is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OdooServerHealth {
    /// Its name in the registry.
    name: String,
    /// What it is used for.
    state: &'static str,
    /// Null when the worker has not looked within two minutes.
    #[schema(required)]
    healthy: Option<bool>,
    /// How long it took to answer.
    #[schema(required)]
    latency_ms: Option<i32>,
    /// Its PostgreSQL version.
    #[schema(required)]
    version: Option<String>,
    /// How many instances are placed on it.
    instances: i32,
    /// How many it may hold.
    capacity: i32,
    /// When the worker last looked.
    #[serde(serialize_with = "times::serialize_option")]
    #[schema(required)]
    checked_at: Option<DateTime<Utc>>,
    /// Why it is not healthy.
    #[schema(required)]
    error: Option<String>,
    /// Where it is not as the bootstrap script left it, in words.
    #[schema(value_type = Vec<String>)]
    deviations: Value,
}

/// How the databases are
#[utoipa::path(get, operation_id = "get_database_health", path = "/health/database", tag = "service", responses(
    (status = 200, body = DatabaseHealth),
    (status = 503, description = "postgres1 fails", body = DatabaseHealth),
))]
pub(super) async fn handler(State(state): State<AppState>) -> Response {
    match look(&state).await {
        Ok(found) => Json(DatabaseHealth { status: "healthy", database: "connected", found }).into_response(),
        Err(error) => {
            tracing::warn!(%error, "postgres1 fails");
            let found = Found::Fault { error: "The platform database does not answer" };
            let body = Json(DatabaseHealth { status: "unhealthy", database: "failed", found });
            (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, RETRY_SECONDS)], body).into_response()
        }
    }
}

/// It fails only if postgres1 does: before its schema is there, there is nothing to count.
async fn look(state: &AppState) -> DbResult<Found> {
    state.db().ping().await?;
    let counted = async { Ok::<_, db::DbError>((instances::count(state.db()).await?, servers::list(state.db()).await?)) };
    let (instance_count, servers) = match counted.await {
        Ok((count, servers)) => (Some(count), servers),
        Err(error) if error.is_unreachable() => return Err(error),
        Err(error) => {
            tracing::warn!(%error, "postgres1 answers, but not with what is asked for");
            (None, Vec::new())
        }
    };
    let now = state.clock().now();
    let in_use = servers.iter().filter(|server| server.state != ServerState::Disabled);
    Ok(Found::Answer {
        instance_count,
        separated: in_use.map(|server| server.separated).reduce(|all, one| all && one),
        odoo_servers: servers.into_iter().map(|server| shape(server, now)).collect(),
    })
}

fn shape(server: ServerRecord, now: DateTime<Utc>) -> OdooServerHealth {
    let is_fresh = server.health.checked_at.is_some_and(|at| now - at <= FRESH);
    OdooServerHealth {
        name: server.name,
        state: server.state.as_str(),
        healthy: server.health.healthy.filter(|_| is_fresh),
        latency_ms: server.health.latency_ms,
        version: server.health.version,
        instances: server.instances,
        capacity: server.capacity,
        checked_at: server.health.checked_at,
        error: server.health.error,
        deviations: server.health.deviations,
    }
}
