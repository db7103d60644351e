//! `GET` and `PUT /api/v1/monitoring/config`: how monitoring is set up, and what of it operators may change while it runs.

use super::sight::Sight;
use crate::conventions::Call;
use crate::input::RawBody;
use crate::problem::{FieldProblem, Problem, ProblemBody};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use db::platform::monitoring::{Wishes, wish};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// How monitoring is set up. What nobody wished is as the worker's settings say; null while no worker lives to say so.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MonitoringConfig {
    /// Whether it shall run.
    #[schema(required)]
    auto_start_monitoring: Option<bool>,
    /// How often rows and services are compared.
    #[schema(required, minimum = 10, maximum = 86400)]
    reconcile_interval_seconds: Option<u32>,
    /// How often instances are asked whether they answer.
    #[schema(required, minimum = 1, maximum = 3600)]
    health_check_interval_seconds: Option<u32>,
    /// How long the start of a paid instance may take to come.
    #[schema(required, minimum = 0, maximum = 86400)]
    resume_grace_seconds: Option<u32>,
}

impl From<Sight> for MonitoringConfig {
    fn from(sight: Sight) -> Self {
        let (wishes, setup) = (&sight.wishes, sight.effective());
        Self {
            auto_start_monitoring: wishes.run.or(setup.map(|setup| setup.run)),
            reconcile_interval_seconds: wishes.reconcile_interval_seconds.or(setup.map(|setup| setup.reconcile_interval_seconds)),
            health_check_interval_seconds: wishes
                .health_check_interval_seconds
                .or(setup.map(|setup| setup.health_check_interval_seconds)),
            resume_grace_seconds: wishes.resume_grace_seconds.or(setup.map(|setup| setup.resume_grace_seconds)),
        }
    }
}

/// How monitoring is set up
#[utoipa::path(get, operation_id = "get_monitoring_config", path = "/api/v1/monitoring/config", tag = "monitoring", responses(
    (status = 200, body = MonitoringConfig),
))]
pub(super) async fn get(State(state): State<AppState>) -> Result<Json<MonitoringConfig>, Problem> {
    Ok(Json(Sight::read(&state).await?.into()))
}

/// Change how monitoring is set up
///
/// Fields that are not among these have no effect, and are refused.
#[utoipa::path(put, operation_id = "change_monitoring_config", path = "/api/v1/monitoring/config", tag = "monitoring",
    request_body(content = Object, description = "Any of the fields of the answer; null leaves one as it is"), responses(
    (status = 200, body = MonitoringConfig),
    (status = 422, description = "A field without effect, or a value out of range", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn put(State(state): State<AppState>, call: Call, body: RawBody) -> Result<Json<MonitoringConfig>, Problem> {
    let changes = read(body.object(false)?)?;
    if !changes.is_empty() {
        let mut tx = state.db().begin().await?;
        wish(&mut tx, &call.audit(), "monitoring_config", |wishes, at| {
            for change in changes {
                change.apply(wishes);
                if matches!(change, Changed::Run(_)) {
                    wishes.asked_at = Some(at);
                }
            }
        })
        .await?;
        tx.commit().await?;
    }
    Ok(Json(Sight::read(&state).await?.into()))
}

#[derive(Clone, Copy)]
enum Changed {
    Run(bool),
    Reconcile(u32),
    HealthCheck(u32),
    Grace(u32),
}

impl Changed {
    const fn apply(self, wishes: &mut Wishes) {
        match self {
            Self::Run(run) => wishes.run = Some(run),
            Self::Reconcile(seconds) => wishes.reconcile_interval_seconds = Some(seconds),
            Self::HealthCheck(seconds) => wishes.health_check_interval_seconds = Some(seconds),
            Self::Grace(seconds) => wishes.resume_grace_seconds = Some(seconds),
        }
    }
}

/// Every field has an effect or is refused: who sends one that is not heard should know.
fn read(fields: Map<String, Value>) -> Result<Vec<Changed>, Problem> {
    let mut changes = Vec::new();
    let mut problems = Vec::new();
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
        match change(&name, &value) {
            Ok(change) => changes.push(change),
            Err((msg, kind)) => problems.push(FieldProblem::new("body", &name, msg, kind)),
        }
    }
    if problems.is_empty() { Ok(changes) } else { Err(Problem::invalid(problems)) }
}

fn change(name: &str, value: &Value) -> Result<Changed, (String, &'static str)> {
    let seconds = |least: u32, most: u32| {
        let read =
            value.as_u64().and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| (least..=most).contains(seconds));
        read.ok_or_else(|| (format!("must be a whole number from {least} to {most}"), "int_range"))
    };
    match name {
        "auto_start_monitoring" => {
            value.as_bool().map(Changed::Run).ok_or_else(|| ("must be true or false".to_owned(), "bool_type"))
        }
        "reconcile_interval_seconds" => seconds(10, 86_400).map(Changed::Reconcile),
        "health_check_interval_seconds" => seconds(1, 3_600).map(Changed::HealthCheck),
        "resume_grace_seconds" => seconds(0, 86_400).map(Changed::Grace),
        _ => Err(("has no effect".to_owned(), "no_effect")),
    }
}
