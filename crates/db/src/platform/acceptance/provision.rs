//! `provision`: what the billing-service calls at every occasion (contract 8.1).

use super::{new_id, operation};
use crate::error::DbResult;
use crate::platform::audit::AuditContext;
use crate::platform::instances::{Change, Instance, advance, happen, live_with_subscription, lock};
use crate::platform::operations::{Enqueued, enqueue};
use crate::platform::{LockClass, PlatformTx};
use domain::ids::{InstanceId, OperationId, SubscriptionId};
use domain::instance::{Axes, BillingStatus, Event, ProvisioningStatus, Suspension, gate};
use domain::operation::Kind;
use domain::sources::Entropy;

/// What a trigger word asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Provision, if that is still to be done.
    Start,
    /// Note the billing status, nothing else.
    BillingUpdate {
        /// After a write-off: the answer says so.
        write_off: bool,
    },
}

impl Trigger {
    /// Reads the word; every unknown one, and none, means [`Trigger::Start`].
    pub fn parse(word: Option<&str>) -> Self {
        match word {
            Some("trial_expired_billing_update" | "invoice_payment_success_billing_update") => {
                Self::BillingUpdate { write_off: false }
            }
            Some("invoice_write_off_billing_resolved") => Self::BillingUpdate { write_off: true },
            _ => Self::Start,
        }
    }
}

/// One call.
#[derive(Clone, Debug)]
pub struct Provision {
    /// Which instance.
    pub instance_id: InstanceId,
    /// The subscription that pays from now on, if it is named.
    pub subscription_id: Option<SubscriptionId>,
    /// What billing says.
    pub billing_status: BillingStatus,
    /// What is asked for.
    pub trigger: Trigger,
    /// Why, in the caller's words.
    pub reason: Option<String>,
}

/// Why nothing was started; nothing was written either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Provisioning is not pending but this.
    NotPending(ProvisioningStatus),
    /// Out of service.
    Terminated,
    /// Suspended, and this call does not lift it.
    Suspended(Suspension),
}

/// What became of a call.
#[derive(Clone, Debug)]
#[must_use]
pub enum Provisioned {
    /// No such instance. 404.
    NotFound,
    /// The billing status is noted.
    BillingUpdated(Instance),
    /// An operation is queued. An instance that has data is started instead; one that runs already needs none.
    Started {
        /// As it is now.
        instance: Instance,
        /// The operation.
        operation: Option<OperationId>,
    },
    /// Nothing to do.
    Skipped(Skip),
    /// Another live instance has the subscription. 409.
    SubscriptionTaken,
    /// A row of the earlier service that has not been taken over yet. 409.
    NotAdopted,
    /// Too much is waiting already. 409.
    QueueFull,
}

/// Carries out one call. Of any number of equal ones at once exactly one starts something: they wait for each other on the row.
///
/// # Errors
/// Database errors only. After [`Provisioned::QueueFull`] the caller rolls back.
pub async fn provision(
    tx: &mut PlatformTx,
    request: Provision,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Provisioned> {
    if let (Trigger::Start, Some(subscription)) = (request.trigger, request.subscription_id) {
        // Before the row, in the order of every use case: a create with this subscription must not slip in between.
        tx.lock(LockClass::Subscription, &subscription.to_string()).await?;
    }
    let Some(instance) = lock(tx, request.instance_id).await? else { return Ok(Provisioned::NotFound) };
    if let Trigger::BillingUpdate { .. } = request.trigger {
        let instance = note_billing(tx, instance, &request, by).await?;
        return Ok(Provisioned::BillingUpdated(instance));
    }
    if let Some(skip) = reason_to_skip(&instance, request.billing_status) {
        return Ok(Provisioned::Skipped(skip));
    }
    if !instance.adopted {
        return Ok(Provisioned::NotAdopted);
    }
    if taken_by_another(tx, &request).await? {
        return Ok(Provisioned::SubscriptionTaken);
    }
    let instance = note_billing(tx, instance, &request, by).await?;
    start(tx, instance, request, entropy, by).await
}

fn reason_to_skip(instance: &Instance, billing: BillingStatus) -> Option<Skip> {
    let axes = &instance.axes;
    if !axes.is_live() {
        return Some(Skip::Terminated);
    }
    if axes.provisioning != ProvisioningStatus::Pending {
        return Some(Skip::NotPending(axes.provisioning));
    }
    // Only a debt that is settled with this call is lifted by it, never what an operator decided.
    let settled = Axes { billing, ..*axes };
    (axes.suspension == Suspension::Operator || gate(&settled).is_err()).then_some(Skip::Suspended(axes.suspension))
}

async fn taken_by_another(tx: &mut PlatformTx, request: &Provision) -> DbResult<bool> {
    let Some(subscription) = request.subscription_id else { return Ok(false) };
    let holder = live_with_subscription(tx, subscription).await?;
    Ok(holder.is_some_and(|holder| holder.id != request.instance_id))
}

async fn note_billing(tx: &mut PlatformTx, instance: Instance, request: &Provision, by: &AuditContext) -> DbResult<Instance> {
    let subscription_id = match request.trigger {
        Trigger::Start => request.subscription_id,
        Trigger::BillingUpdate { .. } => None,
    };
    let change = Change { subscription_id, reason: request.reason.clone(), ..Change::default() };
    let noted = happen(tx, &instance, Event::BillingUpdated(request.billing_status), change, by).await?;
    Ok(noted.unwrap_or(instance))
}

async fn start(
    tx: &mut PlatformTx,
    instance: Instance,
    request: Provision,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Provisioned> {
    // Provisioning over live data would destroy it: what has data is started.
    let (event, kind) =
        if instance.axes.has_data() { (Event::StartAccepted, Kind::Start) } else { (Event::ProvisionAccepted, Kind::Provision) };
    let id = new_id(entropy);
    let change = Change { operation_id: Some(id), reason: request.reason.clone(), ..Change::default() };
    let Ok(instance) = happen(tx, &instance, event, change, by).await? else {
        return note_completed(tx, instance, by).await;
    };
    match enqueue(tx, operation(id, instance.id, kind, request.reason), by).await? {
        Enqueued::Accepted(id) | Enqueued::Joined(id) => {
            Ok(Provisioned::Started { instance: instance.with_operation(Some(id)), operation: Some(id) })
        }
        Enqueued::QueueFull => Ok(Provisioned::QueueFull),
    }
}

/// An instance with data that is up, or on its way, needs no work. Its column is corrected, or every renewal would come here.
async fn note_completed(tx: &mut PlatformTx, instance: Instance, by: &AuditContext) -> DbResult<Provisioned> {
    if !instance.axes.has_data() {
        return Ok(Provisioned::Skipped(Skip::NotPending(instance.axes.provisioning)));
    }
    let to = Axes { provisioning: ProvisioningStatus::Completed, ..instance.axes };
    let instance = advance(tx, &instance, "provisioned_before", to, Change::default(), by).await?;
    Ok(Provisioned::Started { operation: instance.operation_id, instance })
}
