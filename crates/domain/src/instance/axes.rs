//! The state of one instance on its separate axes, with the public status as a stored projection (contract 6.2).

use super::words::{BillingStatus, DesiredState, ObservedState, Phase, ProvisioningStatus, Status, Suspension};

/// Everything that decides what may happen to an instance next. Loaded, passed to [`super::apply`], stored again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axes {
    /// What clients read.
    pub status: Status,
    /// What exists.
    pub phase: Phase,
    /// What was asked for.
    pub desired: DesiredState,
    /// Why it may not run.
    pub suspension: Suspension,
    /// The desired state before the suspension; set exactly while suspended.
    pub resume_to: Option<DesiredState>,
    /// What was last seen at the runtime.
    pub observed: ObservedState,
    /// Whether it is paid.
    pub billing: BillingStatus,
    /// How far provisioning got.
    pub provisioning: ProvisioningStatus,
}

impl Axes {
    /// Whether database and files of this instance exist for the customer.
    pub const fn has_data(&self) -> bool {
        matches!(self.phase, Phase::Ready)
    }

    /// Whether nothing was made yet, or nothing is left of it.
    pub const fn is_unprovisioned(&self) -> bool {
        matches!(self.phase, Phase::Registered)
    }

    /// Live means: not terminated (contract 6.1).
    pub const fn is_live(&self) -> bool {
        !matches!(self.status, Status::Terminated)
    }

    /// How the public status contradicts the axes it is a projection of; `None` for every state the table can reach.
    pub fn contradiction(&self) -> Option<&'static str> {
        use Status as S;
        let suspended = self.suspension != Suspension::None;
        if suspended != (self.status == S::Paused) {
            return Some("paused is the status of suspended instances and of no others");
        }
        if suspended != self.resume_to.is_some() {
            return Some("resume_to belongs to a suspension");
        }
        if (self.desired == DesiredState::Terminated) != (self.status == S::Terminated) {
            return Some("terminated is the status of instances that shall be terminated and of no others");
        }
        match self.phase {
            Phase::Purging | Phase::Purged if self.is_live() => Some("a purged instance is terminated"),
            Phase::Registered
                if !matches!(self.status, S::Creating | S::Starting | S::Stopped | S::Error | S::Paused | S::Terminated) =>
            {
                Some("an instance without data cannot be in this status")
            }
            Phase::Ready if self.status == S::Creating => Some("an instance with data is no longer being created"),
            _ => None,
        }
    }
}
