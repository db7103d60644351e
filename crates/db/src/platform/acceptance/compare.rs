//! Asking for a comparison of rows with what runs (contract 8.5, `reconcile`). It changes no instance's queue.

use super::new_id;
use crate::error::DbResult;
use crate::platform::audit::AuditContext;
use crate::platform::operations::{Enqueued, NewOperation, Scope, enqueue};
use crate::platform::{LockClass, PlatformTx};
use domain::ids::InstanceId;
use domain::operation::Kind;
use domain::sources::Entropy;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// What to compare, and what to do about it. Kept as the operation's parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compare {
    /// Report only.
    pub dry_run: bool,
    /// Also bring services that run with other limits than their row says in line with it.
    pub force_update: bool,
    /// This instance alone.
    pub only: Option<InstanceId>,
}

/// Queues a comparison; an equal one that waits already is joined. A full one runs at a time, one of a single instance at once.
///
/// # Errors
/// Database errors only.
pub async fn compare(tx: &mut PlatformTx, request: &Compare, entropy: &dyn Entropy, by: &AuditContext) -> DbResult<Enqueued> {
    let id = new_id(entropy);
    let scope = match request.only {
        Some(_) => Scope::Own(id),
        None => Scope::Reconcile,
    };
    tx.lock(LockClass::Scope, &scope.to_string()).await?;
    let new = NewOperation {
        id,
        scope,
        instance_id: request.only,
        kind: Kind::Reconcile,
        params: json!(request),
        priority: 0,
        reason: None,
        trace_parent: None,
    };
    enqueue(tx, new, by).await
}
