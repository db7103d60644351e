//! The journal: what each step of an operation did, in each direction (engine 9). It is read here and written by `record`.

use crate::error::DbResult;
use crate::platform::operations::Fault;
use crate::platform::{PlatformDb, PlatformTx};
use chrono::{DateTime, Utc};
use domain::ids::OperationId;
use domain::operation::{Place, StepStatus};
use serde::Deserialize;
use serde_json::Value;
use sqlx::PgExecutor;
use sqlx::types::Json;
use std::time::Duration;

domain::words! {
    /// Direction of a journal entry.
    Phase {
        /// The effect.
        Apply = "apply",
        /// Taking it back.
        Undo = "undo",
    }
}

/// One journal entry: a step in one direction.
#[derive(Clone, Debug, Deserialize)]
#[allow(missing_docs, reason = "the fields are the columns of the table")]
pub struct JournalStep {
    pub operation_id: OperationId,
    pub step: String,
    pub phase: Phase,
    pub step_version: i32,
    pub position: i16,
    pub place: Place,
    pub status: StepStatus,
    pub attempt: i32,
    pub output: Option<Value>,
    pub error: Option<Fault>,
    pub lease_token: i64,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// The journal of one operation, in step order.
///
/// # Errors
/// Database errors only.
pub async fn steps(db: &PlatformDb, id: OperationId) -> DbResult<Vec<JournalStep>> {
    of(db.pool(), id).await
}

pub(crate) async fn of(executor: impl PgExecutor<'_>, id: OperationId) -> DbResult<Vec<JournalStep>> {
    let rows = sqlx::query_scalar!(
        r#"SELECT to_jsonb(s) AS "entry!: Json<JournalStep>" FROM instance_service.operation_steps s
            WHERE s.operation_id = $1 ORDER BY s.position, s.phase"#,
        id.as_uuid()
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(|Json(entry)| entry).collect())
}

/// How long ago a step was started for the first time, by the database's clock and without the time lost to a server that was away;
/// `None` if it never was.
///
/// # Errors
/// Database errors only.
pub async fn age(db: &PlatformDb, id: OperationId, step: &str) -> DbResult<Option<Duration>> {
    let seconds = sqlx::query_scalar!(
        r#"SELECT extract(epoch FROM clock_timestamp() - started_at)::float8 - lost_seconds AS "seconds!"
             FROM instance_service.operation_steps WHERE operation_id = $1 AND step = $2 AND phase = 'apply'"#,
        id.as_uuid(),
        step
    )
    .fetch_optional(db.pool())
    .await?;
    Ok(seconds.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}

/// Key under which a step records its sealed secrets.
pub const SEALED: &str = "sealed";

/// Erases the sealed secrets that an operation recorded: it has ended, and nobody needs them any more.
pub(crate) async fn forget_sealed(tx: &mut PlatformTx, id: OperationId) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.operation_steps SET output = output - $2::text WHERE operation_id = $1 AND output ? $2",
        id.as_uuid(),
        SEALED
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
