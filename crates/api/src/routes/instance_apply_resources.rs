//! `POST /api/v1/instances/{id}/apply-resources` (contract 8.3)

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::input::{PathId, RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use db::platform::PlatformTx;
use db::platform::acceptance::{self, Applied, ApplyResources};
use db::platform::audit::AuditContext;
use domain::ids::InstanceId;
use domain::times;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ResourcesAccepted)]
pub(super) struct ResourcesAnswer {
    /// Fixed.
    #[schema(example = "success")]
    status: &'static str,
    /// In words.
    message: &'static str,
    /// The instance.
    instance_id: Uuid,
    /// Its service; null before the first provisioning.
    #[schema(required)]
    service_name: Option<String>,
    /// The same.
    #[schema(required)]
    container_name: Option<String>,
    /// CPUs that it shall have.
    cpu_limit: f64,
    /// Memory that it shall have.
    memory_limit: String,
    /// Disk that it shall have.
    storage_limit: String,
    /// Always false: they are applied by the operation, or at the next start.
    applied: bool,
    /// The operation that applies them; null when they wait for the next start.
    #[schema(required)]
    job_id: Option<Uuid>,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
}

/// Bring changed limits to a running instance
#[utoipa::path(post, operation_id = "apply_resources", path = "/api/v1/instances/{id}/apply-resources", tag = "instances", params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = ResourcesAnswer),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Deleted, or too much is waiting", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Wanted { state: &state, id }).await
}

struct Wanted<'a> {
    state: &'a AppState,
    id: InstanceId,
}

impl Change for Wanted<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let request = ApplyResources { instance_id: self.id };
        let (instance, operation) = match acceptance::apply_resources(tx, &request, self.state.entropy(), by).await? {
            Applied::Done(instance, operation) => (instance, operation),
            Applied::NotFound => return Err(Problem::no_instance().into()),
            Applied::Purged => return Err(Problem::deleted().into()),
            Applied::QueueFull => return Err(Problem::queue_full().into()),
        };
        let service = instance.placement.as_ref().map(|placement| placement.service_name.clone());
        let message = match operation {
            Some(_) => "Resource update queued for processing",
            None => "Resources are applied at the next start",
        };
        let body = ResourcesAnswer {
            status: "success",
            message,
            instance_id: instance.id.as_uuid(),
            service_name: service.clone(),
            container_name: service,
            cpu_limit: instance.cpu_limit.to_f64().unwrap_or_default(),
            memory_limit: instance.memory_limit.to_string(),
            storage_limit: instance.storage_limit.to_string(),
            applied: false,
            job_id: operation.map(|id| id.as_uuid()),
            timestamp: self.state.clock().now(),
        };
        Answer::new(StatusCode::OK, &body, operation)
    }
}
