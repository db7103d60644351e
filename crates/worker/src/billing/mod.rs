//! The direct webhook's second half (contract 19.3): what the billing engine pushed is looked at, and the instance is brought to where
//! the engine says that its subscription is.
//!
//! Owns: what to ask the engine ([`facts`]), what its answers mean for an instance ([`mod@converge`], a table), how an order is read from
//! custom fields ([`order`]), the loop over kept events ([`inbox`]). Leaves to others: what is legal and what is written
//! (`db::platform::acceptance`: the same functions that serve the billing service), the events' rows (`db::platform::webhook_events`),
//! the sweep for what was never delivered (`reconcile::billing`).
//!
//! An event only says where to look. So it does no harm if it is repeated, late, out of order or forged; and one look at a time over all
//! workers is enough to keep two of them from crossing.

mod carry;
pub mod converge;
pub mod facts;
pub mod inbox;
pub mod order;

pub use inbox::Inbox;

use carry::Look;
use clients::{KillBill, KillBillError};
use db::DbError;
use db::platform::turn::Turn;
use db::platform::{PlatformDb, instances};
use domain::ids::SubscriptionId;
use domain::order::OrderRules;
use domain::problem::Refusal;
use domain::sources::Entropy;
use std::sync::Arc;
use uuid::Uuid;

/// What brings an instance to where its subscription is.
pub struct Billing {
    /// postgres1.
    pub db: PlatformDb,
    /// The billing engine.
    pub killbill: KillBill,
    /// What an order may contain.
    pub rules: OrderRules,
    /// Ids of instances and operations.
    pub entropy: Arc<dyn Entropy>,
    /// Whether an account that is blocked as overdue counts as one that did not pay.
    pub overdue: bool,
}

/// Why a subscription is looked at. None of this is believed: it only decides between things that are harmless.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Occasion {
    /// Money came: what failed is tried again.
    pub paid: bool,
    /// Its plan changed: its limits count, whatever they were before.
    pub plan_changed: bool,
    /// This invoice could not be collected. It counts only while the engine says that it is unpaid.
    pub failed_invoice: Option<Uuid>,
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// Everything was as it should be.
    InPlace,
    /// Something was asked of the instance.
    Moved,
    /// Another worker is at it.
    Busy,
}

/// Why a look came to nothing. The texts are stored and logged: nothing personal, nothing secret.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The engine's answer is missing.
    #[error(transparent)]
    KillBill(#[from] KillBillError),
    /// postgres1.
    #[error("postgres1: {0}")]
    Database(#[from] DbError),
    /// Its custom fields name no instance, or not yet: they are written after the subscription.
    #[error("the subscription's custom fields order no instance")]
    NoOrder,
    /// The order, or what the table asked for, is refused.
    #[error("refused: {0}")]
    Refused(String),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal.to_string())
    }
}

impl Billing {
    /// Looks at one subscription and asks of its instance what follows. One look at a time over all workers: of two at once, the one
    /// with the older answers would have the last word.
    ///
    /// # Errors
    /// See [`Failure`]; nothing was asked then.
    pub async fn converge(&self, subscription: SubscriptionId, occasion: Occasion) -> Result<Looked, Failure> {
        let name = format!("billing {subscription}");
        let Some(mut turn) = Turn::try_take(&self.db, &name).await? else { return Ok(Looked::Busy) };
        let looked = turn.hold(self.look(subscription, occasion)).await;
        turn.end().await;
        looked?
    }

    async fn look(&self, subscription: SubscriptionId, occasion: Occasion) -> Result<Looked, Failure> {
        let facts = facts::read(&self.killbill, subscription.as_uuid(), self.overdue, occasion.failed_invoice).await?;
        let known = instances::by_subscription(&self.db, subscription).await?;
        let mut look = Look { billing: self, subscription, occasion, facts: &facts, known, customer: None, target: None };
        if look.known.is_none() {
            // Who the customer is decides whose instance this becomes; all is read before the transaction begins.
            look.customer = self.killbill.account(facts.account).await?.external_key;
            if let Some(target) = order::comes_back(&facts.fields) {
                look.target = instances::get(&self.db, target).await?;
            }
        }
        look.carry_out().await
    }
}
