//! Durable operations: kinds, states, what a wake-up carries, and who gives way to whom (contract 5 and 11, engine 10).

use crate::ids::OperationId;
use crate::words;
use serde::{Deserialize, Serialize};

words! {
    /// What an operation does (contract 5).
    Kind {
        /// Makes the database, files and service of an instance.
        Provision = "provision",
        /// Runs a stopped instance.
        Start = "start",
        /// Stops a running instance.
        Stop = "stop",
        /// Stops and starts.
        Restart = "restart",
        /// A start under another name.
        Unpause = "unpause",
        /// Takes an instance down for debt or by an operator.
        Suspend = "suspend",
        /// Takes an instance out of service and keeps its data.
        Terminate = "terminate",
        /// Removes an instance for good.
        Delete = "delete",
        /// Copies database and files.
        Backup = "backup",
        /// Loads a backup beside the live instance and switches.
        Restore = "restore",
        /// Removes what a restore had replaced and nobody may want back any more.
        ForgetReplaced = "forget_replaced",
        /// Takes a restore back: what it replaced serves again.
        UndoRestore = "undo_restore",
        /// Compares a backup with its checksums, and if asked loads it to see that it can be.
        VerifyBackup = "verify_backup",
        /// Removes backups of an instance that are not kept any more, and what only they needed.
        PruneBackups = "prune_backups",
        /// Makes an archive in Odoo's own format of a backup, to be fetched.
        Export = "export",
        /// Makes a backup of an instance of an archive in Odoo's own format.
        Import = "import",
        /// Updates Odoo.
        Update = "update",
        /// Brings new limits to the runtime.
        ApplyResources = "apply_resources",
        /// Moves an instance to another server.
        Relocate = "relocate",
        /// Brings a terminated instance back.
        Reactivate = "reactivate",
        /// Gives an instance new credentials.
        Rotate = "rotate",
        /// Builds the database that provisioning clones.
        BuildTemplate = "build_template",
        /// Compares rows with the runtime.
        Reconcile = "reconcile",
        /// Reads the last log lines of an instance.
        FetchLogs = "fetch_logs",
        /// Takes over an instance of the earlier service.
        Adopt = "adopt",
    }
}

words! {
    /// Where an operation stands, as stored (engine 5).
    State {
        /// Accepted; its turn has not come.
        Queued = "queued",
        /// A worker holds its lease.
        Running = "running",
        /// Due again at a stated time; holds neither lease nor slot.
        Waiting = "waiting",
        /// Done.
        Succeeded = "succeeded",
        /// Failed and fully undone.
        Failed = "failed",
        /// Cancelled and fully undone.
        Cancelled = "cancelled",
        /// Stopped with everything kept; an operator or a terminate goes on.
        NeedsAttention = "needs_attention",
    }
}

impl State {
    /// Whether nothing more will happen by itself.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

words! {
    /// Which way the saga is walked.
    Direction {
        /// Applying steps.
        Forward = "forward",
        /// Undoing what was started.
        Undo = "undo",
    }
}

words! {
    /// Journal status of one step in one direction.
    StepStatus {
        /// Recorded before the effect.
        Started = "started",
        /// Recorded after the effect, with its output.
        Done = "done",
        /// The effect failed; the attempt count says how often.
        Failed = "failed",
        /// Not needed this time.
        Skipped = "skipped",
    }
}

words! {
    /// Queue and slots of an operation; control always has slots of its own (engine 2).
    Class {
        /// Short work that must never wait: terminate, suspend, logs.
        Control = "control",
        /// Making instances and templates.
        Provision = "provision",
        /// Long copies.
        Backup = "backup",
        /// Everything that may wait: the row says already that an instance is being removed.
        Maintenance = "maintenance",
    }
}

words! {
    /// The place a step touches; shown to clients as the step's `server`.
    Place {
        /// The platform server.
        Postgres1 = "postgres1",
        /// An Odoo server.
        Postgres2 = "postgres2",
        /// Files.
        Storage = "storage",
        /// The engine that runs Odoo.
        Runtime = "runtime",
        /// Outgoing mail.
        Notification = "notification",
    }
}

impl Kind {
    /// The definition that new operations of this kind are accepted with. Raise it together with a new saga definition;
    /// the old one stays registered until no unfinished row uses it (engine 9, rule 8).
    pub const fn def_version(self) -> i32 {
        1
    }

    /// The queue that carries wake-ups of this kind.
    pub const fn class(self) -> Class {
        match self {
            Self::Provision | Self::BuildTemplate | Self::Reactivate | Self::Adopt => Class::Provision,
            Self::Backup | Self::Restore | Self::VerifyBackup | Self::Export | Self::Import | Self::Relocate | Self::Update => {
                Class::Backup
            }
            Self::Delete | Self::Reconcile | Self::Rotate | Self::ForgetReplaced | Self::PruneBackups => Class::Maintenance,
            Self::Start
            | Self::Stop
            | Self::Restart
            | Self::Unpause
            | Self::Suspend
            | Self::Terminate
            | Self::UndoRestore
            | Self::ApplyResources
            | Self::FetchLogs => Class::Control,
        }
    }
}

impl Kind {
    /// Whether operations of this kind take the instance's one place (contract 11.2); the others have a scope of their own.
    pub const fn takes_place(self) -> bool {
        !matches!(self, Self::FetchLogs | Self::Reconcile | Self::BuildTemplate | Self::Export)
    }

    /// Whether operations of this kind are shown on the public door to whom the instance belongs: what has its place, and what a
    /// customer waits for beside it.
    pub const fn is_shown_to_customers(self) -> bool {
        self.takes_place() || matches!(self, Self::Export)
    }

    /// Whether it is the platform's own work beside an instance: the row shows nothing of it, and nobody's request is put off by it.
    pub const fn is_background(self) -> bool {
        matches!(self, Self::ForgetReplaced | Self::VerifyBackup | Self::PruneBackups)
    }

    /// Whether each step is retried until it is done, without undo: the row already says so (engine 9.6).
    pub const fn is_forward_only(self) -> bool {
        matches!(self, Self::Suspend | Self::Terminate | Self::Delete)
    }

    /// Whether a repeated request joins the equal one that is last in the queue (contract 11.2).
    pub const fn is_joinable(self) -> bool {
        matches!(
            self,
            Self::Start
                | Self::Stop
                | Self::Restart
                | Self::Unpause
                | Self::ApplyResources
                | Self::ForgetReplaced
                | Self::VerifyBackup
                | Self::PruneBackups
                | Self::Reconcile
        )
    }

    /// Place in the queue of its scope, higher first: suspend, terminate and delete go to the front (engine 10).
    pub const fn priority(self) -> i16 {
        if self.is_forward_only() { 100 } else { 0 }
    }
}

/// Whether a client may cancel an operation of this kind in this state (contract 5). The point of no return is the
/// engine's to know.
pub const fn cancellable_by_client(kind: Kind, state: State) -> bool {
    match state {
        State::Queued => !kind.is_forward_only(),
        State::Running | State::Waiting => matches!(
            kind,
            Kind::Provision
                | Kind::Start
                | Kind::Restart
                | Kind::Unpause
                | Kind::Backup
                | Kind::Restore
                | Kind::Export
                | Kind::Import
                | Kind::Update
                | Kind::Relocate
                | Kind::ApplyResources
        ),
        State::Succeeded | State::Failed | State::Cancelled | State::NeedsAttention => false,
    }
}

/// What apalis carries: an operation id and nothing else (engine 1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeUp {
    /// The operation to look at.
    pub operation_id: OperationId,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPERATIONS: &str = include_str!("../../../migrations/0004_operations.sql");

    #[test]
    fn the_words_are_those_of_the_check_constraints() {
        let list = |words: Vec<&str>| format!("IN ('{}')", words.join("', '"));
        for words in [
            list(State::ALL.iter().map(|word| word.as_str()).collect()),
            list(Direction::ALL.iter().map(|word| word.as_str()).collect()),
            list(Class::ALL.iter().map(|word| word.as_str()).collect()),
            list(StepStatus::ALL.iter().map(|word| word.as_str()).collect()),
        ] {
            assert!(OPERATIONS.contains(&words), "{words}");
        }
    }

    #[test]
    fn a_client_may_cancel_what_the_contract_names() {
        // And two kinds of chapter 16.4, which that list does not know yet: nothing is lost with them.
        let named = "provision start restart unpause backup restore update relocate apply_resources export import";
        for kind in Kind::ALL.iter().copied() {
            let running = cancellable_by_client(kind, State::Running);
            assert_eq!(running, named.split(' ').any(|word| word == kind.as_str()), "{kind}");
            assert_eq!(running, cancellable_by_client(kind, State::Waiting), "{kind}");
            assert_eq!(cancellable_by_client(kind, State::Queued), !kind.is_forward_only(), "{kind}");
            for state in State::ALL.iter().copied().filter(|state| state.is_final() || *state == State::NeedsAttention) {
                assert!(!cancellable_by_client(kind, state), "{kind} {state}");
            }
        }
    }

    #[test]
    fn what_closes_access_goes_to_the_front_and_only_forward() {
        for kind in Kind::ALL.iter().copied() {
            let closes = [Kind::Suspend, Kind::Terminate, Kind::Delete].contains(&kind);
            assert_eq!((kind.is_forward_only(), kind.priority() > 0), (closes, closes), "{kind}");
            assert!(!kind.is_joinable() || kind.takes_place() || kind == Kind::Reconcile, "{kind}");
        }
    }
}
