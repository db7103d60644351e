//! Who asked for a change, and the trail of what was changed (contract 9).
//!
//! Owns: the rows of `audit_log`, which the runtime role may insert and read, never change.
//! Leaves to others: when a change happens. Every function here writes in the transaction of the change itself.

use crate::error::DbResult;
use crate::platform::PlatformTx;
use domain::ids::{InstanceId, OperationId};
use domain::instance::Status;
use domain::words;
use serde_json::Value;

words! {
    /// Where a request came in.
    Door {
        /// The platform's own services.
        Internal = "internal",
        /// Customers.
        Public = "public",
        /// No request: the worker itself.
        Worker = "worker",
    }
}

/// Who asks for a change. Goes into the audit trail and into the operation.
#[derive(Clone, Debug)]
pub struct AuditContext {
    /// Where the request came in.
    pub door: Door,
    /// Who sent it: a service, a customer, a worker's name.
    pub actor: String,
    /// Finds the request's log lines.
    pub request_id: Option<String>,
}

/// One line of the trail.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was done, in one word, e.g. `create`.
    pub action: &'static str,
    /// To which instance.
    pub instance_id: Option<InstanceId>,
    /// By which operation, or which one was accepted.
    pub operation_id: Option<OperationId>,
    /// Public status before.
    pub from: Option<Status>,
    /// Public status after.
    pub to: Option<Status>,
    /// What else is worth keeping; never a secret.
    pub details: Value,
}

/// Writes one line in the caller's transaction.
///
/// # Errors
/// Database errors only.
pub async fn record(tx: &mut PlatformTx, by: &AuditContext, entry: &Entry) -> DbResult<()> {
    sqlx::query!(
        "INSERT INTO instance_service.audit_log
                (door, actor, request_id, instance_id, operation_id, action, from_status, to_status, details)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        by.door.as_str(),
        by.actor,
        by.request_id,
        entry.instance_id.map(|id| id.as_uuid()),
        entry.operation_id.map(|id| id.as_uuid()),
        entry.action,
        entry.from.map(Status::as_str),
        entry.to.map(Status::as_str),
        entry.details,
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}
