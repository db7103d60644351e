//! Bringing a terminated instance back under a new subscription (contract 8.2). It keeps its data, or is provisioned if it never had
//! any.

use super::{Before, new_id, operation};
use crate::error::{DbError, DbResult};
use crate::platform::audit::AuditContext;
use crate::platform::instances::{Change, Instance, Refused, happen, host_taken_on, live_with_subscription, lock};
use crate::platform::operations::{Enqueued, enqueue};
use crate::platform::{LockClass, PlatformTx};
use domain::ids::{InstanceId, OperationId, SubscriptionId};
use domain::instance::{BillingStatus, Event, Phase, Status};
use domain::names::{DatabaseLabel, HostLabel, ReservedHosts};
use domain::operation::Kind;
use domain::sources::Entropy;

/// One call.
#[derive(Clone, Debug)]
pub struct Reactivate {
    /// Which instance.
    pub instance_id: InstanceId,
    /// What pays from now on.
    pub subscription_id: SubscriptionId,
    /// What billing says.
    pub billing_status: BillingStatus,
    /// It is ordered only: it stays terminated until a payment arrives.
    pub skip_status_change: bool,
    /// Why.
    pub reason: Option<String>,
}

/// What became of a call.
#[derive(Clone, Debug)]
#[must_use]
pub enum Reactivated {
    /// No such instance. 404.
    NotFound,
    /// It is in service. 400.
    NotTerminated(Status),
    /// Nothing is left of it. 409.
    Purged,
    /// A row of the earlier service that has not been taken over yet. 409.
    NotAdopted,
    /// Another instance has the subscription. 409.
    SubscriptionTaken,
    /// Another live instance is reached under its host name. 409.
    HostTaken(String),
    /// Another live instance of the customer has its database name. 409.
    LabelTaken(String),
    /// Linked; it waits for its payment.
    Waiting(Instance),
    /// On its way up.
    Started(Instance, OperationId),
}

/// Carries out one call.
///
/// # Errors
/// Database errors only. After a refusal the caller rolls back.
pub async fn reactivate(
    tx: &mut PlatformTx,
    request: Reactivate,
    reserved: &ReservedHosts,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Reactivated> {
    // Before the row, in the order of every use case: a create with this subscription must not slip in between.
    tx.lock(LockClass::Subscription, &request.subscription_id.to_string()).await?;
    let Some(instance) = lock(tx, request.instance_id).await? else { return Ok(Reactivated::NotFound) };
    if instance.axes.is_live() {
        return Ok(Reactivated::NotTerminated(instance.axes.status));
    }
    if matches!(instance.axes.phase, Phase::Purging | Phase::Purged) {
        return Ok(Reactivated::Purged);
    }
    if !instance.adopted {
        return Ok(Reactivated::NotAdopted);
    }
    let holder = live_with_subscription(tx, request.subscription_id).await?;
    if holder.is_some_and(|holder| holder.id != instance.id) {
        return Ok(Reactivated::SubscriptionTaken);
    }
    if request.skip_status_change || request.billing_status == BillingStatus::PaymentRequired {
        return order(tx, &instance, &request, by).await;
    }
    bring_back(tx, instance, request, reserved, entropy, by).await
}

/// Links subscription and billing. From now on the subscription is this instance's, though it is still terminated.
async fn order(tx: &mut PlatformTx, instance: &Instance, request: &Reactivate, by: &AuditContext) -> DbResult<Reactivated> {
    let change = Change { subscription_id: Some(request.subscription_id), reason: request.reason.clone(), ..Change::default() };
    let event = Event::ReactivationOrdered(request.billing_status);
    if happen(tx, instance, event, change, by).await?.is_err() {
        return Err(DbError::Stale);
    }
    sqlx::query!(
        "UPDATE public.instances SET awaiting_reactivation = true, revision = revision + 1
          WHERE id = $1 AND NOT awaiting_reactivation",
        instance.id.as_uuid()
    )
    .execute(tx.conn())
    .await?;
    let instance = lock(tx, instance.id).await?.ok_or(DbError::Stale)?;
    Ok(Reactivated::Waiting(instance))
}

async fn bring_back(
    tx: &mut PlatformTx,
    instance: Instance,
    request: Reactivate,
    reserved: &ReservedHosts,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Reactivated> {
    let host = former_host(&instance, reserved, entropy)?;
    if host_taken_on(tx.conn(), &host).await? {
        return Ok(Reactivated::HostTaken(host.to_string()));
    }
    if label_taken(tx, &instance).await? {
        return Ok(Reactivated::LabelTaken(instance.database_name));
    }
    let id = new_id(entropy);
    let kind = if instance.axes.has_data() { Kind::Reactivate } else { Kind::Provision };
    let before = Before::of(&instance.axes);
    let change = Change {
        subscription_id: Some(request.subscription_id),
        hostname: Some(host),
        operation_id: Some(id),
        reason: request.reason.clone(),
        ..Change::default()
    };
    let instance = match happen(tx, &instance, Event::Reactivate(request.billing_status), change, by).await? {
        Ok(instance) => instance,
        Err(Refused::NotAllowed(_) | Refused::Busy(_)) => return Err(DbError::Stale),
    };
    let mut new = operation(id, instance.id, kind, request.reason);
    before.keep_in(&mut new.params);
    match enqueue(tx, new, by).await? {
        Enqueued::Accepted(id) | Enqueued::Joined(id) => Ok(Reactivated::Started(instance.with_operation(Some(id)), id)),
        // A terminated instance has nothing in its queue but what terminates it.
        Enqueued::QueueFull => Err(DbError::Stale),
    }
}

/// The label under which it was reached; one that was terminated before that was noted gets what an order would get.
fn former_host(instance: &Instance, reserved: &ReservedHosts, entropy: &dyn Entropy) -> DbResult<HostLabel> {
    let noted = instance.released_hostname.as_deref().or(instance.subdomain.as_deref());
    if let Some(label) = noted.and_then(|label| HostLabel::parse(label, &ReservedHosts::default()).ok()) {
        return Ok(label);
    }
    let label = DatabaseLabel::parse(&instance.database_name).map_err(|_| DbError::Inconsistent {
        table: "instances",
        column: "database_name",
        row: instance.id.to_string(),
        why: "no host name can be made of it".to_owned(),
    })?;
    Ok(HostLabel::from_database_label(&label, reserved, entropy))
}

async fn label_taken(tx: &mut PlatformTx, instance: &Instance) -> DbResult<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
                SELECT FROM public.instances
                 WHERE customer_id = $1 AND status IS DISTINCT FROM 'terminated' AND lower(database_name) = lower($2) AND id <> $3
           ) AS "taken!""#,
        instance.customer_id.as_uuid(),
        instance.database_name,
        instance.id.as_uuid(),
    )
    .fetch_one(tx.conn())
    .await?)
}
