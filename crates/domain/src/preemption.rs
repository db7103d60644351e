//! Who gives way to whom on one instance: the table of engine 10, as data.

use crate::operation::Kind::{
    self, ApplyResources, Backup, Delete, Provision, Reactivate, Relocate, Restart, Restore, Rotate, Start, Stop, Suspend,
    Terminate, Unpause, Update,
};

/// What a request means for the operation that is active on its instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Preemption {
    /// It queues behind it.
    Queue,
    /// The active one is asked to give up and is undone; the new one is next.
    GiveUp,
    /// The active one goes the same way and finishes; the new one is next.
    LetFinish,
    /// The active one does what is asked: no new operation, the same one is returned.
    Absorbed,
}

/// One row: when one of `arriving` meets one of `active`.
#[derive(Debug)]
pub struct Rule {
    /// The kinds that are requested.
    pub arriving: &'static [Kind],
    /// The kinds that may be active.
    pub active: &'static [Kind],
    /// What follows.
    pub then: Preemption,
}

/// Every pair that does not simply queue.
pub static PREEMPTION: &[Rule] = &[
    Rule { arriving: &[Suspend, Terminate, Delete], active: GIVE_WAY, then: Preemption::GiveUp },
    Rule { arriving: &[Suspend, Terminate, Delete], active: &[Stop, Suspend], then: Preemption::LetFinish },
    Rule { arriving: &[Suspend, Terminate], active: &[Terminate, Delete], then: Preemption::Absorbed },
    Rule { arriving: &[Delete], active: &[Terminate], then: Preemption::LetFinish },
    Rule { arriving: &[Delete], active: &[Delete], then: Preemption::Absorbed },
    // A stop does not wait until a start has timed out (contract 7, note 1).
    Rule { arriving: &[Stop], active: &[Start, Unpause, Restart, Reactivate], then: Preemption::GiveUp },
];

/// Whatever brings an instance up, copies or changes it. Past its point of no return an operation finishes the minimum
/// that leaves one consistent database; its steps know where that is.
const GIVE_WAY: &[Kind] =
    &[Provision, Start, Unpause, Restart, Reactivate, ApplyResources, Backup, Restore, Update, Relocate, Rotate, Kind::Adopt];

/// What becomes of the active operation, and of the arriving one, on the same instance.
pub fn on_arrival(active: Kind, arriving: Kind) -> Preemption {
    let rule = PREEMPTION.iter().find(|rule| rule.arriving.contains(&arriving) && rule.active.contains(&active));
    rule.map_or(Preemption::Queue, |rule| rule.then)
}

/// Whether `arriving` cancels an operation of kind `queued` that has not begun (contract 11.3): suspend spares backups,
/// and nothing cancels what goes the same way or further.
pub const fn cancels_queued(arriving: Kind, queued: Kind) -> bool {
    match arriving {
        Suspend => !matches!(queued, Backup | Suspend | Terminate | Delete),
        Terminate => !matches!(queued, Terminate | Delete),
        Delete => !matches!(queued, Delete),
        _ => false,
    }
}

/// Whether a queued operation of kind `queued` already does what `arriving` asks, so that the same one is returned.
pub const fn absorbed_by_queued(arriving: Kind, queued: Kind) -> bool {
    matches!((arriving, queued), (Suspend, Suspend | Terminate | Delete) | (Terminate, Terminate | Delete) | (Delete, Delete))
}

/// Whether `arriving` may go on although the instance has an operation in needs_attention: closing access is always
/// safe; everything else waits for an operator. Terminate and delete take over its journal.
pub const fn passes_needs_attention(arriving: Kind) -> bool {
    arriving.is_forward_only()
}
