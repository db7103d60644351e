//! What may be asked of an instance, and when: the table of contract 7, as data. The documentation prints it.
//!
//! Owns: the words of the actions, the situations they meet, and what each pair leads to.
//! Leaves to others: payment and suspension ([`super::may_start`]), what changes in the row ([`super::TRANSITIONS`]), and who gives
//! way to whom (`preemption`).

use super::axes::Axes;
use super::event::EventName;
use super::transition::{Guard, NotAllowed, Why};
use super::words::{DesiredState, ProvisioningStatus, Status};
use crate::operation::Kind;
use crate::words;

words! {
    /// What can be asked of an instance.
    Action {
        /// Run it.
        Start = "start",
        /// Stop it.
        Stop = "stop",
        /// Stop and start it.
        Restart = "restart",
        /// Run it after a suspension.
        Unpause = "unpause",
        /// Copy database and files.
        Backup = "backup",
        /// Load a backup.
        Restore = "restore",
        /// Update Odoo.
        Update = "update",
        /// Take it down for debt.
        Suspend = "suspend",
        /// Lift a suspension.
        Unsuspend = "unsuspend",
        /// Take it out of service and keep its data.
        Terminate = "terminate",
    }
}

words! {
    /// Where an instance stands for those who ask something of it: its status, and where that is not enough what it leads to.
    Situation {
        /// Recorded, and nothing ordered.
        New = "creating, not yet provisioning",
        /// Being provisioned.
        Provisioning = "creating / starting, provisioning",
        /// On its way up.
        Starting = "starting",
        /// Serving.
        Running = "running",
        /// On its way down.
        Stopping = "stopping",
        /// Down by request.
        Stopped = "stopped",
        /// Down and up again.
        Restarting = "restarting",
        /// Being updated.
        Updating = "updating",
        /// Being copied, loaded or moved; it runs afterwards.
        MaintenanceUp = "maintenance, will run afterwards",
        /// Being copied, loaded or moved; it stays down afterwards.
        MaintenanceDown = "maintenance, will not run afterwards",
        /// Failed.
        Error = "error",
        /// Its service is gone.
        ContainerMissing = "container_missing",
        /// Suspended.
        Paused = "paused",
        /// Out of service.
        Terminated = "terminated",
    }
}

/// What an action leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Accepted.
    Accepted,
    /// Accepted; the operation at work is asked to give up and this is next.
    GivesUp,
    /// Accepted; it waits its turn.
    Queued,
    /// No work needed, or what is under way does it.
    Nothing,
    /// Accepted if the gate of contract 6.4 allows, else 402.
    IfPaid,
    /// 400.
    Refused,
}

/// One row: the answers in the order of [`Action::ALL`].
type Row = (Situation, [Answer; 10]);

use Answer::{Accepted as A, GivesUp as G, IfPaid as P, Nothing as N, Queued as Q, Refused as R};
use Situation as S;

/// Every situation and action.
#[rustfmt::skip]
pub static ACTIONS: &[Row] = &[
    //                    start stop restart unpause backup restore update suspend unsuspend terminate
    (S::New,              [R,   R,   R,      R,      R,     R,      R,     A,      R,        A]),
    (S::Provisioning,     [N,   Q,   R,      N,      R,     R,      R,     A,      R,        A]),
    (S::Starting,         [N,   G,   R,      N,      Q,     Q,      R,     A,      R,        A]),
    (S::Running,          [N,   A,   A,      N,      A,     A,      A,     A,      R,        A]),
    (S::Stopping,         [Q,   N,   R,      R,      Q,     Q,      R,     A,      R,        A]),
    (S::Stopped,          [P,   R,   R,      R,      A,     A,      R,     A,      R,        A]),
    (S::Restarting,       [N,   G,   N,      N,      Q,     Q,      R,     A,      R,        A]),
    (S::Updating,         [N,   Q,   R,      N,      Q,     Q,      R,     A,      R,        A]),
    (S::MaintenanceUp,    [N,   Q,   Q,      N,      Q,     Q,      R,     A,      R,        A]),
    (S::MaintenanceDown,  [Q,   R,   R,      R,      Q,     Q,      R,     A,      R,        A]),
    (S::Error,            [P,   A,   P,      R,      A,     A,      R,     A,      R,        A]),
    (S::ContainerMissing, [P,   R,   R,      R,      A,     A,      R,     A,      R,        A]),
    (S::Paused,           [P,   R,   R,      P,      R,     R,      R,     N,      A,        A]),
    (S::Terminated,       [R,   R,   R,      R,      R,     R,      R,     R,      R,        N]),
];

/// What `action` leads to in this situation.
pub fn answer(situation: Situation, action: Action) -> Answer {
    let row = ACTIONS.iter().find(|(row, _)| *row == situation);
    let column = Action::ALL.iter().position(|column| *column == action);
    row.zip(column).and_then(|((_, answers), column)| answers.get(column).copied()).unwrap_or(Answer::Refused)
}

impl Situation {
    /// By the row alone.
    pub const fn of(axes: &Axes) -> Self {
        let provisioning = matches!(axes.provisioning, ProvisioningStatus::Provisioning) && !axes.has_data();
        match axes.status {
            Status::Creating | Status::Starting if provisioning => Self::Provisioning,
            Status::Creating => Self::New,
            Status::Starting => Self::Starting,
            Status::Running => Self::Running,
            Status::Stopping => Self::Stopping,
            Status::Stopped => Self::Stopped,
            Status::Restarting => Self::Restarting,
            Status::Updating => Self::Updating,
            Status::Maintenance if matches!(axes.desired, DesiredState::Running) => Self::MaintenanceUp,
            Status::Maintenance => Self::MaintenanceDown,
            Status::Error => Self::Error,
            Status::ContainerMissing => Self::ContainerMissing,
            Status::Paused => Self::Paused,
            Status::Terminated => Self::Terminated,
        }
    }

    /// By the row and by what is accepted already, in its order: the situation in which it will be when that is done, or, while
    /// one operation is all there is and the row shows it, the one in which it is.
    pub fn with(axes: &Axes, accepted: &[Kind]) -> Self {
        match accepted {
            [] => Self::of(axes),
            [only] if shows(axes.status, *only) => Self::of(axes),
            _ => accepted.iter().fold(Self::of(axes), |situation, kind| situation.after(*kind)),
        }
    }

    const fn after(self, kind: Kind) -> Self {
        match kind {
            Kind::Start | Kind::Unpause | Kind::Restart | Kind::Reactivate | Kind::Provision | Kind::Update => Self::Running,
            Kind::Stop => Self::Stopped,
            Kind::Suspend => Self::Paused,
            Kind::Terminate | Kind::Delete => Self::Terminated,
            _ => match self {
                Self::MaintenanceUp => Self::Running,
                Self::MaintenanceDown => Self::Stopped,
                as_before => as_before,
            },
        }
    }
}

/// Whether the row in this status shows that such an operation was accepted.
pub const fn shows(status: Status, kind: Kind) -> bool {
    match kind {
        Kind::Provision => matches!(status, Status::Creating | Status::Starting),
        Kind::Start | Kind::Unpause | Kind::Reactivate => matches!(status, Status::Starting),
        Kind::Stop => matches!(status, Status::Stopping),
        Kind::Restart => matches!(status, Status::Restarting),
        Kind::Update => matches!(status, Status::Updating),
        Kind::Backup | Kind::Restore | Kind::UndoRestore | Kind::Relocate => matches!(status, Status::Maintenance),
        Kind::Suspend => matches!(status, Status::Paused),
        Kind::Terminate | Kind::Delete => matches!(status, Status::Terminated),
        Kind::ApplyResources | Kind::Rotate | Kind::Adopt => !matches!(status, Status::Maintenance),
        Kind::BuildTemplate | Kind::Reconcile | Kind::FetchLogs => true,
        Kind::ForgetReplaced | Kind::VerifyBackup | Kind::PruneBackups | Kind::Export | Kind::Import => true,
    }
}

impl Action {
    /// What it leads to in the row.
    const fn event(self) -> EventName {
        match self {
            Self::Start | Self::Unpause => EventName::StartAccepted,
            Self::Stop => EventName::StopAccepted,
            Self::Restart => EventName::RestartAccepted,
            Self::Backup => EventName::BackupBegins,
            Self::Restore => EventName::RestoreBegins,
            Self::Update => EventName::UpdateBegins,
            Self::Suspend => EventName::SuspendForDebt,
            Self::Unsuspend => EventName::Unsuspend,
            Self::Terminate => EventName::Terminate,
        }
    }

    /// Whether it makes no sense without data.
    const fn needs_data(self) -> bool {
        matches!(self, Self::Stop | Self::Backup | Self::Restore | Self::Update)
    }

    /// Why it is refused, for a customer.
    pub fn refusal(self, axes: &Axes) -> NotAllowed {
        let unprovisioned = self.needs_data() && axes.is_unprovisioned() && axes.is_live();
        let why = if unprovisioned { Why::Guard(Guard::HasData) } else { Why::Status };
        NotAllowed { status: axes.status, event: self.event(), why }
    }

    /// What it leads to for an instance with these axes and these operations, in their order. Without data, and with none on the
    /// way, there is nothing to stop, to copy or to change.
    pub fn answer(self, axes: &Axes, accepted: &[Kind]) -> Answer {
        let situation = Situation::with(axes, accepted);
        let on_the_way = accepted.contains(&Kind::Provision) || situation == Situation::Provisioning;
        if self.needs_data() && axes.is_unprovisioned() && !on_the_way {
            return Answer::Refused;
        }
        answer(situation, self)
    }
}

/// The table as Markdown, as the documentation shows it.
pub fn actions_table() -> String {
    let words: Vec<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
    let mut text = format!("| status | {} |\n|---|{}\n", words.join(" | "), "---|".repeat(words.len()));
    for (situation, answers) in ACTIONS {
        let cells: Vec<&str> = answers.iter().map(|answer| answer.letter()).collect();
        text += &format!("| {situation} | {} |\n", cells.join(" | "));
    }
    text
}

impl Answer {
    const fn letter(self) -> &'static str {
        match self {
            Self::Accepted => "A",
            Self::GivesUp => "A¹",
            Self::Queued => "Q",
            Self::Nothing => "N",
            Self::IfPaid => "$",
            Self::Refused => "–",
        }
    }
}
