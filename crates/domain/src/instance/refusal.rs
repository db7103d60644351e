//! Refusals of the table in plain words: shown to customers as they are.

use super::event::EventName;
use super::gate::Closed;
use super::transition::{Guard, NotAllowed, Why};
use super::words::Status;

pub(super) fn text(refused: &NotAllowed) -> String {
    match refused.why {
        Why::PaymentOutstanding => Closed::Debt.to_string(),
        Why::Guard(guard) => match guard_text(guard) {
            Some(text) => text.to_owned(),
            None => by_status(refused.event, refused.status),
        },
        Why::Status | Why::Before(_) => by_status(refused.event, refused.status),
    }
}

const fn guard_text(guard: Guard) -> Option<&'static str> {
    match guard {
        Guard::HasData => Some("Instance has not been provisioned yet"),
        Guard::NoData => Some("Instance has already been provisioned"),
        Guard::NotPurged => Some("Instance has been deleted"),
        Guard::SuspensionMayBeLifted | Guard::NotHeldByOperator => {
            Some("This instance was suspended by an operator, who has to lift the suspension first")
        }
        Guard::NotProvisioning => Some("Instance is already being provisioned"),
        Guard::Provisioning => Some("Instance is not being provisioned"),
        Guard::Paid => Some("Instance comes back once its payment has arrived"),
        Guard::BeingPurged | Guard::PurgeBegun | Guard::HeldByOperator | Guard::ShallRun | Guard::ShallNotRun => None,
    }
}

fn by_status(event: EventName, status: Status) -> String {
    match action(event) {
        Some(action) => format!("Instance cannot be {action} while it is {}", plain(status)),
        None => format!("Instance is {}, which does not fit the event '{event}'", plain(status)),
    }
}

/// What a customer would call the event; `None` for the ones that only a worker brings.
const fn action(event: EventName) -> Option<&'static str> {
    use EventName as E;
    match event {
        E::ProvisionAccepted => Some("provisioned"),
        E::StartAccepted => Some("started"),
        E::StopAccepted => Some("stopped"),
        E::RestartAccepted => Some("restarted"),
        E::BackupBegins => Some("backed up"),
        E::RestoreBegins => Some("restored"),
        E::UpdateBegins => Some("updated"),
        E::RelocateBegins => Some("moved to another server"),
        E::SuspendForDebt | E::SuspendByOperator => Some("suspended"),
        E::Unsuspend => Some("unsuspended"),
        E::Terminate => Some("terminated"),
        E::Delete => Some("deleted"),
        E::Reactivate | E::ReactivationOrdered => Some("reactivated"),
        _ => None,
    }
}

const fn plain(status: Status) -> &'static str {
    match status {
        Status::Creating => "being created",
        Status::Starting => "starting",
        Status::Running => "running",
        Status::Stopping => "stopping",
        Status::Stopped => "stopped",
        Status::Restarting => "restarting",
        Status::Updating => "being updated",
        Status::Maintenance => "in maintenance",
        Status::Error => "in an error state",
        Status::Terminated => "terminated",
        Status::ContainerMissing => "missing its service",
        Status::Paused => "suspended",
    }
}
