//! `GET` and `PUT /api/v1/instances/{id}/backup-schedule` (contract 16.4)

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::fields::Fields;
use crate::input::{PathId, RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use db::platform::audit::{self, AuditContext, Entry};
use db::platform::instances;
use db::platform::{PlatformTx, backup_schedules};
use domain::backup::schedule::{Keep, MOST_KEPT, Schedule, Tz};
use domain::ids::InstanceId;
use domain::times;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

/// When an instance is backed up by itself.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BackupSchedule {
    /// The instance.
    instance_id: Uuid,
    /// Whether it is.
    enabled: bool,
    /// The hour of the day in which the backup begins, 0 to 23.
    hour: u32,
    /// Whose hour that is.
    #[schema(example = "Europe/Berlin")]
    timezone: &'static str,
    /// How many are kept.
    keep: Kept,
    /// Whether the instance has no schedule of its own, and this is the configured one.
    is_default: bool,
    /// When the next one begins; null if none does.
    #[schema(required)]
    #[serde(serialize_with = "times::serialize_option")]
    next_backup_at: Option<DateTime<Utc>>,
}

/// The newest backup of each of so many days, weeks and months.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BackupsKept)]
struct Kept {
    /// Days.
    daily: u32,
    /// ISO weeks.
    weekly: u32,
    /// Months.
    monthly: u32,
}

/// What to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = BackupScheduleChange, example = json!({"enabled": true, "hour": 3, "timezone": "Europe/Berlin", "keep": {"daily": 7, "weekly": 4, "monthly": 6}}))]
#[expect(dead_code, reason = "bodies are read field by field, so that every refusal names its field")]
pub(super) struct ScheduleBody {
    /// Whether the instance is backed up by itself.
    enabled: Option<bool>,
    /// 0 to 23.
    hour: Option<u32>,
    /// A name of the IANA time zone database.
    timezone: Option<String>,
    /// `daily`, `weekly` and `monthly`, each 0 to 1000.
    #[schema(value_type = Option<Object>)]
    keep: Option<serde_json::Value>,
}

impl BackupSchedule {
    fn new(state: &AppState, id: InstanceId, own: Option<Schedule>) -> Self {
        let schedule = own.unwrap_or(state.policy().backup_schedule);
        let Keep { daily, weekly, monthly } = schedule.keep;
        Self {
            instance_id: id.as_uuid(),
            enabled: schedule.enabled,
            hour: schedule.hour,
            timezone: schedule.timezone.name(),
            keep: Kept { daily, weekly, monthly },
            is_default: own.is_none(),
            next_backup_at: schedule.next(state.clock().now(), id.as_uuid().as_u128()),
        }
    }
}

/// The backup schedule of an instance
#[utoipa::path(get, operation_id = "get_backup_schedule", path = "/api/v1/instances/{id}/backup-schedule", tag = "backups", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = BackupSchedule),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Malformed id", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn get(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
) -> Result<Json<BackupSchedule>, Problem> {
    call.caller.own(instances::get(state.db(), id).await?)?;
    let own = backup_schedules::of(state.db(), id).await?;
    Ok(Json(BackupSchedule::new(&state, id, own)))
}

/// Give an instance a backup schedule of its own
///
/// What is left out stays as it is, or as it is configured for instances without a schedule of their own.
#[utoipa::path(put, operation_id = "set_backup_schedule", path = "/api/v1/instances/{id}/backup-schedule", tag = "backups", request_body = ScheduleBody, params(
    ("id" = uuid::Uuid, Path),
), responses(
    (status = 200, body = BackupSchedule),
    (status = 404, description = "Instance not found", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "The instance was removed", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A field of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn put(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let wanted = read(&body)?;
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Set { state: &state, call: &call, id, wanted }).await
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    enabled: Option<bool>,
    hour: Option<u32>,
    timezone: Option<Tz>,
    keep: [Option<u32>; 3],
}

fn read(body: &RawBody) -> Result<Wanted, Problem> {
    let mut fields = Fields::of(body.object(false)?);
    let enabled = fields.switch("enabled");
    let hour = fields.whole("hour", 0..=23);
    let zone = "a name of the IANA time zone database, such as Europe/Berlin";
    let timezone = fields.parsed("timezone", zone, "timezone", |text| text.parse().ok());
    let keep = fields.inner("keep", |keep| ["daily", "weekly", "monthly"].map(|name| keep.whole(name, 0..=MOST_KEPT)));
    fields.finish()?;
    Ok(Wanted { enabled, hour, timezone, keep })
}

struct Set<'a> {
    state: &'a AppState,
    call: &'a Call,
    id: InstanceId,
    wanted: Wanted,
}

impl Change for Set<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let instance = self.call.caller.own(instances::lock(tx, self.id).await?)?;
        if instance.purged_at.is_some() {
            return Err(Problem::deleted().into());
        }
        let now = backup_schedules::locked(tx, self.id).await?.unwrap_or(self.state.policy().backup_schedule);
        let Wanted { enabled, hour, timezone, keep: [daily, weekly, monthly] } = self.wanted;
        let schedule = Schedule {
            enabled: enabled.unwrap_or(now.enabled),
            hour: hour.unwrap_or(now.hour),
            timezone: timezone.unwrap_or(now.timezone),
            keep: Keep {
                daily: daily.unwrap_or(now.keep.daily),
                weekly: weekly.unwrap_or(now.keep.weekly),
                monthly: monthly.unwrap_or(now.keep.monthly),
            },
        };
        backup_schedules::set(tx, self.id, &schedule).await?;
        let details = json!({ "enabled": schedule.enabled, "hour": schedule.hour, "timezone": schedule.timezone.name() });
        let entry = Entry {
            action: "set_backup_schedule",
            instance_id: Some(self.id),
            operation_id: None,
            from: None,
            to: None,
            details,
        };
        audit::record(tx, by, &entry).await?;
        Answer::new(StatusCode::OK, &BackupSchedule::new(self.state, self.id, Some(schedule)), None)
    }
}
