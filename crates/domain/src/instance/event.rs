//! What can happen to an instance (contract 6.3).

use super::words::{BillingStatus, Status};
use crate::words;

words! {
    /// The name of an event without its details: the key of the table, and the action in the audit log.
    EventName {
        /// The row is recorded.
        Create = "create",
        /// A provisioning is ordered.
        ProvisionAccepted = "provision_accepted",
        /// The worker starts on it.
        ProvisionBegins = "provision_begins",
        /// Odoo answers for the first time.
        ProvisionDone = "provision_done",
        /// Failed and undone.
        ProvisionFailed = "provision_failed",
        /// Undone, because a suspend, terminate or delete came first.
        ProvisionPreempted = "provision_preempted",
        /// A start or unpause is ordered.
        StartAccepted = "start_accepted",
        /// Odoo answers.
        StartDone = "start_done",
        /// It did not come up.
        StartFailed = "start_failed",
        /// A stop is ordered.
        StopAccepted = "stop_accepted",
        /// No task is left.
        StopDone = "stop_done",
        /// A task is still there.
        StopFailed = "stop_failed",
        /// It shall be down, and was seen up.
        StopAgain = "stop_again",
        /// A restart is ordered.
        RestartAccepted = "restart_accepted",
        /// The new task answers.
        RestartDone = "restart_done",
        /// It did not come up.
        RestartFailed = "restart_failed",
        /// Copying starts.
        BackupBegins = "backup_begins",
        /// Copied or failed; the runtime is as before.
        BackupEnds = "backup_ends",
        /// Loading starts.
        RestoreBegins = "restore_begins",
        /// Restored data shall run, whatever was asked before.
        RestoreRuns = "restore_runs",
        /// Restored data shall stay down, whatever was asked before.
        RestoreStays = "restore_stays",
        /// Switched to the restored data.
        RestoreDone = "restore_done",
        /// Failed; everything is as before.
        RestoreFailed = "restore_failed",
        /// The update starts.
        UpdateBegins = "update_begins",
        /// Runs the new version.
        UpdateDone = "update_done",
        /// Failed; runs the old version again.
        UpdateRolledBack = "update_rolled_back",
        /// The move starts.
        RelocateBegins = "relocate_begins",
        /// Moved, or failed with everything as before.
        RelocateEnds = "relocate_ends",
        /// A backup, restore, update or move could not bring the instance back to where it was.
        WayBackFailed = "way_back_failed",
        /// A payment is outstanding.
        SuspendForDebt = "suspend_for_debt",
        /// An operator suspends.
        SuspendByOperator = "suspend_by_operator",
        /// The suspension is lifted.
        Unsuspend = "unsuspend",
        /// Out of service; the data stays.
        Terminate = "terminate",
        /// A terminated instance gets a new subscription and waits for its payment.
        ReactivationOrdered = "reactivation_ordered",
        /// A terminated instance comes back.
        Reactivate = "reactivate",
        /// To be removed for good.
        Delete = "delete",
        /// Removed; a scrubbed record is left.
        Purged = "purged",
        /// The runtime has no service.
        ObservedAbsent = "observed_absent",
        /// Odoo answers.
        ObservedRunning = "observed_running",
        /// It exited by itself, again and again.
        ObservedFailed = "observed_failed",
        /// It runs without answering, for too long.
        ObservedUnhealthy = "observed_unhealthy",
        /// Somebody else took it down.
        ObservedStopped = "observed_stopped",
        /// Billing reports a status.
        BillingUpdated = "billing_updated",
    }
}

/// An event with what it brings along. `before` is the status that the operation recorded in its journal when it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is documented at its name")]
pub enum Event {
    Create,
    ProvisionAccepted,
    ProvisionBegins,
    ProvisionDone,
    ProvisionFailed,
    ProvisionPreempted,
    StartAccepted,
    StartDone,
    StartFailed,
    StopAccepted,
    StopDone,
    StopFailed,
    StopAgain,
    RestartAccepted,
    RestartDone,
    RestartFailed,
    BackupBegins,
    BackupEnds { before: Status },
    RestoreBegins,
    RestoreRuns,
    RestoreStays,
    RestoreDone,
    RestoreFailed { before: Status },
    UpdateBegins,
    UpdateDone,
    UpdateRolledBack,
    RelocateBegins,
    RelocateEnds { before: Status },
    WayBackFailed,
    SuspendForDebt,
    SuspendByOperator,
    Unsuspend,
    Terminate,
    ReactivationOrdered(BillingStatus),
    Reactivate(BillingStatus),
    Delete,
    Purged,
    ObservedAbsent,
    ObservedRunning,
    ObservedFailed,
    ObservedUnhealthy,
    ObservedStopped,
    BillingUpdated(BillingStatus),
}

impl Event {
    /// The key of this event in the table.
    pub const fn name(self) -> EventName {
        use EventName as N;
        match self {
            Self::Create => N::Create,
            Self::ProvisionAccepted => N::ProvisionAccepted,
            Self::ProvisionBegins => N::ProvisionBegins,
            Self::ProvisionDone => N::ProvisionDone,
            Self::ProvisionFailed => N::ProvisionFailed,
            Self::ProvisionPreempted => N::ProvisionPreempted,
            Self::StartAccepted => N::StartAccepted,
            Self::StartDone => N::StartDone,
            Self::StartFailed => N::StartFailed,
            Self::StopAccepted => N::StopAccepted,
            Self::StopDone => N::StopDone,
            Self::StopFailed => N::StopFailed,
            Self::StopAgain => N::StopAgain,
            Self::RestartAccepted => N::RestartAccepted,
            Self::RestartDone => N::RestartDone,
            Self::RestartFailed => N::RestartFailed,
            Self::BackupBegins => N::BackupBegins,
            Self::BackupEnds { .. } => N::BackupEnds,
            Self::RestoreBegins => N::RestoreBegins,
            Self::RestoreRuns => N::RestoreRuns,
            Self::RestoreStays => N::RestoreStays,
            Self::RestoreDone => N::RestoreDone,
            Self::RestoreFailed { .. } => N::RestoreFailed,
            Self::UpdateBegins => N::UpdateBegins,
            Self::UpdateDone => N::UpdateDone,
            Self::UpdateRolledBack => N::UpdateRolledBack,
            Self::RelocateBegins => N::RelocateBegins,
            Self::RelocateEnds { .. } => N::RelocateEnds,
            Self::WayBackFailed => N::WayBackFailed,
            Self::SuspendForDebt => N::SuspendForDebt,
            Self::SuspendByOperator => N::SuspendByOperator,
            Self::Unsuspend => N::Unsuspend,
            Self::Terminate => N::Terminate,
            Self::ReactivationOrdered(_) => N::ReactivationOrdered,
            Self::Reactivate(_) => N::Reactivate,
            Self::Delete => N::Delete,
            Self::Purged => N::Purged,
            Self::ObservedAbsent => N::ObservedAbsent,
            Self::ObservedRunning => N::ObservedRunning,
            Self::ObservedFailed => N::ObservedFailed,
            Self::ObservedUnhealthy => N::ObservedUnhealthy,
            Self::ObservedStopped => N::ObservedStopped,
            Self::BillingUpdated(_) => N::BillingUpdated,
        }
    }

    /// The status before the operation, where the event carries one.
    pub const fn before(self) -> Option<Status> {
        match self {
            Self::BackupEnds { before } | Self::RestoreFailed { before } | Self::RelocateEnds { before } => Some(before),
            _ => None,
        }
    }

    /// The billing status, where the event carries one.
    pub const fn billing(self) -> Option<BillingStatus> {
        match self {
            Self::ReactivationOrdered(billing) | Self::Reactivate(billing) | Self::BillingUpdated(billing) => Some(billing),
            _ => None,
        }
    }
}
