//! What a subscription's standing means for its instance: one table. Pure.
//!
//! Owns: the standings, the places in which an instance may be, and what each pair asks for.
//! Leaves to others: how a standing is found out ([`super::facts`]), and carrying out (`carry`), where the transition table has the last
//! word on every request.
//!
//! Every cell leads towards the standing and then asks for nothing more: asked twice, in any order, it ends in the same place.

use domain::instance::{Axes, BillingStatus, DesiredState, ProvisioningStatus, Status, Suspension};
use domain::words;

words! {
    /// Where a subscription stands.
    Standing {
        /// Its time has not come.
        NotBegun = "not begun",
        /// Free for a time.
        Trial = "trial",
        /// Something is to be paid, and nothing has failed.
        Owing = "owing",
        /// A payment failed, or the account is blocked.
        Failed = "failed",
        /// Nothing is owed.
        Paid = "paid",
        /// Paused in the billing engine: whoever did that looks after the instance.
        Paused = "paused",
        /// Cancelled or expired.
        Over = "over",
        /// Cancelled or expired with a debt.
        OverOwing = "over, owing",
    }
}

words! {
    /// Where an instance is, as far as billing is concerned.
    Place {
        /// There is none.
        Nothing = "none",
        /// There is none under this subscription, which orders that an earlier one comes back.
        Returning = "none, one to come back",
        /// Terminated, ordered to come back, waiting for the payment.
        Waiting = "waiting for its payment",
        /// Recorded, with nothing made or on the way.
        New = "new",
        /// In service, by whatever name.
        Up = "in service",
        /// Shall run and has failed.
        Down = "failed",
        /// Suspended for debt; it ran.
        SuspendedRan = "suspended, ran",
        /// Suspended for debt; it did not run.
        SuspendedDown = "suspended, was down",
        /// Suspended for debt before anything was made of it.
        SuspendedNew = "suspended, new",
        /// Suspended by an operator.
        Held = "held by an operator",
        /// Terminated. Only a new subscription brings it back.
        Gone = "terminated",
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Record and provision.
    Create,
    /// Link the subscription with the instance that is to come back.
    Order,
    /// Bring it back.
    Return,
    /// Provision.
    Provision,
    /// Note the billing status.
    Note,
    /// Note that nothing is owed, if that is not known.
    Settle,
    /// Start.
    Start,
    /// Start, but only because money came.
    Retry,
    /// Lift the suspension.
    Unsuspend,
    /// Suspend for debt.
    Suspend,
    /// Take it out of service.
    Terminate,
}

/// One row: what is asked for in each place, in the order of [`Place::ALL`].
type Row = (Standing, [&'static [Call]; 11]);

use Call::{Create, Note, Order, Provision, Retry, Return, Settle, Start, Suspend, Terminate, Unsuspend};
use Standing as S;

/// Nothing.
const O: &[Call] = &[];
const N: &[Call] = &[Note];
const T: &[Call] = &[Terminate];
const E: &[Call] = &[Terminate, Settle];
const B: &[Call] = &[Suspend];

/// Every standing and place.
#[rustfmt::skip]
pub static TABLE: &[Row] = &[
    //               Nothing     Returning   Waiting     New           Up  Down              SuspendedRan      SuspendedDown         SuspendedNew  Held Gone
    (S::NotBegun,  [O,          O,          O,          O,            O,  O,                O,                O,                    O,            O,  O]),
    (S::Trial,     [&[Create],  &[Return],  &[Return],  &[Provision], N,  &[Note, Retry],   &[Note, Start],   &[Note, Unsuspend],   &[Provision], N,  O]),
    (S::Owing,     [O,          &[Order],   O,          N,            N,  N,                N,                N,                    N,            N,  O]),
    (S::Failed,    [O,          &[Order],   O,          B,            B,  B,                N,                N,                    N,            N,  O]),
    (S::Paid,      [&[Create],  &[Return],  &[Return],  &[Provision], N,  &[Note, Retry],   &[Note, Start],   &[Note, Unsuspend],   &[Provision], N,  O]),
    (S::Paused,    [O,          O,          O,          O,            O,  O,                O,                O,                    O,            O,  O]),
    (S::Over,      [O,          O,          O,          E,            E,  E,                E,                E,                    E,            E,  &[Settle]]),
    (S::OverOwing, [O,          O,          O,          T,            T,  T,                T,                T,                    T,            T,  O]),
];

/// What is asked for.
pub fn converge(standing: Standing, place: Place) -> &'static [Call] {
    let row = TABLE.iter().find(|(row, _)| *row == standing);
    let column = Place::ALL.iter().position(|column| *column == place);
    row.zip(column).and_then(|((_, cells), column)| cells.get(column).copied()).unwrap_or(O)
}

impl Standing {
    /// The billing status that it is noted as.
    pub const fn billing(self) -> Option<BillingStatus> {
        match self {
            Self::Trial => Some(BillingStatus::Trial),
            Self::Paid | Self::Over => Some(BillingStatus::Paid),
            Self::Owing | Self::Failed => Some(BillingStatus::PaymentRequired),
            Self::NotBegun | Self::Paused | Self::OverOwing => None,
        }
    }
}

impl Place {
    /// By the row of an instance that has the subscription.
    pub fn of(axes: &Axes) -> Self {
        let fresh = axes.is_unprovisioned() && axes.provisioning == ProvisioningStatus::Pending;
        let failed = matches!(axes.status, Status::Error | Status::ContainerMissing) && axes.desired == DesiredState::Running;
        match axes.suspension {
            _ if !axes.is_live() => Self::Gone,
            Suspension::Operator => Self::Held,
            Suspension::Debt if axes.resume_to == Some(DesiredState::Running) => Self::SuspendedRan,
            Suspension::Debt if axes.is_unprovisioned() => Self::SuspendedNew,
            Suspension::Debt => Self::SuspendedDown,
            Suspension::None if fresh => Self::New,
            Suspension::None if failed => Self::Down,
            Suspension::None => Self::Up,
        }
    }

    /// Whether it has an instance that limits mean something for.
    pub const fn is_live(self) -> bool {
        !matches!(self, Self::Nothing | Self::Returning | Self::Waiting | Self::Gone)
    }
}

#[cfg(test)]
mod tests;
