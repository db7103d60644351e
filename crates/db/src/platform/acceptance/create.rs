//! Recording a new instance (contract 4.2). Nothing is provisioned unless the request says so.

use super::provision::{self, Provision, Provisioned, Trigger};
use crate::error::{DbError, DbResult};
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::instances::{Instance, host_taken_on, live_with_subscription, lock};
use crate::platform::{LockClass, PlatformTx};
use domain::ids::{CustomerId, InstanceId};
use domain::instance::{self, EventName};
use domain::names::{HostLabel, ReservedHosts};
use domain::order::{NewInstance, Order};
use domain::problem::Refusal;
use domain::sources::{Entropy, random_uuid};
use serde_json::json;

/// Tries for a host label that nobody has. Each one adds other random digits, so that a few are plenty.
const HOST_TRIES: usize = 8;
/// How often the row is tried again when another order took a name between the look and the insert.
const INSERT_TRIES: usize = 4;

/// An order, and what is to become of it.
#[derive(Clone, Debug)]
pub struct Create {
    /// The order, of the right form; the house rules are asked after the look for a replay.
    pub order: Order,
    /// Queue its provisioning in the same transaction.
    pub provision: bool,
}

/// What became of an order.
#[derive(Clone, Debug)]
#[must_use]
pub enum Created {
    /// Recorded; with its operation, if one was asked for. 201.
    New(Instance),
    /// The subscription has this live instance already. 200, whatever the other fields say.
    Replayed(Instance),
    /// The subscription belongs to another customer's live instance, or to one that waits for reactivation. 409.
    SubscriptionTaken,
    /// A house rule is broken. 400.
    Refused(Refusal),
    /// The customer has a live instance with this database name. 400.
    LabelTaken(String),
    /// The ordered host label is in use. 409.
    HostTaken(String),
}

/// Records an order. However many equal ones arrive at once, there is one row, and every answer names it: they wait for
/// each other on a lock of the subscription.
///
/// # Errors
/// Database errors; [`DbError::Stale`] when names were taken away under it again and again.
pub async fn create(
    tx: &mut PlatformTx,
    request: Create,
    reserved: &ReservedHosts,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Created> {
    let Create { order, provision } = request;
    tx.lock(LockClass::Subscription, &order.subscription_id.to_string()).await?;
    if let Some(holder) = live_with_subscription(tx, order.subscription_id).await? {
        let same = holder.customer_id == order.customer_id && holder.axes.is_live();
        return Ok(if same { Created::Replayed(holder) } else { Created::SubscriptionTaken });
    }
    let new = match order.admit() {
        Ok(new) => new,
        Err(refusal) => return Ok(Created::Refused(refusal)),
    };
    for _ in 0..INSERT_TRIES {
        if label_taken(tx, new.customer_id, new.database_name.as_str()).await? {
            return Ok(Created::LabelTaken(new.database_name.to_string()));
        }
        let Some(host) = free_host(tx, &new, reserved, entropy).await? else {
            return Ok(Created::HostTaken(new.subdomain.map(|label| label.to_string()).unwrap_or_default()));
        };
        let id = InstanceId::from_uuid(random_uuid(entropy));
        if insert(tx, id, &new, &host).await? {
            return recorded(tx, id, &new, provision, entropy, by).await;
        }
    }
    Err(DbError::Stale)
}

/// Whether a live instance of this customer has the label; rows not adopted count, whatever their case.
async fn label_taken(tx: &mut PlatformTx, customer: CustomerId, label: &str) -> DbResult<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
                SELECT FROM public.instances
                 WHERE customer_id = $1 AND status IS DISTINCT FROM 'terminated' AND lower(database_name) = $2
           ) AS "taken!""#,
        customer.as_uuid(),
        label,
    )
    .fetch_one(tx.conn())
    .await?)
}

/// The ordered label if it is free; else, if none was ordered, one made of the database name and adjusted until it is.
async fn free_host(
    tx: &mut PlatformTx,
    new: &NewInstance,
    reserved: &ReservedHosts,
    entropy: &dyn Entropy,
) -> DbResult<Option<HostLabel>> {
    if let Some(ordered) = &new.subdomain {
        let taken = host_taken_on(tx.conn(), ordered).await?;
        return Ok((!taken).then(|| ordered.clone()));
    }
    let made = HostLabel::from_database_label(&new.database_name, reserved, entropy);
    let mut candidate = made.clone();
    for _ in 0..HOST_TRIES {
        if !host_taken_on(tx.conn(), &candidate).await? {
            return Ok(Some(candidate));
        }
        candidate = made.varied(entropy);
    }
    Err(DbError::Stale)
}

/// `false`: another transaction took one of the unique names meanwhile. Nothing was written, and this one goes on.
async fn insert(tx: &mut PlatformTx, id: InstanceId, new: &NewInstance, host: &HostLabel) -> DbResult<bool> {
    let axes = instance::create(new.billing_status);
    let done = sqlx::query!(
        "INSERT INTO public.instances
                (id, customer_id, subscription_id, name, description, odoo_version, instance_type, cpu_limit, memory_limit,
                 storage_limit, admin_email, database_name, subdomain, hostname, demo_data, custom_addons, disabled_modules,
                 environment_vars, metadata, db_type, status, billing_status, provisioning_status, phase, desired_state,
                 suspension, observed_state, db_port, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24,
                 $25, $26, $27, NULL, clock_timestamp(), clock_timestamp())
         ON CONFLICT DO NOTHING",
        id.as_uuid(),
        new.customer_id.as_uuid(),
        new.subscription_id.as_uuid(),
        new.name.as_str(),
        new.description,
        new.odoo_version.to_string(),
        new.instance_type.as_str(),
        new.cpu_limit.as_decimal(),
        new.memory_limit.to_string(),
        new.storage_limit.to_string(),
        new.admin_email.as_str(),
        new.database_name.as_str(),
        new.subdomain.as_ref().map(HostLabel::as_str),
        host.as_str(),
        new.demo_data,
        json!(new.custom_addons),
        json!(new.disabled_modules),
        json!(new.environment_vars),
        json!(new.metadata),
        new.db_type.as_str(),
        axes.status.as_str(),
        axes.billing.as_str(),
        axes.provisioning.as_str(),
        axes.phase.as_str(),
        axes.desired.as_str(),
        axes.suspension.as_str(),
        axes.observed.as_str(),
    )
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}

async fn recorded(
    tx: &mut PlatformTx,
    id: InstanceId,
    new: &NewInstance,
    with_provisioning: bool,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Created> {
    let instance = lock(tx, id).await?.ok_or(DbError::Stale)?;
    let entry = Entry {
        action: EventName::Create.as_str(),
        instance_id: Some(id),
        operation_id: None,
        from: None,
        to: Some(instance.axes.status),
        details: json!({ "subscription_id": new.subscription_id }),
    };
    audit::record(tx, by, &entry).await?;
    if !with_provisioning {
        return Ok(Created::New(instance));
    }
    let order = Provision {
        instance_id: id,
        subscription_id: None,
        billing_status: new.billing_status,
        trigger: Trigger::Start,
        reason: Some("ordered with the instance".to_owned()),
    };
    match provision::provision(tx, order, entropy, by).await? {
        Provisioned::Started { instance, .. } => Ok(Created::New(instance)),
        // A new record is pending and its queue is empty.
        _ => Err(DbError::Stale),
    }
}
