//! The registry of Odoo servers: who they are, how full, how well (contract 14.3).
//!
//! Owns: the rows of `odoo_servers`, and the counting of capacity under row locks.
//! Leaves to others: connecting to one (`odoo`), probing one (`worker`). No password ever enters a row, only its name.

use crate::error::{DbError, DbResult};
use crate::platform::{PlatformDb, PlatformTx};
use chrono::{DateTime, Utc};
use domain::ids::ServerId;
use domain::instance::DbType;
use domain::sources::{Entropy, random_uuid};
use domain::words;
use serde_json::Value;

/// Name of the server that the settings describe.
pub const DEFAULT_SERVER: &str = "default";

words! {
    /// What a server is used for at present.
    ServerState {
        /// Registered; the worker has not checked it yet.
        Probing = "probing",
        /// Takes new instances.
        Active = "active",
        /// Closed by an operator: takes no more.
        Full = "full",
        /// Being emptied.
        Draining = "draining",
        /// Under maintenance.
        Maintenance = "maintenance",
        /// Out of use.
        Disabled = "disabled",
        /// The single server of an existing deployment.
        Legacy = "legacy",
    }
}

/// A registered server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerRecord {
    /// Its id.
    pub id: ServerId,
    /// Its unique name.
    pub name: String,
    /// Whom it serves.
    pub tier: DbType,
    /// How to reach it.
    pub address: ServerAddress,
    /// Whether it is another server than postgres1.
    pub separated: bool,
    /// Its system identifier, as first seen; another one behind the same address is a stranger.
    pub system_identifier: Option<i64>,
    /// How many instances it may hold.
    pub capacity: i32,
    /// How many are placed on it.
    pub instances: i32,
    /// What it is used for.
    pub state: ServerState,
    /// What the last probe saw.
    pub health: ServerHealth,
}

/// How worker and tenants reach a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Host, as the worker sees it.
    pub admin_host: String,
    /// Port, as the worker sees it.
    pub admin_port: u16,
    /// Database for admin connections.
    pub default_database: String,
    /// Admin role.
    pub admin_user: String,
    /// Name under which the worker finds the admin's password.
    pub secret_name: String,
    /// Host, as tenants see it.
    pub tenant_host: String,
    /// Port, as tenants see it.
    pub tenant_port: u16,
}

/// What a probe found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerHealth {
    /// Whether it answered and nothing forbids using it; `None`: never probed.
    pub healthy: Option<bool>,
    /// How long it took to answer.
    pub latency_ms: Option<i32>,
    /// Its version.
    pub version: Option<String>,
    /// When it was probed, by the clock of postgres1.
    pub checked_at: Option<DateTime<Utc>>,
    /// Why it is not healthy, in general words.
    pub error: Option<String>,
    /// Where it deviates from the bootstrap: a list of texts.
    pub deviations: Value,
}

struct Row {
    id: uuid::Uuid,
    name: String,
    tier: String,
    admin_host: String,
    admin_port: i32,
    default_database: String,
    admin_user: String,
    secret_name: String,
    tenant_host: String,
    tenant_port: i32,
    separated: bool,
    system_identifier: Option<i64>,
    capacity: i32,
    instances: i32,
    state: String,
    healthy: Option<bool>,
    latency_ms: Option<i32>,
    version: Option<String>,
    checked_at: Option<DateTime<Utc>>,
    error: Option<String>,
    deviations: Value,
}

impl Row {
    fn odd(&self, column: &'static str, why: &str) -> DbError {
        DbError::Inconsistent { table: "odoo_servers", column, row: self.name.clone(), why: why.to_owned() }
    }

    fn into_record(self) -> DbResult<ServerRecord> {
        let tier = DbType::parse(&self.tier).ok_or_else(|| self.odd("tier", &self.tier))?;
        let state = ServerState::parse(&self.state).ok_or_else(|| self.odd("state", &self.state))?;
        let admin_port = u16::try_from(self.admin_port).map_err(|_| self.odd("admin_port", "not a port"))?;
        let tenant_port = u16::try_from(self.tenant_port).map_err(|_| self.odd("tenant_port", "not a port"))?;
        Ok(ServerRecord {
            id: ServerId::from_uuid(self.id),
            name: self.name,
            tier,
            address: ServerAddress {
                admin_host: self.admin_host,
                admin_port,
                default_database: self.default_database,
                admin_user: self.admin_user,
                secret_name: self.secret_name,
                tenant_host: self.tenant_host,
                tenant_port,
            },
            separated: self.separated,
            system_identifier: self.system_identifier,
            capacity: self.capacity,
            instances: self.instances,
            state,
            health: ServerHealth {
                healthy: self.healthy,
                latency_ms: self.latency_ms,
                version: self.version,
                checked_at: self.checked_at,
                error: self.error,
                deviations: self.deviations,
            },
        })
    }
}

/// `query_as!` takes only literals, so the columns are a macro.
macro_rules! select_servers {
    ($tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            Row,
            "SELECT id, name, tier, admin_host, admin_port, default_database, admin_user, secret_name, tenant_host, tenant_port, \
                    separated, system_identifier, capacity, instances, state, healthy, latency_ms, version, checked_at, error, \
                    deviations \
               FROM instance_service.odoo_servers " + $tail
            $(, $arg)*
        )
    };
}

/// Every server, by name.
///
/// # Errors
/// Database errors only.
pub async fn list(db: &PlatformDb) -> DbResult<Vec<ServerRecord>> {
    let rows = select_servers!("ORDER BY name").fetch_all(db.pool()).await?;
    rows.into_iter().map(Row::into_record).collect()
}

/// One server.
///
/// # Errors
/// Database errors only.
pub async fn get(db: &PlatformDb, id: ServerId) -> DbResult<Option<ServerRecord>> {
    let row = select_servers!("WHERE id = $1", id.as_uuid()).fetch_optional(db.pool()).await?;
    row.map(Row::into_record).transpose()
}

/// Enters the server that the settings describe, or brings its address up to date. State, counts and health stay.
///
/// # Errors
/// Database errors only.
pub async fn register_default(
    db: &PlatformDb,
    address: &ServerAddress,
    separated: bool,
    entropy: &dyn Entropy,
) -> DbResult<ServerId> {
    let id = sqlx::query_scalar!(
        "INSERT INTO instance_service.odoo_servers AS s
                (id, name, admin_host, admin_port, default_database, admin_user, secret_name, tenant_host, tenant_port, separated)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (name) DO UPDATE
            SET admin_host = excluded.admin_host, admin_port = excluded.admin_port,
                default_database = excluded.default_database, admin_user = excluded.admin_user,
                secret_name = excluded.secret_name, tenant_host = excluded.tenant_host,
                tenant_port = excluded.tenant_port, separated = excluded.separated
      RETURNING id",
        random_uuid(entropy),
        DEFAULT_SERVER,
        address.admin_host,
        i32::from(address.admin_port),
        address.default_database,
        address.admin_user,
        address.secret_name,
        address.tenant_host,
        i32::from(address.tenant_port),
        separated,
    )
    .fetch_one(db.pool())
    .await?;
    Ok(ServerId::from_uuid(id))
}

/// Picks the active server of this tier with the most free capacity and counts one instance more on it. `None`: all full. One
/// that is known to be ill is taken only where there is no other: the work then waits for it.
///
/// Locks every candidate in one order, so that parallel placements neither overfill a server nor block each other for good.
///
/// # Errors
/// Database errors only.
pub async fn reserve(tx: &mut PlatformTx, tier: DbType) -> DbResult<Option<ServerRecord>> {
    let candidates = select_servers!("WHERE tier = $1 AND state = 'active' ORDER BY id FOR UPDATE", tier.as_str())
        .fetch_all(tx.conn())
        .await?;
    let Some(best) = candidates
        .into_iter()
        .filter(|server| server.instances < server.capacity)
        .max_by_key(|server| (server.healthy != Some(false), server.capacity.saturating_sub(server.instances)))
    else {
        return Ok(None);
    };
    sqlx::query!("UPDATE instance_service.odoo_servers SET instances = instances + 1 WHERE id = $1", best.id)
        .execute(tx.conn())
        .await?;
    let mut record = best.into_record()?;
    record.instances += 1;
    Ok(Some(record))
}

/// Counts one instance less. The caller releases once: in the transaction that takes the placement out of the row.
///
/// # Errors
/// Database errors; a count below zero is refused by the table.
pub async fn release(tx: &mut PlatformTx, id: ServerId) -> DbResult<()> {
    sqlx::query!("UPDATE instance_service.odoo_servers SET instances = instances - 1 WHERE id = $1", id.as_uuid())
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Stores what a probe found, with the time of postgres1 (`checked_at` of the argument is not read).
/// A healthy answer makes a probing server active.
///
/// # Errors
/// Database errors only.
pub async fn write_health(db: &PlatformDb, id: ServerId, health: &ServerHealth) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.odoo_servers
            SET healthy = $2, latency_ms = $3, version = coalesce($4, version), error = $5, deviations = $6,
                checked_at = clock_timestamp(),
                state = CASE WHEN state = 'probing' AND $2 THEN 'active' ELSE state END
          WHERE id = $1",
        id.as_uuid(),
        health.healthy,
        health.latency_ms,
        health.version,
        health.error,
        health.deviations,
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// Remembers the system identifier at the first look, and answers the remembered one: another one is a stranger.
///
/// # Errors
/// Database errors only.
pub async fn remember_identity(db: &PlatformDb, id: ServerId, system_identifier: i64) -> DbResult<i64> {
    let known = sqlx::query_scalar!(
        r#"UPDATE instance_service.odoo_servers SET system_identifier = coalesce(system_identifier, $2) WHERE id = $1
        RETURNING system_identifier AS "known!""#,
        id.as_uuid(),
        system_identifier,
    )
    .fetch_one(db.pool())
    .await?;
    Ok(known)
}

/// Sets what a server is used for. `false`: no such server.
///
/// # Errors
/// Database errors only.
pub async fn set_state(db: &PlatformDb, id: ServerId, state: ServerState) -> DbResult<bool> {
    let done = sqlx::query!("UPDATE instance_service.odoo_servers SET state = $2 WHERE id = $1", id.as_uuid(), state.as_str())
        .execute(db.pool())
        .await?;
    Ok(done.rows_affected() == 1)
}

/// What postgres1 itself is, for the check that no Odoo server is the same one (contract 2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlatformIdentity {
    /// System identifier.
    pub system_identifier: i64,
    /// Database name.
    pub database: String,
}

/// Reads what postgres1 itself is.
///
/// # Errors
/// Database errors; also when the runtime role may not call `pg_control_system()`.
pub async fn platform_identity(db: &PlatformDb) -> DbResult<PlatformIdentity> {
    Ok(sqlx::query_as!(
        PlatformIdentity,
        r#"SELECT system_identifier AS "system_identifier!", current_database()::text AS "database!" FROM pg_control_system()"#
    )
    .fetch_one(db.pool())
    .await?)
}
