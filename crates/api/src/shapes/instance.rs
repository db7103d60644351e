//! The instance object (contract 4.1). What is not named here never leaves the service: passwords, physical names, the
//! server's address, environment variables, disabled modules.

use chrono::{DateTime, Utc};
use db::platform::instances::Instance;
use domain::times;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

/// One hosted Odoo.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Instance, example = json!({
    "id": "3f0c1f5e-6a0e-4c8b-9a55-0d6d3c1f7b21", "customer_id": "0d2f8a4e-2c6b-4f53-9d3e-6a1b7c8d9e0f", "subscription_id": "7b1f6c52-90ad-4a5e-8a57-3f4f2b9d1c60", "name": "Shop of the north",
    "description": null, "odoo_version": "17", "instance_type": "production", "status": "running", "billing_status": "paid",
    "provisioning_status": "completed", "cpu_limit": 1.0, "memory_limit": "2G", "storage_limit": "10G",
    "external_url": "http://north-shop.saasodoo.local", "internal_url": "http://odoo-0123456789abcdef:8069",
    "admin_email": "owner@shop.example", "subdomain": "north-shop", "hostname": "north-shop", "database_name": "north_shop",
    "error_message": null, "last_health_check": "2026-11-23T03:04:46.964449+00:00", "started_at": "2026-11-23T03:04:46.964449+00:00",
    "created_at": "2026-11-23T03:04:00.120000+00:00", "updated_at": "2026-11-23T03:04:46.964449+00:00", "demo_data": false,
    "custom_addons": [], "metadata": {}, "db_type": "shared", "operation_id": null,
}))]
pub(crate) struct InstanceShape {
    /// Its id.
    id: Uuid,
    /// Whose it is.
    customer_id: Uuid,
    /// What pays for it.
    #[schema(required)]
    subscription_id: Option<Uuid>,
    /// What the customer calls it.
    #[schema(example = "Shop of the north")]
    name: String,
    /// What the customer says about it.
    #[schema(required)]
    description: Option<String>,
    /// Major version.
    #[schema(example = "19")]
    odoo_version: String,
    /// `development`, `staging` or `production`; no difference in behaviour.
    instance_type: &'static str,
    /// `creating`, `starting`, `running`, `stopping`, `stopped`, `restarting`, `updating`, `maintenance`, `error`,
    /// `terminated`, `container_missing` or `paused`.
    #[schema(example = "running")]
    status: &'static str,
    /// `payment_required`, `trial` or `paid`.
    #[schema(example = "paid")]
    billing_status: &'static str,
    /// `pending`, `provisioning`, `completed` or `failed`.
    #[schema(example = "completed")]
    provisioning_status: &'static str,
    /// CPUs.
    #[schema(example = 1.5)]
    cpu_limit: f64,
    /// `<int>M` or `<int>G`.
    #[schema(example = "2G")]
    memory_limit: String,
    /// `<int>M` or `<int>G`.
    #[schema(example = "10G")]
    storage_limit: String,
    /// Where customers reach it; null before the first provisioning, stable afterwards.
    #[schema(required)]
    external_url: Option<String>,
    /// Where the platform reaches it.
    #[schema(required)]
    internal_url: Option<String>,
    /// Login of the administrator.
    admin_email: String,
    /// Host label as ordered.
    #[schema(required)]
    subdomain: Option<String>,
    /// Host label in use; null once terminated.
    #[schema(required)]
    hostname: Option<String>,
    /// The customer's label; names nothing physical.
    database_name: String,
    /// Why it is as it is.
    #[schema(required)]
    error_message: Option<String>,
    /// Last time it answered a health check.
    #[serde(serialize_with = "times::serialize_option")]
    #[schema(required)]
    last_health_check: Option<DateTime<Utc>>,
    /// Last time it became running.
    #[serde(serialize_with = "times::serialize_option")]
    #[schema(required)]
    started_at: Option<DateTime<Utc>>,
    /// When it was recorded.
    #[serde(serialize_with = "times::serialize")]
    created_at: DateTime<Utc>,
    /// Last change.
    #[serde(serialize_with = "times::serialize")]
    updated_at: DateTime<Utc>,
    /// With Odoo's demonstration data.
    demo_data: bool,
    /// Technical names of modules to install.
    custom_addons: Vec<String>,
    /// What the client keeps with it.
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    /// `shared` or `dedicated`.
    db_type: &'static str,
    /// The operation at work, else the next one in the queue.
    #[schema(required)]
    operation_id: Option<Uuid>,
}

impl From<Instance> for InstanceShape {
    fn from(instance: Instance) -> Self {
        Self {
            id: instance.id.as_uuid(),
            customer_id: instance.customer_id.as_uuid(),
            subscription_id: instance.subscription_id.map(|id| id.as_uuid()),
            name: instance.name,
            description: instance.description,
            odoo_version: instance.odoo_version,
            instance_type: instance.instance_type.as_str(),
            status: instance.axes.status.as_str(),
            billing_status: instance.axes.billing.as_str(),
            provisioning_status: instance.axes.provisioning.as_str(),
            // Five digits at most: every one of them fits a float exactly enough to be printed as it was.
            cpu_limit: instance.cpu_limit.to_f64().unwrap_or_default(),
            memory_limit: instance.memory_limit.to_string(),
            storage_limit: instance.storage_limit.to_string(),
            external_url: instance.external_url,
            internal_url: instance.internal_url,
            admin_email: instance.admin_email,
            subdomain: instance.subdomain,
            hostname: instance.hostname,
            database_name: instance.database_name,
            error_message: instance.error_message,
            last_health_check: instance.last_health_check,
            started_at: instance.started_at,
            created_at: instance.created_at,
            updated_at: instance.updated_at,
            demo_data: instance.demo_data,
            custom_addons: instance.custom_addons,
            metadata: instance.metadata,
            db_type: instance.db_type.as_str(),
            operation_id: instance.operation_id.map(|id| id.as_uuid()),
        }
    }
}

/// The part of an instance that is asked for again and again.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = InstanceStatus)]
pub(crate) struct StatusShape {
    /// The instance.
    instance_id: Uuid,
    /// As in the instance object.
    #[schema(example = "running")]
    status: &'static str,
    /// As in the instance object.
    billing_status: &'static str,
    /// As in the instance object.
    provisioning_status: &'static str,
    /// Last time it answered a health check.
    #[serde(serialize_with = "times::serialize_option")]
    #[schema(required)]
    last_health_check: Option<DateTime<Utc>>,
    /// Why it is as it is.
    #[schema(required)]
    error_message: Option<String>,
    /// Last time it became running.
    #[serde(serialize_with = "times::serialize_option")]
    #[schema(required)]
    started_at: Option<DateTime<Utc>>,
    /// Where customers reach it.
    #[schema(required)]
    external_url: Option<String>,
    /// Where the platform reaches it.
    #[schema(required)]
    internal_url: Option<String>,
    /// The operation at work, else the next one in the queue.
    #[schema(required)]
    operation_id: Option<Uuid>,
}

impl From<Instance> for StatusShape {
    fn from(instance: Instance) -> Self {
        Self {
            instance_id: instance.id.as_uuid(),
            status: instance.axes.status.as_str(),
            billing_status: instance.axes.billing.as_str(),
            provisioning_status: instance.axes.provisioning.as_str(),
            last_health_check: instance.last_health_check,
            error_message: instance.error_message,
            started_at: instance.started_at,
            external_url: instance.external_url,
            internal_url: instance.internal_url,
            operation_id: instance.operation_id.map(|id| id.as_uuid()),
        }
    }
}
