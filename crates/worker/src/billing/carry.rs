//! Carries out what the table asks for, in one transaction, through the functions that serve the billing service's own calls.

use super::converge::{Call, Place, Standing, converge};
use super::facts::Facts;
use super::{Billing, Failure, Looked, Occasion, order};
use db::platform::acceptance::{
    Act, Acted, Amend, Amended, Applied, ApplyResources, Create, Created, Provision, Provisioned, Reactivate, Reactivated,
    Suspend, Suspended, Terminate, Terminated, Trigger, Unsuspend, Unsuspended, act, amend, apply_resources, create, provision,
    reactivate, suspend, terminate, unsuspend,
};
use db::platform::audit::{AuditContext, Door};
use db::platform::instances::{self, Instance};
use db::platform::{PlatformTx, webhook_events};
use domain::ids::{CustomerId, InstanceId, SubscriptionId};
use domain::instance::{Action, BillingStatus};

/// One subscription that is being looked at.
pub(super) struct Look<'a> {
    pub(super) billing: &'a Billing,
    pub(super) subscription: SubscriptionId,
    pub(super) occasion: Occasion,
    pub(super) facts: &'a Facts,
    /// The instance that has the subscription, or had it last, as it was before.
    pub(super) known: Option<Instance>,
    /// The external key of its account; asked for where there is no such instance.
    pub(super) customer: Option<String>,
    /// The instance that is to come back under it, as it was before; likewise.
    pub(super) target: Option<Instance>,
}

/// Where the instance is, and which one it is.
struct Found {
    place: Place,
    instance: Option<Instance>,
}

impl Look<'_> {
    pub(super) async fn carry_out(&self) -> Result<Looked, Failure> {
        let mut tx = self.billing.db.begin().await?;
        let found = self.find(&mut tx).await?;
        let standing = self.facts.standing();
        let mut moved = false;
        for call in converge(standing, found.place) {
            moved |= self.call(&mut tx, *call, standing, &found).await?;
        }
        if found.place.is_live() && !self.facts.state.is_over() {
            moved |= self.follow_limits(&mut tx, found.instance.as_ref()).await?;
        }
        tx.commit().await?;
        if moved {
            tracing::info!(subscription_id = %self.subscription, %standing, place = %found.place, "an instance follows its subscription");
        }
        Ok(if moved { Looked::Moved } else { Looked::InPlace })
    }

    async fn find(&self, tx: &mut PlatformTx) -> Result<Found, Failure> {
        let holder = instances::live_with_subscription(tx, self.subscription).await?;
        let Some(holder) = holder else {
            let place = match (&self.known, order::comes_back(&self.facts.fields)) {
                (Some(_), _) => Place::Gone,
                (None, Some(_)) => Place::Returning,
                (None, None) => Place::Nothing,
            };
            return Ok(Found { place, instance: self.known.clone() });
        };
        if !holder.axes.is_live() {
            return Ok(Found { place: Place::Waiting, instance: Some(holder) });
        }
        let locked = instances::lock(tx, holder.id).await?.ok_or(db::DbError::Stale)?;
        Ok(Found { place: Place::of(&locked.axes), instance: Some(locked) })
    }

    /// `true`: something changed.
    async fn call(&self, tx: &mut PlatformTx, call: Call, standing: Standing, found: &Found) -> Result<bool, Failure> {
        let billing = standing.billing();
        match (call, &found.instance, billing) {
            (Call::Create, _, Some(billing)) => self.create(tx, billing).await,
            (Call::Order, _, _) => self.bring_back(tx, self.target()?, BillingStatus::PaymentRequired).await,
            (Call::Return, Some(instance), Some(billing)) => self.bring_back(tx, instance.id, billing).await,
            (Call::Return, None, Some(billing)) => self.bring_back(tx, self.target()?, billing).await,
            (Call::Provision, Some(instance), Some(billing)) => self.provision(tx, instance.id, billing, Trigger::Start).await,
            (Call::Note, Some(instance), Some(billing)) if instance.axes.billing != billing => {
                self.provision(tx, instance.id, billing, UPDATE).await
            }
            (Call::Settle, Some(instance), Some(billing)) if instance.axes.billing == BillingStatus::PaymentRequired => {
                self.provision(tx, instance.id, billing, Trigger::BillingUpdate { write_off: true }).await
            }
            (Call::Start, Some(instance), _) => self.start(tx, instance.id).await,
            (Call::Retry, Some(instance), _) if self.occasion.paid => self.start(tx, instance.id).await,
            (Call::Unsuspend, Some(instance), _) => self.unsuspend(tx, instance.id).await,
            (Call::Suspend, Some(instance), _) => self.suspend(tx, instance.id).await,
            (Call::Terminate, Some(instance), _) => self.terminate(tx, instance.id).await,
            _ => Ok(false),
        }
    }

    fn customer(&self) -> Result<CustomerId, Failure> {
        let key = self.customer.as_deref().and_then(|key| key.parse().ok());
        key.ok_or_else(|| Failure::Refused("the account's external key is no customer's id".to_owned()))
    }

    /// The fields name an instance; whose it is, is not for them to say.
    fn target(&self) -> Result<InstanceId, Failure> {
        let target = self.target.as_ref().ok_or_else(|| refused("there is no instance to come back"))?;
        if target.customer_id != self.customer()? {
            return Err(refused("the instance to come back is not this customer's"));
        }
        Ok(target.id)
    }

    async fn create(&self, tx: &mut PlatformTx, billing: BillingStatus) -> Result<bool, Failure> {
        let fields = &self.facts.fields;
        if !order::is_complete(fields) {
            return Err(Failure::NoOrder);
        }
        let rules = &self.billing.rules;
        let order = order::read(fields, self.customer()?, self.subscription, billing, rules)?;
        let request = Create { order, provision: true };
        match create(tx, request, &rules.reserved_hosts, &*self.billing.entropy, &by()).await? {
            Created::New(instance) => {
                if let Some(limits) = order::limits(fields) {
                    webhook_events::keep_billed_limits(tx, instance.id, &limits).await?;
                }
                Ok(true)
            }
            Created::Replayed(_) => Ok(false),
            Created::SubscriptionTaken => Err(refused("another instance has the subscription")),
            Created::Refused(refusal) => Err(refusal.into()),
            Created::LabelTaken(_) => Err(refused("the customer has an instance with this database name")),
            Created::HostTaken(_) => Err(refused("the host name is in use")),
        }
    }

    async fn bring_back(&self, tx: &mut PlatformTx, id: InstanceId, billing: BillingStatus) -> Result<bool, Failure> {
        let request = Reactivate {
            instance_id: id,
            subscription_id: self.subscription,
            billing_status: billing,
            skip_status_change: billing == BillingStatus::PaymentRequired,
            reason: Some(WHY.to_owned()),
        };
        let reserved = &self.billing.rules.reserved_hosts;
        match reactivate(tx, request, reserved, &*self.billing.entropy, &by()).await? {
            Reactivated::Waiting(_) | Reactivated::Started(..) => Ok(true),
            Reactivated::NotFound => Err(refused("there is no instance to come back")),
            Reactivated::NotTerminated(_) => Err(refused("the instance to come back is in service")),
            Reactivated::Purged => Err(refused("nothing is left of the instance to come back")),
            Reactivated::NotAdopted => Err(not_adopted()),
            Reactivated::SubscriptionTaken => Err(refused("another instance has the subscription")),
            Reactivated::HostTaken(_) => Err(refused("the host name is in use")),
            Reactivated::LabelTaken(_) => Err(refused("the customer has an instance with this database name")),
        }
    }

    async fn provision(
        &self,
        tx: &mut PlatformTx,
        id: InstanceId,
        billing_status: BillingStatus,
        trigger: Trigger,
    ) -> Result<bool, Failure> {
        let reason = Some(WHY.to_owned());
        let request = Provision { instance_id: id, subscription_id: None, billing_status, trigger, reason };
        match provision(tx, request, &*self.billing.entropy, &by()).await? {
            Provisioned::BillingUpdated(_) | Provisioned::Started { .. } => Ok(true),
            Provisioned::Skipped(_) => Ok(false),
            Provisioned::NotFound => Err(db::DbError::Stale.into()),
            Provisioned::SubscriptionTaken => Err(refused("another instance has the subscription")),
            Provisioned::NotAdopted => Err(not_adopted()),
            Provisioned::QueueFull => Err(queue_full()),
        }
    }

    async fn start(&self, tx: &mut PlatformTx, id: InstanceId) -> Result<bool, Failure> {
        let request = Act::new(id, Action::Start, Some(WHY.to_owned()));
        match act(tx, request, &*self.billing.entropy, &by()).await? {
            Acted::Queued(..) => Ok(true),
            Acted::UnderWay(..) | Acted::Running(_) => Ok(false),
            Acted::NotFound => Err(db::DbError::Stale.into()),
            Acted::NotAllowed(refusal) => Err(refused(&refusal.to_string())),
            Acted::Unpaid(words) => Err(refused(&words)),
            Acted::NotAdopted => Err(not_adopted()),
            Acted::QueueFull => Err(queue_full()),
            Acted::OtherVersion(_) | Acted::NoSuchBackup => Err(refused("this release does not start it")),
        }
    }

    async fn unsuspend(&self, tx: &mut PlatformTx, id: InstanceId) -> Result<bool, Failure> {
        match unsuspend(tx, Unsuspend { instance_id: id, reason: None }, &*self.billing.entropy, &by()).await? {
            Unsuspended::Done { .. } => Ok(true),
            Unsuspended::NotFound => Err(db::DbError::Stale.into()),
            Unsuspended::NotAllowed(refusal) => Err(refused(&refusal.to_string())),
        }
    }

    async fn suspend(&self, tx: &mut PlatformTx, id: InstanceId) -> Result<bool, Failure> {
        let reason = Some("a payment failed".to_owned());
        let request = Suspend { instance_id: id, by_operator: false, reason };
        match suspend(tx, request, &*self.billing.entropy, &by()).await? {
            Suspended::Done { .. } => Ok(true),
            Suspended::NotFound => Err(db::DbError::Stale.into()),
            Suspended::NotAllowed(refusal) => Err(refused(&refusal.to_string())),
        }
    }

    async fn terminate(&self, tx: &mut PlatformTx, id: InstanceId) -> Result<bool, Failure> {
        let request = Terminate { instance_id: id, reason: None };
        match terminate(tx, request, &*self.billing.entropy, &by()).await? {
            Terminated::Done { .. } => Ok(true),
            Terminated::NotFound => Err(db::DbError::Stale.into()),
        }
    }

    /// What the fields say of the limits is followed when it changes, and not put back when somebody changed the instance here.
    async fn follow_limits(&self, tx: &mut PlatformTx, instance: Option<&Instance>) -> Result<bool, Failure> {
        let (Some(instance), Some(limits)) = (instance, order::limits(&self.facts.fields)) else { return Ok(false) };
        let before = webhook_events::billed_limits(tx, instance.id).await?;
        if before.as_ref() == Some(&limits) && !self.occasion.plan_changed {
            return Ok(false);
        }
        let amendment = order::amendment(&self.facts.fields)?;
        webhook_events::keep_billed_limits(tx, instance.id, &limits).await?;
        if before.is_none() && !self.occasion.plan_changed {
            return Ok(false);
        }
        let Amended::Done(after) = amend(tx, &Amend { instance_id: instance.id, amendment }, &by()).await? else {
            return Ok(false);
        };
        if after.limits() == instance.limits() {
            return Ok(false);
        }
        let request = ApplyResources { instance_id: instance.id };
        match apply_resources(tx, &request, &*self.billing.entropy, &by()).await? {
            Applied::QueueFull => Err(queue_full()),
            Applied::Done(..) | Applied::NotFound | Applied::Purged => Ok(true),
        }
    }
}

const UPDATE: Trigger = Trigger::BillingUpdate { write_off: false };
const WHY: &str = "the billing engine says so";

fn by() -> AuditContext {
    AuditContext { door: Door::Worker, actor: "billing".to_owned(), request_id: None }
}

fn refused(words: &str) -> Failure {
    Failure::Refused(words.to_owned())
}

fn not_adopted() -> Failure {
    refused("the instance has not been taken over from the earlier service yet")
}

fn queue_full() -> Failure {
    refused("too many operations wait for the instance")
}
