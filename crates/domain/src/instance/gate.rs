//! The gate of contract 6.4: what has to be paid before an instance runs. A closed gate is answered with 402.

use super::axes::Axes;
use super::words::{BillingStatus, Phase, Suspension};

/// Why an instance may not be brought up. The text is fit for a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// Suspended, and still not paid.
    #[error("This instance is suspended because a payment is outstanding")]
    Debt,
    /// Nothing provisioned yet, and not paid.
    #[error("This instance is provisioned once its first payment has arrived")]
    Unpaid,
}

/// For anything that ends in a running instance.
pub fn gate(axes: &Axes) -> Result<(), Closed> {
    if axes.suspension == Suspension::Debt && axes.billing == BillingStatus::PaymentRequired {
        return Err(Closed::Debt);
    }
    Ok(())
}

/// For start, unpause, restart: besides the gate, an instance without data is provisioned only when it is paid for.
/// A provisioning that billing orders itself does not pass here (contract 8.1).
pub fn may_start(axes: &Axes) -> Result<(), Closed> {
    gate(axes)?;
    if axes.phase == Phase::Registered && !axes.is_paid_for() {
        return Err(Closed::Unpaid);
    }
    Ok(())
}
