//! A new instance with the data of another one of the same customer (contract 16.4): its row, its provisioning and, unless a backup was
//! chosen, a backup of the original, all at once.

use super::act::{Act, Acted, act};
use super::create::{Create, Created, create};
use crate::error::DbResult;
use crate::platform::PlatformTx;
use crate::platform::audit::AuditContext;
use crate::platform::backups;
use crate::platform::clones::{self, CloneOf};
use crate::platform::instances::lock;
use domain::backup::LONGEST_NAME;
use domain::ids::{BackupId, InstanceId};
use domain::instance::{Action, NotAllowed};
use domain::names::ReservedHosts;
use domain::order::Order;
use domain::sources::Entropy;

/// One call.
#[derive(Clone, Debug)]
pub struct CloneInstance {
    /// The original.
    pub source: InstanceId,
    /// What is ordered, of the original's size and version.
    pub order: Order,
    /// What the copy shall be called.
    pub name: String,
    /// The backup that it is made of; none: one is taken for it.
    pub backup: Option<BackupId>,
}

/// What became of a call.
#[derive(Clone, Debug)]
#[must_use]
#[expect(clippy::large_enum_variant, reason = "one value per request")]
pub enum Cloned {
    /// No such original. 404.
    NotFound,
    /// It belongs to another customer. 400.
    OtherCustomer,
    /// The original has no such backup, or it is not whole. 404.
    NoSuchBackup,
    /// The original cannot be backed up in its status. 400.
    NotAllowed(NotAllowed),
    /// It is not taken over yet. 409.
    NotAdopted,
    /// Too much is waiting for the original. 409.
    QueueFull,
    /// As for an order.
    Ordered(Created),
}

/// Carries out one call.
///
/// # Errors
/// Database errors only. After anything but an order that was recorded the caller rolls back.
pub async fn clone_instance(
    tx: &mut PlatformTx,
    request: CloneInstance,
    reserved: &ReservedHosts,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Cloned> {
    let CloneInstance { source: id, order, name, backup } = request;
    let customer = order.customer_id;
    // The locks are taken in the order of every use case: subscription, then rows.
    let created = create(tx, Create { order, provision: true }, reserved, entropy, by).await?;
    let new = match &created {
        Created::New(new) => new,
        // Another instance, if not the original itself, has the subscription: that is no answer to this order.
        Created::Replayed(other) if clones::source_of(tx, other.id).await? != Some(id) => {
            return Ok(Cloned::Ordered(Created::SubscriptionTaken));
        }
        _ => return Ok(Cloned::Ordered(created)),
    };
    let Some(source) = lock(tx, id).await? else { return Ok(Cloned::NotFound) };
    if source.customer_id != customer {
        return Ok(Cloned::OtherCustomer);
    }
    let operation = match backup {
        Some(backup) if backups::restorable(tx, backup, id).await?.is_none() => return Ok(Cloned::NoSuchBackup),
        Some(_) => None,
        None => match back_up_original(tx, id, &name, entropy, by).await? {
            Acted::Queued(_, operation) | Acted::UnderWay(_, Some(operation)) => Some(operation),
            Acted::NotAllowed(refused) => return Ok(Cloned::NotAllowed(refused)),
            Acted::NotAdopted => return Ok(Cloned::NotAdopted),
            Acted::QueueFull => return Ok(Cloned::QueueFull),
            _ => return Ok(Cloned::NotFound),
        },
    };
    clones::note(tx, new.id, &CloneOf { source: id, backup, operation }).await?;
    Ok(Cloned::Ordered(created))
}

/// Orders the backup that a copy called `name` is made of.
///
/// # Errors
/// Database errors only.
pub async fn back_up_original(
    tx: &mut PlatformTx,
    source: InstanceId,
    name: &str,
    entropy: &dyn Entropy,
    by: &AuditContext,
) -> DbResult<Acted> {
    let label = format!("copy for {name}").chars().take(LONGEST_NAME).collect();
    act(tx, Act { label: Some(label), ..Act::new(source, Action::Backup, None) }, entropy, by).await
}
