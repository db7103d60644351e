//! What the billing engine answers, as far as it is read (KillBill API docs: the resources of the same names). Words that are not known
//! make an answer unreadable rather than mean something by chance.

use serde::{Deserialize, Deserializer};
use uuid::Uuid;

/// Where a subscription stands now; what is only planned does not show here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    /// Not begun.
    Pending,
    /// Begun.
    Active,
    /// Paused, or blocked with its account.
    Blocked,
    /// Over, by a cancellation that has taken effect.
    Cancelled,
    /// Over, because its plan was.
    Expired,
}

impl State {
    /// Whether it is over for good.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Expired)
    }
}

/// Which part of its plan it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Phase {
    /// Free for a time.
    Trial,
    /// Cheaper for a time.
    Discount,
    /// Paid, for a time.
    FixedTerm,
    /// Paid, until cancelled.
    Evergreen,
}

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscription {
    /// Its id.
    pub subscription_id: Uuid,
    /// Whose it is.
    pub account_id: Uuid,
    /// Where it stands.
    pub state: State,
    /// Which phase; one that has not begun or is over may have none.
    #[serde(default)]
    pub phase_type: Option<Phase>,
}

/// A bundle: subscriptions that belong together.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Bundle {
    /// Its subscriptions.
    #[serde(default, deserialize_with = "null_is_none_of_them")]
    pub subscriptions: Vec<Subscription>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Account {
    /// What the platform calls it: the customer's id.
    #[serde(default)]
    pub external_key: Option<String>,
}

/// How overdue an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Overdue {
    /// Whether its subscriptions are blocked. Releases differ in the word.
    #[serde(rename = "isDisableEntitlementAndChangesBlocked", alias = "disableEntitlementAndChangesBlocked")]
    pub blocks: bool,
}

/// An invoice.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invoice {
    /// Its id.
    pub invoice_id: Uuid,
    /// What is still to be paid.
    pub balance: f64,
    /// `COMMITTED` is what counts; a draft may change and a void one is taken back.
    #[serde(default)]
    pub status: Option<String>,
    /// Its lines.
    #[serde(default, deserialize_with = "null_is_none_of_them")]
    pub items: Vec<Item>,
}

impl Invoice {
    /// Whether it is meant to be paid. Releases without drafts say nothing.
    pub fn is_committed(&self) -> bool {
        self.status.as_deref().is_none_or(|status| status == "COMMITTED")
    }

    /// Whether something of it is still to be paid.
    pub fn is_unpaid(&self) -> bool {
        self.is_committed() && self.balance > 0.0
    }

    /// Whether it is, in part, for this subscription.
    pub fn is_for(&self, subscription: Uuid) -> bool {
        self.items.iter().any(|item| item.subscription_id == Some(subscription))
    }

    /// Whether it is, in part, for a phase of this subscription that costs something.
    pub fn bills(&self, subscription: Uuid) -> bool {
        self.items.iter().any(|item| item.subscription_id == Some(subscription) && !item.is_trial())
    }
}

/// A line of an invoice.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// What it is for.
    #[serde(default)]
    pub subscription_id: Option<Uuid>,
    /// The phase: the plan's name with the kind of phase behind it.
    #[serde(default)]
    pub phase_name: Option<String>,
}

impl Item {
    fn is_trial(&self) -> bool {
        self.phase_name.as_deref().is_none_or(|name| name.ends_with("-trial"))
    }
}

/// A custom field.
#[derive(Deserialize)]
pub(super) struct CustomField {
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: Option<String>,
}

/// A payment of an invoice.
#[derive(Deserialize)]
pub(super) struct Payment {
    #[serde(default, deserialize_with = "null_is_none_of_them")]
    transactions: Vec<Transaction>,
}

#[derive(Deserialize)]
struct Transaction {
    #[serde(default)]
    status: Option<String>,
}

impl Payment {
    pub(super) fn has_failed(&self) -> bool {
        let failed =
            |transaction: &Transaction| matches!(transaction.status.as_deref(), Some("PAYMENT_FAILURE" | "PLUGIN_FAILURE"));
        self.transactions.iter().any(failed)
    }
}

fn null_is_none_of_them<'de, D: Deserializer<'de>, T: Deserialize<'de>>(input: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or_default())
}
