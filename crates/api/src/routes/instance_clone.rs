//! `POST /api/v1/instances/{id}/clone` (contract 16.4)

use crate::change::{self, Answer, Asked, Change, Failure};
use crate::conventions::Call;
use crate::fields::Fields;
use crate::input::{PathId, RawBody, RawQueryText};
use crate::problem::{Problem, ProblemBody};
use crate::shapes::instance::InstanceShape;
use crate::state::AppState;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use db::platform::PlatformTx;
use db::platform::acceptance::{self, CloneInstance, Cloned, Created};
use db::platform::audit::AuditContext;
use db::platform::instances::{self, Instance};
use domain::ids::{BackupId, InstanceId};
use domain::order::{self, Order, OrderRules, RawOrder, RawVersion};
use rust_decimal::prelude::ToPrimitive;
use serde::Deserialize;
use std::str::FromStr;
use utoipa::ToSchema;

/// What a copy shall be. Size, version, add-ons and variables are those of the original.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = InstanceClone, example = json!({
    "name": "Shop (test)", "database_name": "shop_test", "customer_id": "5b2f5d0e-8a44-4a43-9c5b-0d6b1f3f8a11",
    "subscription_id": "a1f3f2b0-6d4a-4a7e-8f5e-2b8c9d0e1f22", "neutralize": true
}))]
#[expect(dead_code, reason = "bodies are read field by field, so that every refusal names its field")]
pub(super) struct CloneBody {
    /// Its name.
    name: String,
    /// The customer's label for its database.
    database_name: String,
    /// Its host label; without one, one is made of `database_name`.
    subdomain: Option<String>,
    /// What pays for it.
    subscription_id: uuid::Uuid,
    /// The customer of the original.
    customer_id: uuid::Uuid,
    /// `true`, or left out: no copy sends mail, runs jobs or takes payments.
    neutralize: Option<bool>,
    /// The backup that it is made of; without one, one is taken now.
    backup_id: Option<uuid::Uuid>,
    /// `payment_required`, `trial` or `paid`.
    billing_status: Option<String>,
    /// What it is for.
    #[schema(example = "staging")]
    instance_type: Option<String>,
}

/// Make a new instance with the data of this one
///
/// From a backup, or as it is now. The copy has an identity of its own and is neutralised before it can be reached: no outgoing or incoming mail, no scheduled jobs, no payments. Whoever may log in to the original may log in to the copy. It belongs to the customer of the original.
#[utoipa::path(post, operation_id = "clone_instance", path = "/api/v1/instances/{id}/clone", tag = "backups", request_body = CloneBody, params(
    ("id" = uuid::Uuid, Path),
    ("Idempotency-Key" = Option<String>, Header),
), responses(
    (status = 201, description = "Recorded and queued", body = InstanceShape),
    (status = 200, description = "The subscription has this instance already", body = InstanceShape),
    (status = 400, description = "A rule of the house is broken, or the original cannot be backed up in its status", body = ProblemBody, content_type = "application/problem+json"),
    (status = 404, description = "Instance not found, or it has no such backup", body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "Host name or subscription in use, too much is waiting, or not taken over yet", body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, description = "A field of the wrong form", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn handler(
    State(state): State<AppState>,
    call: Call,
    PathId(id): PathId<InstanceId>,
    headers: HeaderMap,
    query: RawQueryText,
    body: RawBody,
) -> Result<Response, Problem> {
    let wanted = read(&body)?;
    let source = call.caller.own(instances::get(state.db(), id).await?)?;
    let name = wanted.order.name.clone().unwrap_or_default();
    let order = ordered(wanted.order, &source, &state.policy().order)?;
    let backup = wanted.backup.map(|text| BackupId::from_str(&text).map_err(|_| Problem::no_backup())).transpose()?;
    let request = CloneInstance { source: id, order, name, backup };
    let asked = Asked { call: &call, headers: &headers, body: &body.0, query: &query.0 };
    change::run(&state, &asked, &Copy { state: &state, request }).await
}

struct Wanted {
    order: RawOrder,
    backup: Option<String>,
}

fn read(body: &RawBody) -> Result<Wanted, Problem> {
    let mut fields = Fields::of(body.object(false)?);
    let order = RawOrder {
        name: fields.text("name"),
        database_name: fields.text("database_name"),
        subdomain: fields.text("subdomain"),
        subscription_id: fields.text("subscription_id"),
        customer_id: fields.text("customer_id"),
        billing_status: fields.text("billing_status"),
        instance_type: fields.text("instance_type"),
        ..RawOrder::default()
    };
    let backup = fields.text("backup_id");
    let harmless = fields.switch("neutralize").unwrap_or(true);
    fields.finish()?;
    if !harmless {
        return Err(Problem::invalid_field(
            "body",
            "neutralize",
            "must be true: a copy must not send mails, run jobs or take payments",
            "value_error",
        ));
    }
    Ok(Wanted { order, backup })
}

/// The order of an instance like the original.
fn ordered(wanted: RawOrder, source: &Instance, rules: &OrderRules) -> Result<Order, Problem> {
    let raw = RawOrder {
        odoo_version: Some(RawVersion::Text(source.odoo_version.clone())),
        instance_type: Some(wanted.instance_type.unwrap_or_else(|| "staging".to_owned())),
        cpu_limit: source.cpu_limit.to_f64(),
        memory_limit: Some(source.memory_limit.to_string()),
        storage_limit: Some(source.storage_limit.to_string()),
        admin_email: Some(source.admin_email.clone()),
        demo_data: Some(source.demo_data),
        custom_addons: Some(source.custom_addons.clone()),
        disabled_modules: Some(source.disabled_modules.clone()),
        environment_vars: Some(source.environment_vars.clone()),
        db_type: Some(source.db_type.as_str().to_owned()),
        ..wanted
    };
    order::parse(raw, rules).map_err(Problem::from)
}

struct Copy<'a> {
    state: &'a AppState,
    request: CloneInstance,
}

impl Change for Copy<'_> {
    async fn decide(&self, tx: &mut PlatformTx, by: &AuditContext) -> Result<Answer, Failure> {
        let reserved = &self.state.policy().order.reserved_hosts;
        match acceptance::clone_instance(tx, self.request.clone(), reserved, self.state.entropy(), by).await? {
            Cloned::Ordered(Created::New(instance)) => answer(StatusCode::CREATED, instance),
            Cloned::Ordered(Created::Replayed(instance)) => answer(StatusCode::OK, instance),
            Cloned::Ordered(Created::SubscriptionTaken) => {
                Err(Problem::conflict("This subscription already has an instance").into())
            }
            Cloned::Ordered(Created::Refused(refusal)) => Err(Problem::from(refusal).into()),
            Cloned::Ordered(Created::LabelTaken(label)) => {
                Err(Problem::rule(format!("Database name '{label}' already exists for this customer")).into())
            }
            Cloned::Ordered(Created::HostTaken(host)) => {
                Err(Problem::conflict(format!("Subdomain '{host}' is already taken")).into())
            }
            Cloned::NotFound => Err(Problem::no_instance().into()),
            Cloned::OtherCustomer => Err(Problem::rule("A copy belongs to the customer of its original").into()),
            Cloned::NoSuchBackup => Err(Problem::no_backup().into()),
            Cloned::NotAllowed(refused) => Err(Problem::rule(refused.to_string()).into()),
            Cloned::NotAdopted => Err(Problem::not_adopted().into()),
            Cloned::QueueFull => Err(Problem::queue_full().into()),
        }
    }
}

fn answer(status: StatusCode, instance: Instance) -> Result<Answer, Failure> {
    let operation = instance.operation_id;
    Answer::new(status, &InstanceShape::from(instance), operation)
}
