//! What the administration answers with.

use domain::ids::{InstanceId, OperationId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// Something an operator asked for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AdminAnswer)]
pub(crate) struct JobAnswer {
    /// In words.
    message: String,
    /// The instance, if it is about one.
    #[schema(required)]
    instance_id: Option<Uuid>,
    /// The operation that was accepted or goes on.
    #[schema(required)]
    job_id: Option<Uuid>,
}

impl JobAnswer {
    pub(crate) fn new(message: impl Into<String>, instance: Option<InstanceId>, operation: Option<OperationId>) -> Self {
        Self { message: message.into(), instance_id: instance.map(|id| id.as_uuid()), job_id: operation.map(|id| id.as_uuid()) }
    }
}
