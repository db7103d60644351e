//! The gate of contract 6.4: what has to be paid before an instance runs. A closed gate is answered with 402.

use super::axes::Axes;
use super::words::{BillingStatus, Suspension};

/// Why an instance may not be brought up. The text is fit for a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// Suspended, and still not paid.
    #[error("This instance is suspended because a payment is outstanding")]
    Debt,
    /// Nothing was made yet, and nothing is paid.
    #[error("This instance is set up once its payment has arrived")]
    Unprovisioned,
}

/// For anything that ends in a running instance.
pub fn gate(axes: &Axes) -> Result<(), Closed> {
    if axes.suspension == Suspension::Debt && axes.billing == BillingStatus::PaymentRequired {
        return Err(Closed::Debt);
    }
    Ok(())
}

/// For a start asked for by a customer: what has no data is provisioned, and that has to be paid, or on trial.
pub fn may_start(axes: &Axes) -> Result<(), Closed> {
    gate(axes)?;
    if axes.is_unprovisioned() && axes.billing == BillingStatus::PaymentRequired {
        return Err(Closed::Unprovisioned);
    }
    Ok(())
}
