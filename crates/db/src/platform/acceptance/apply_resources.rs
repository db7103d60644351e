//! Bringing changed limits to the runtime (contract 8.3, 12.10). What does not run gets them at its next start.

use super::{new_id, operation};
use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::instances::{Instance, lock};
use crate::platform::operations::{Enqueued, enqueue};
use domain::ids::{InstanceId, OperationId};
use domain::instance::{DesiredState, Phase, Status};
use domain::operation::Kind;
use domain::sources::Entropy;
use serde_json::json;

/// One call.
#[derive(Clone, Debug)]
pub struct ApplyResources {
    /// Which instance.
    pub instance_id: InstanceId,
}

/// What became of a call.
#[derive(Clone, Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "one value per request")]
pub enum Applied {
    /// No such instance. 404.
    NotFound,
    /// Nothing is left of it, or soon. 409.
    Purged,
    /// Accepted; without an operation they wait for the next start.
    Done(Instance, Option<OperationId>),
    /// Too much is waiting already. 409.
    QueueFull,
}

/// Carries out one call.
///
/// # Errors
/// Database errors only.
pub async fn apply_resources(
    tx: &mut PlatformTx,
    request: &ApplyResources,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Applied> {
    let Some(instance) = lock(tx, request.instance_id).await? else { return Ok(Applied::NotFound) };
    if matches!(instance.axes.phase, Phase::Purging | Phase::Purged) {
        return Ok(Applied::Purged);
    }
    if !runs(&instance) {
        return Ok(Applied::Done(instance, None));
    }
    let id = new_id(entropy);
    match enqueue(tx, operation(id, instance.id, Kind::ApplyResources, None), by).await? {
        Enqueued::Accepted(id) | Enqueued::Joined(id) => {
            let entry = Entry {
                action: Kind::ApplyResources.as_str(),
                instance_id: Some(instance.id),
                operation_id: Some(id),
                from: Some(instance.axes.status),
                to: Some(instance.axes.status),
                details: json!({ "cpu_limit": instance.cpu_limit, "memory_limit": instance.memory_limit }),
            };
            audit::record(tx, by, &entry).await?;
            Ok(Applied::Done(instance.with_operation(Some(id)), Some(id)))
        }
        Enqueued::QueueFull => Ok(Applied::QueueFull),
    }
}

/// It has a service that is up, or comes up.
fn runs(instance: &Instance) -> bool {
    let status = instance.axes.status;
    let up = matches!(status, Status::Running | Status::Restarting | Status::Starting | Status::Updating | Status::Maintenance);
    instance.adopted && instance.axes.has_data() && up && instance.axes.desired == DesiredState::Running
}
