//! `POST /api/v1/instances/{id}/actions` (contract 4.4). What is allowed when is the table `domain::instance::ACTIONS`.

use crate::caller::Caller;
use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::fields::Fields;
use crate::input::{PathId, RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use chrono::{DateTime, Utc};
use db::platform::PlatformTx;
use db::platform::acceptance::{self, Act, Acted, Suspend, Suspended, Terminate, Terminated, Unsuspend, Unsuspended, Update};
use db::platform::audit::AuditContext;
use db::platform::{instances, legacy_backups};
use domain::backup;
use domain::ids::{BackupId, InstanceId, OperationId};
use domain::instance::Action;
use domain::names::AddonName;
use domain::order::RawVersion;
use domain::times;
use domain::version::OdooVersion;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::str::FromStr;
use utoipa::ToSchema;
use uuid::Uuid;

const LABEL: &str = "of at most 100 characters";

/// What is asked of an instance.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = InstanceAction, example = json!({"action": "suspend", "parameters": {"reason": "Payment failed for invoice 41"}}))]
#[expect(dead_code, reason = "bodies are read field by field, so that every refusal names its field")]
pub(super) struct ActionBody {
    /// start, stop, restart, update, backup, restore, suspend, unsuspend, unpause or terminate.
    #[schema(example = "terminate")]
    action: String,
    /// What the action needs: `reason` for most; `name` of at most 100 characters for a backup; `backup_id` for a restore, with `start` (true or false) where it
    /// shall run or not run afterwards whatever it did before; `version`, and `modules` if not all, for an update.
    #[schema(value_type = Option<Object>, example = json!({"reason": "Subscription cancelled"}))]
    parameters: Option<Value>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ActionAnswer {
    /// The instance.
    instance_id: Uuid,
    /// The word.
    action: &'static str,
    /// `queued` or `success`.
    #[schema(example = "success")]
    status: &'static str,
    /// In words.
    #[schema(example = "Instance terminated successfully")]
    message: String,
    /// When this was answered.
    #[serde(serialize_with = "times::serialize")]
    timestamp: DateTime<Utc>,
    /// The queued work, if there is any.
    #[schema(required)]
    job_id: Option<Uuid>,
}

/// Ask something of an instance
#[utoipa::path(post, operation_id = "act_on_instance", path = "/api/v1/instances/{id}/actions", tag = "instances", request_body = ActionBody, params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 200, body = ActionAnswer),
    (status = 400, description = "Not allowed in this status", body = ProblemBody, content_type = "application/problem+json"),
    (status = 402, description = "A payment is outstanding", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "Instance not found, or it has no such backup", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Too much is waiting for this instance, or it is not taken over yet", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "Unknown action, or a field of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let asked_for = read(&body)?;
    let action = asked_for.action;
    if call.caller.customer().is_some() && matches!(action, Action::Suspend | Action::Unsuspend | Action::Terminate) {
        return Err(Problem::forbidden("This action is not available here"));
    }
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Requested { state: &state, caller: call.caller, id, action, asked_for }).await
}

/// What the body asks for.
struct AskedFor {
    action: Action,
    reason: Option<String>,
    /// What a backup shall be called.
    label: Option<String>,
    /// The backup that a restore is from, as it was written.
    backup: Option<String>,
    /// Whether what was restored shall run.
    start: Option<bool>,
    /// What an update brings it to.
    update: Option<Update>,
}

fn read(body: &RawBody) -> Result<AskedFor, Problem> {
    let mut fields = Fields::of(body.object(false)?);
    fields.require("action");
    let words: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
    let action = fields.parsed("action", &format!("one of {}", words.join(", ")), "enum", Action::parse);
    let (reason, label, backup, start, update) = fields.inner("parameters", |parameters| {
        let reason = parameters.note("reason");
        let label =
            if action == Some(Action::Backup) { parameters.parsed("name", LABEL, "string_too_long", label) } else { None };
        let restores = action == Some(Action::Restore);
        let backup = if restores { parameters.text("backup_id") } else { None };
        let start = if restores { parameters.switch("start") } else { None };
        let update = if action == Some(Action::Update) { update(parameters) } else { None };
        (reason, label, backup, start, update)
    });
    fields.finish()?;
    let action = action.ok_or_else(|| Problem::invalid_field("body", "action", "is required", "missing"))?;
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    Ok(AskedFor { action, reason: given(reason), label: given(label), backup: given(backup), start, update })
}

/// What an update is to; `None` without a version.
fn update(parameters: &mut Fields) -> Option<Update> {
    const MODULES: &str = "a list of names of modules: letters, digits and underscores";
    let version = match parameters.version("version") {
        Some(RawVersion::Text(text)) => OdooVersion::parse(&text),
        Some(RawVersion::Number(number)) => OdooVersion::parse(&number.to_string()),
        None => return None,
    };
    if version.is_none() {
        parameters.wrong("version", "a version of Odoo, such as 19 or 19.0", "value_error");
    }
    let named = parameters.texts("modules").unwrap_or_default();
    let modules: Vec<AddonName> = named.iter().filter_map(|name| AddonName::parse(name).ok()).collect();
    if modules.len() != named.len() {
        parameters.wrong("modules", MODULES, "value_error");
    }
    Some(Update { version: version?, modules })
}

fn label(text: &str) -> Option<String> {
    (text.chars().count() <= backup::LONGEST_NAME).then(|| text.to_owned())
}

struct Requested<'a> {
    state: &'a AppState,
    caller: Caller,
    id: InstanceId,
    action: Action,
    asked_for: AskedFor,
}

/// `queued` or `success`, in words, and the operation.
type Said = (&'static str, String, Option<OperationId>);

impl Change for Requested<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        if self.caller.customer().is_some() {
            self.caller.own(instances::lock(tx, self.id).await?)?;
        }
        let (status, message, operation) = match self.action {
            Action::Suspend => self.suspend(tx, by).await?,
            Action::Unsuspend => self.unsuspend(tx, by).await?,
            Action::Terminate => self.terminate(tx, by).await?,
            _ => self.act(tx, by).await?,
        };
        let body = ActionAnswer {
            instance_id: self.id.as_uuid(),
            action: self.action.as_str(),
            status,
            message,
            timestamp: self.state.clock().now(),
            job_id: operation.map(|id| id.as_uuid()),
        };
        Answer::new(StatusCode::OK, &body, operation)
    }
}

impl Requested<'_> {
    async fn act(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Said, Failure> {
        let action = self.action;
        let AskedFor { reason, label, backup, start, update, .. } = &self.asked_for;
        if action == Action::Restore && backup.is_none() {
            instances::lock(tx, self.id).await?.ok_or_else(Problem::no_instance)?;
            return Err(Problem::rule("Backup ID required for restore action").into());
        }
        if action == Action::Update && update.is_none() {
            instances::lock(tx, self.id).await?.ok_or_else(Problem::no_instance)?;
            return Err(Problem::rule("Target version required for update action").into());
        }
        let backup = match backup {
            Some(text) => Some(self.backup(tx, text).await?),
            None => None,
        };
        let request = Act {
            label: label.clone(),
            backup,
            start: *start,
            update: update.clone(),
            ..Act::new(self.id, action, reason.clone())
        };
        Ok(match acceptance::act(tx, request, self.state.entropy(), by).await? {
            Acted::Queued(_, id) => {
                let from = backup.map(|backup| format!(" from backup {backup}")).unwrap_or_default();
                let to = update.as_ref().map(|update| format!(" to {}", update.version)).unwrap_or_default();
                ("queued", format!("Instance {action}{from}{to} queued for processing"), Some(id))
            }
            Acted::UnderWay(_, operation) => ("queued", format!("Instance {action} already in progress"), operation),
            Acted::Running(_) => ("success", "Instance is already running".to_owned(), None),
            Acted::NotFound => return Err(Problem::no_instance().into()),
            Acted::NoSuchBackup => return Err(Problem::no_backup().into()),
            Acted::NotAllowed(refused) => return Err(Problem::rule(refused.to_string()).into()),
            Acted::Unpaid(why) => return Err(Problem::unpaid(why).into()),
            Acted::OtherVersion(why) => return Err(Problem::rule(why).into()),
            Acted::NotAdopted => return Err(Problem::not_adopted().into()),
            Acted::QueueFull => return Err(Problem::queue_full().into()),
        })
    }

    /// The id of a backup, or what the earlier service called one of this instance. What can be neither is that of none.
    async fn backup(&self, tx: &mut PlatformTx, text: &str) -> Result<BackupId, Failure> {
        if let Ok(id) = BackupId::from_str(text) {
            return Ok(id);
        }
        Ok(legacy_backups::named(tx, self.id, text).await?.ok_or_else(Problem::no_backup)?)
    }

    async fn suspend(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Said, Failure> {
        let request = Suspend { instance_id: self.id, by_operator: false, reason: self.asked_for.reason.clone() };
        match acceptance::suspend(tx, request, self.state.entropy(), by).await? {
            Suspended::Done { operation, .. } => Ok(done("suspended", operation)),
            Suspended::NotAllowed(refused) => Err(Problem::rule(refused.to_string()).into()),
            Suspended::NotFound => Err(Problem::no_instance().into()),
        }
    }

    async fn unsuspend(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Said, Failure> {
        let request = Unsuspend { instance_id: self.id, reason: self.asked_for.reason.clone() };
        match acceptance::unsuspend(tx, request, self.state.entropy(), by).await? {
            Unsuspended::Done { operation, .. } => Ok(done("unsuspended", operation)),
            Unsuspended::NotAllowed(refused) => Err(Problem::rule(refused.to_string()).into()),
            Unsuspended::NotFound => Err(Problem::no_instance().into()),
        }
    }

    async fn terminate(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Said, Failure> {
        let request = Terminate { instance_id: self.id, reason: self.asked_for.reason.clone() };
        match acceptance::terminate(tx, request, self.state.entropy(), by).await? {
            Terminated::Done { operation, .. } => Ok(done("terminated", operation)),
            Terminated::NotFound => Err(Problem::no_instance().into()),
        }
    }
}

/// The row says it already; the operation, if there is one, only brings the runtime there.
fn done(what: &str, operation: Option<OperationId>) -> Said {
    ("success", format!("Instance {what} successfully"), operation)
}
