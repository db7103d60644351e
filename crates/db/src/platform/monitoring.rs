//! Monitoring as API and worker share it (contract 8.5 and 17): what operators wish of it, and what its watcher says of itself.
//!
//! Owns: the setting `monitoring` and the report `watcher`. Leaves to others: reports of the other loops (`monitor`), and everything that
//! is done about a wish.

use crate::error::DbResult;
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::readers::ask;
use crate::platform::{PlatformDb, PlatformTx, monitor};
use chrono::{DateTime, Utc};
use domain::ids::InstanceId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::types::Json;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// What operators wish. What they say nothing of is as the worker's settings say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// Whether the watcher, reconcile and the health check shall run.
    pub run: Option<bool>,
    /// How often a restart was asked for.
    pub restarts: u64,
    /// When the last start, stop or restart was asked for, by the database's clock.
    pub asked_at: Option<DateTime<Utc>>,
    /// Period of reconcile.
    pub reconcile_interval_seconds: Option<u32>,
    /// Period of the health check.
    pub health_check_interval_seconds: Option<u32>,
    /// How long reconcile waits for the start of a paid instance.
    pub resume_grace_seconds: Option<u32>,
}

/// How monitoring is set up, wishes and settings together; a worker says so in its heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effective {
    /// Whether it shall run.
    pub run: bool,
    /// How often a restart was asked for.
    pub restarts: u64,
    /// Period of reconcile.
    pub reconcile_interval_seconds: u32,
    /// Period of the health check.
    pub health_check_interval_seconds: u32,
    /// How long reconcile waits for the start of a paid instance.
    pub resume_grace_seconds: u32,
}

impl Effective {
    /// These settings with the wishes put over them.
    #[must_use]
    pub fn with(self, wishes: &Wishes) -> Self {
        Self {
            run: wishes.run.unwrap_or(self.run),
            restarts: wishes.restarts,
            reconcile_interval_seconds: wishes.reconcile_interval_seconds.unwrap_or(self.reconcile_interval_seconds),
            health_check_interval_seconds: wishes.health_check_interval_seconds.unwrap_or(self.health_check_interval_seconds),
            resume_grace_seconds: wishes.resume_grace_seconds.unwrap_or(self.resume_grace_seconds),
        }
    }

    /// Period of reconcile.
    pub const fn reconcile_every(&self) -> Duration {
        Duration::from_secs(self.reconcile_interval_seconds as u64)
    }

    /// Period of the health check.
    pub const fn health_check_every(&self) -> Duration {
        Duration::from_secs(self.health_check_interval_seconds as u64)
    }

    /// How long reconcile waits for the start of a paid instance.
    pub const fn resume_grace(&self) -> Duration {
        Duration::from_secs(self.resume_grace_seconds as u64)
    }
}

/// What a worker says of itself with its sign of life.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerDetails {
    /// Word of its runtime's driver.
    pub runtime: String,
    /// How its monitoring is set up.
    pub monitoring: Option<Effective>,
    /// Resident memory, in MiB.
    pub memory_mb: Option<f64>,
    /// Share of one processor lately, in percent.
    pub cpu_percent: Option<f64>,
}

/// Name of the setting.
const WISHES: &str = "monitoring";

/// What is wished.
///
/// # Errors
/// Database errors only; a wish that cannot be read is one.
pub async fn wishes(db: &PlatformDb) -> DbResult<Wishes> {
    let stored = ask!(db, connection => sqlx::query_scalar!(r#"SELECT value AS "wishes: Json<Wishes>" FROM instance_service.settings WHERE name = $1"#, WISHES).fetch_optional(&mut *connection));
    Ok(stored.map(|Json(wishes)| wishes).unwrap_or_default())
}

/// Changes what is wished, with its line in the audit trail.
///
/// # Errors
/// Database errors only.
pub async fn wish(
    tx: &mut PlatformTx,
    by: &AuditContext,
    action: &'static str,
    change: impl FnOnce(&mut Wishes, DateTime<Utc>) + Send,
) -> DbResult<Wishes> {
    let row = sqlx::query!(
        r#"INSERT INTO instance_service.settings AS s (name, value) VALUES ($1, '{}')
           ON CONFLICT (name) DO UPDATE SET value = s.value RETURNING value AS "wishes: Json<Wishes>", clock_timestamp() AS "now!""#,
        WISHES
    )
    .fetch_one(tx.conn())
    .await?;
    let Json(before) = row.wishes;
    let mut wishes = before.clone();
    change(&mut wishes, row.now);
    sqlx::query!(
        "UPDATE instance_service.settings SET value = $2, updated_at = clock_timestamp() WHERE name = $1",
        WISHES,
        json!(wishes)
    )
    .execute(tx.conn())
    .await?;
    let details = json!({ "before": before, "after": wishes });
    let entry = Entry { action, instance_id: None, operation_id: None, from: None, to: None, details };
    audit::record(tx, by, &entry).await?;
    Ok(wishes)
}

/// What the watcher does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watching {
    /// It has been told to, and has not heard of the runtime yet.
    #[default]
    Starting,
    /// It reads events.
    Running,
    /// The runtime does not tell it anything; it tries again.
    Error,
    /// It has been told not to.
    Stopped,
}

/// What the watcher says of itself. It goes on from here after a restart, on any worker.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Watcher {
    /// What it does.
    pub state: Watching,
    /// The worker that it runs in.
    pub worker: String,
    /// The wish that it follows.
    pub restarts: u64,
    /// Since when it watches.
    pub started_at: Option<DateTime<Utc>>,
    /// When the last event happened.
    pub last_event_time: Option<DateTime<Utc>>,
    /// Events that were read.
    pub total: u64,
    /// Of them, those whose instance was looked at and noted.
    pub successful: u64,
    /// Those that could not be followed up.
    pub failed: u64,
    /// Those of no instance, or of one that an operation is at work on.
    pub ignored: u64,
    /// Those that had been read before.
    pub duplicate: u64,
    /// Services whose instances were at work when something happened to them: looked at when they are at rest.
    pub waiting: BTreeMap<String, InstanceId>,
    /// What failed last was the runtime.
    pub runtime_away: bool,
    /// Where it goes on, in the driver's own words.
    pub cursor: Option<Value>,
    /// The last events, to know those that are told twice.
    pub recent: VecDeque<String>,
    /// From an event to its row, in milliseconds, lately.
    pub event_ms: Option<f64>,
    /// Of that, what the runtime took.
    pub runtime_ms: Option<f64>,
    /// Of that, what postgres1 took.
    pub store_ms: Option<f64>,
}

/// Name of the watcher's report, and of its lock.
pub const WATCHER: &str = "watcher";

/// Keeps what the watcher says.
///
/// # Errors
/// Database errors only.
pub async fn keep_watcher(db: &PlatformDb, watcher: &Watcher) -> DbResult<()> {
    monitor::write(db, WATCHER, &json!(watcher)).await
}

/// What the watcher said last, and how long ago. What cannot be read counts as nothing: a new one begins.
///
/// # Errors
/// Database errors only.
pub async fn watcher(db: &PlatformDb) -> DbResult<Option<(Watcher, Duration)>> {
    let report = monitor::read(db, WATCHER).await?;
    Ok(report.and_then(|report| Some((serde_json::from_value(report.value).ok()?, report.age))))
}
