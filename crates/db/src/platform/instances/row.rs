//! The row as stored, and how it reads. Rows of the earlier service may hold anything; none of it may break a list.

use super::{Instance, Placement, Sealed};
use chrono::{DateTime, Utc};
use domain::ids::{CustomerId, InstanceId, OperationId, ServerId, SubscriptionId};
use domain::instance::{
    Axes, BillingStatus, DbType, DesiredState, InstanceType, ObservedState, Phase, ProvisioningStatus, Status, Suspension,
};
use domain::names::{Mark, PhysicalName};
use domain::size::ByteSize;
use domain::version::OdooVersion;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The columns that [`select_instances`] reads.
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) customer_id: Uuid,
    pub(super) subscription_id: Option<Uuid>,
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) odoo_version: Option<String>,
    pub(super) instance_type: Option<String>,
    pub(super) status: Option<String>,
    pub(super) billing_status: Option<String>,
    pub(super) provisioning_status: Option<String>,
    pub(super) phase: Option<String>,
    pub(super) desired_state: String,
    pub(super) suspension: String,
    pub(super) suspension_reason: Option<String>,
    pub(super) suspended_since: Option<DateTime<Utc>>,
    pub(super) resume_to: Option<String>,
    pub(super) observed_state: String,
    pub(super) observed_at: Option<DateTime<Utc>>,
    pub(super) revision: i64,
    pub(super) cpu_limit: Option<Decimal>,
    pub(super) memory_limit: Option<String>,
    pub(super) storage_limit: Option<String>,
    pub(super) resources_pending: bool,
    pub(super) admin_email: String,
    pub(super) database_name: String,
    pub(super) subdomain: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) demo_data: Option<bool>,
    pub(super) custom_addons: Option<Value>,
    pub(super) disabled_modules: Option<Value>,
    pub(super) environment_vars: Option<Value>,
    pub(super) metadata: Option<Value>,
    pub(super) db_type: Option<String>,
    pub(super) error_message: Option<String>,
    pub(super) external_url: Option<String>,
    pub(super) internal_url: Option<String>,
    pub(super) last_health_check: Option<DateTime<Utc>>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) created_at: Option<DateTime<Utc>>,
    pub(super) updated_at: Option<DateTime<Utc>>,
    pub(super) purged_at: Option<DateTime<Utc>>,
    pub(super) odoo_server_id: Option<Uuid>,
    pub(super) db_host: Option<String>,
    pub(super) db_port: Option<i32>,
    pub(super) db_name: Option<String>,
    pub(super) db_user: Option<String>,
    pub(super) service_name: Option<String>,
    pub(super) data_dir: Option<String>,
    pub(super) mark: Option<String>,
    pub(super) external_port: Option<i32>,
    pub(super) image_profile: Option<String>,
    pub(super) image: Option<String>,
    pub(super) db_oid: Option<i64>,
    pub(super) db_secret: Option<Vec<u8>>,
    pub(super) released_hostname: Option<String>,
    pub(super) running_limits: Option<Value>,
    pub(super) operation_id: Option<Uuid>,
}

/// `query_as!` takes only literals, so the columns are a macro. The sub-select is the active operation, else the next
/// in the queue; operations with a scope of their own (log reading) are not the instance's, and `Operation::is_aside` ones are in
/// nobody's way.
macro_rules! select_instances {
    ($tail:literal $(, $arg:expr)* $(,)?) => {
        sqlx::query_as!(
            $crate::platform::instances::row::Row,
            "SELECT i.id, i.customer_id, i.subscription_id, i.name, i.description, i.odoo_version, i.instance_type, i.status, \
                    i.billing_status, i.provisioning_status, i.phase, i.desired_state, i.suspension, i.suspension_reason, \
                    i.suspended_since, i.resume_to, i.observed_state, i.observed_at, i.revision, nullif(i.cpu_limit, 'NaN') AS cpu_limit, i.memory_limit, \
                    i.storage_limit, i.resources_pending, i.admin_email, i.database_name, i.subdomain, i.hostname, i.demo_data, \
                    i.custom_addons, i.disabled_modules, i.environment_vars, i.metadata, i.db_type, i.error_message, \
                    i.external_url, i.internal_url, i.last_health_check, i.started_at, i.created_at, i.updated_at, i.purged_at, \
                    i.odoo_server_id, i.db_host, i.db_port, i.db_name, i.db_user, i.service_name, i.data_dir, i.mark, \
                    i.external_port, i.image_profile, i.image, i.db_oid, i.db_secret, i.released_hostname, i.running_limits, \
                    (SELECT o.id FROM instance_service.operations AS o \
                      WHERE o.scope = 'instance:' || i.id \
                        AND o.state IN ('running', 'waiting', 'needs_attention', 'queued') \
                        AND o.kind NOT IN ('forget_replaced', 'verify_backup', 'prune_backups') \
                        AND (o.state = 'queued' AND o.kind = 'backup' AND o.params ->> 'origin' = 'scheduled') IS NOT TRUE \
                      ORDER BY o.state = 'queued', o.priority DESC, o.seq LIMIT 1) AS operation_id \
               FROM public.instances AS i " + $tail
            $(, $arg)*
        )
    };
}
pub(super) use select_instances;

impl From<Row> for Instance {
    fn from(row: Row) -> Self {
        Self {
            id: InstanceId::from_uuid(row.id),
            customer_id: CustomerId::from_uuid(row.customer_id),
            subscription_id: row.subscription_id.map(SubscriptionId::from_uuid),
            axes: axes(&row),
            adopted: row.phase.is_some(),
            placement: placement(&row),
            db_oid: row.db_oid.and_then(|oid| u32::try_from(oid).ok()),
            odoo_version: version(row.odoo_version),
            instance_type: row.instance_type.as_deref().and_then(InstanceType::parse).unwrap_or(InstanceType::Development),
            cpu_limit: row.cpu_limit.unwrap_or(Decimal::ONE).normalize(),
            memory_limit: size(row.memory_limit.as_deref(), ByteSize::DEFAULT_MEMORY),
            storage_limit: size(row.storage_limit.as_deref(), ByteSize::DEFAULT_STORAGE),
            custom_addons: texts(row.custom_addons),
            disabled_modules: texts(row.disabled_modules),
            environment_vars: pairs(row.environment_vars),
            metadata: object(row.metadata),
            db_type: row.db_type.as_deref().and_then(DbType::parse).unwrap_or(DbType::Shared),
            // A name is never empty; the label names the same thing.
            name: if row.name.trim().is_empty() { row.database_name.clone() } else { row.name },
            description: row.description,
            stored_status: row.status,
            revision: row.revision,
            resources_pending: row.resources_pending,
            admin_email: row.admin_email,
            database_name: row.database_name,
            subdomain: row.subdomain,
            hostname: row.hostname,
            released_hostname: row.released_hostname,
            running_limits: row.running_limits.and_then(|limits| serde_json::from_value(limits).ok()),
            demo_data: row.demo_data.unwrap_or(false),
            error_message: row.error_message,
            external_url: row.external_url,
            internal_url: row.internal_url,
            suspension_reason: row.suspension_reason,
            suspended_since: row.suspended_since,
            observed_at: row.observed_at,
            last_health_check: row.last_health_check,
            started_at: row.started_at,
            created_at: row.created_at.or(row.updated_at).unwrap_or_default(),
            updated_at: row.updated_at.or(row.created_at).unwrap_or_default(),
            purged_at: row.purged_at,
            db_secret: row.db_secret.map(Sealed::new),
            operation_id: row.operation_id.map(OperationId::from_uuid),
        }
    }
}

/// Public columns by contract 4.1; the others are checked by the database in adopted rows and derived in all others.
fn axes(row: &Row) -> Axes {
    let status = row.status.as_deref().and_then(Status::parse).unwrap_or(Status::Error);
    let billing = row.billing_status.as_deref().and_then(BillingStatus::parse).unwrap_or(BillingStatus::PaymentRequired);
    let provisioning = provisioning(row.provisioning_status.as_deref());
    let observed = ObservedState::parse(&row.observed_state).unwrap_or(ObservedState::Unknown);
    match row.phase.as_deref().and_then(Phase::parse) {
        Some(phase) => Axes {
            status,
            phase,
            desired: DesiredState::parse(&row.desired_state).unwrap_or(DesiredState::None),
            suspension: Suspension::parse(&row.suspension).unwrap_or(Suspension::None),
            resume_to: row.resume_to.as_deref().and_then(DesiredState::parse),
            observed,
            billing,
            provisioning,
        },
        None => not_adopted(row, status, billing, provisioning, observed),
    }
}

/// An unknown word must not lead to a provisioning over live data: it reads as failed. NULL is the old default.
fn provisioning(stored: Option<&str>) -> ProvisioningStatus {
    stored.map_or(ProvisioningStatus::Pending, |word| ProvisioningStatus::parse(word).unwrap_or(ProvisioningStatus::Failed))
}

/// Until adoption has looked at the runtime, the axes follow from the public status. A suspended row resumes to stopped, so
/// that nothing is started by itself.
fn not_adopted(
    row: &Row,
    status: Status,
    billing: BillingStatus,
    provisioning: ProvisioningStatus,
    observed: ObservedState,
) -> Axes {
    let was_provisioned = provisioning == ProvisioningStatus::Completed || row.db_host.is_some() || row.service_name.is_some();
    let desired = match status {
        Status::Running | Status::Starting | Status::Restarting | Status::Updating => DesiredState::Running,
        Status::Terminated => DesiredState::Terminated,
        Status::Creating => DesiredState::None,
        _ => DesiredState::Stopped,
    };
    let paused = status == Status::Paused;
    Axes {
        status,
        phase: if was_provisioned { Phase::Ready } else { Phase::Registered },
        desired,
        suspension: if paused { Suspension::Debt } else { Suspension::None },
        resume_to: paused.then_some(DesiredState::Stopped),
        observed,
        billing,
        provisioning,
    }
}

/// A placement is whole or not there: the columns are written together, and a row of the earlier service has no mark.
fn placement(row: &Row) -> Option<Placement> {
    Some(Placement {
        server: ServerId::from_uuid(row.odoo_server_id?),
        db_host: row.db_host.clone()?,
        db_port: row.db_port.and_then(port)?,
        db_name: PhysicalName::new(row.db_name.clone()?).ok()?,
        db_user: PhysicalName::new(row.db_user.clone()?).ok()?,
        service_name: row.service_name.clone()?,
        data_dir: row.data_dir.clone()?,
        mark: Mark::parse(row.mark.as_deref()?).ok()?,
        external_port: row.external_port.and_then(port),
        image_profile: row.image_profile.clone(),
        image: row.image.clone(),
    })
}

fn port(stored: i32) -> Option<u16> {
    u16::try_from(stored).ok()
}

/// NULL stands for the default of the column, whose rows know nothing else.
const DEFAULT_VERSION: &str = "17";

fn version(stored: Option<String>) -> String {
    let stored = stored.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| DEFAULT_VERSION.to_owned());
    OdooVersion::parse(stored.trim()).map_or(stored, |version| version.to_string())
}

/// The defaults of an order stand in for what is no size.
fn size(stored: Option<&str>, otherwise: ByteSize) -> ByteSize {
    stored.and_then(|text| ByteSize::parse(text.trim()).ok()).unwrap_or(otherwise)
}

fn texts(stored: Option<Value>) -> Vec<String> {
    match stored {
        Some(Value::Array(items)) => items.into_iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn pairs(stored: Option<Value>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    };
    object(stored).into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect()
}

fn object(stored: Option<Value>) -> Map<String, Value> {
    match stored {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}
