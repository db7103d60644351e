//! What the billing engine says of one subscription, in as many questions as that takes.

use super::converge::Standing;
use clients::KillBill;
use clients::killbill::{Invoice, KillBillResult, Phase, State};
use std::collections::BTreeMap;
use uuid::Uuid;

/// What was read of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whose it is.
    pub account: Uuid,
    /// Where it stands.
    pub state: State,
    /// Whether it is in its trial.
    pub trial: bool,
    /// What is owed for it.
    pub debt: Debt,
    /// Whether its account is blocked as overdue; `false` where nobody asked.
    pub blocked: bool,
    /// Its custom fields.
    pub fields: BTreeMap<String, String>,
}

/// What is owed for a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debt {
    /// Nothing, and something was paid, beyond a trial.
    Settled,
    /// Nothing was billed yet that costs something.
    Unbilled,
    /// An invoice is open.
    Open,
    /// An invoice is open, and a payment of it failed.
    Failed,
}

impl Facts {
    /// What they amount to.
    pub const fn standing(&self) -> Standing {
        let unpaid = matches!(self.debt, Debt::Open | Debt::Failed);
        match self.state {
            State::Pending => Standing::NotBegun,
            State::Cancelled | State::Expired if unpaid => Standing::OverOwing,
            State::Cancelled | State::Expired => Standing::Over,
            _ if self.blocked || matches!(self.debt, Debt::Failed) => Standing::Failed,
            State::Blocked => Standing::Paused,
            State::Active if self.trial => Standing::Trial,
            State::Active if matches!(self.debt, Debt::Settled) => Standing::Paid,
            State::Active => Standing::Owing,
        }
    }
}

/// Asks for everything that is needed. `failed` is an invoice of which a payment is said to have failed; that counts if it is unpaid.
///
/// # Errors
/// One question had no usable answer.
pub async fn read(killbill: &KillBill, id: Uuid, overdue: bool, failed: Option<Uuid>) -> KillBillResult<Facts> {
    let subscription = killbill.subscription(id).await?;
    let fields = killbill.custom_fields(id).await?;
    let account = subscription.account_id;
    let debt = match subscription.state {
        State::Pending => Debt::Unbilled,
        _ => debt(killbill, id, &killbill.account_invoices(account).await?, failed).await?,
    };
    let blocked = overdue && !subscription.state.is_over() && killbill.overdue(account).await?.blocks;
    let trial = subscription.phase_type == Some(Phase::Trial);
    Ok(Facts { account, state: subscription.state, trial, debt, blocked, fields })
}

async fn debt(killbill: &KillBill, id: Uuid, invoices: &[Invoice], failed: Option<Uuid>) -> KillBillResult<Debt> {
    let of_this = || invoices.iter().filter(|invoice| invoice.is_committed() && invoice.is_for(id));
    let mut open = false;
    for invoice in of_this().filter(|invoice| invoice.is_unpaid()) {
        open = true;
        if Some(invoice.invoice_id) == failed || killbill.payment_failed(invoice.invoice_id).await? {
            return Ok(Debt::Failed);
        }
    }
    Ok(match of_this().any(|invoice| invoice.bills(id)) {
        _ if open => Debt::Open,
        true => Debt::Settled,
        false => Debt::Unbilled,
    })
}
