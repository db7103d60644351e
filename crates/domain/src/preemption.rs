//! Who gives way to whom on one instance: the table of engine 10, as data.

use crate::operation::Kind::{
    self, ApplyResources, Backup, Delete, ForgetReplaced, Import, Provision, PruneBackups, Reactivate, Relocate, Restart,
    Restore, Rotate, Start, Stop, Suspend, Terminate, UndoRestore, Unpause, Update, VerifyBackup,
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
    // A stop does not wait until a start has timed out (contract 7, note 1). Behind a reactivation without data, which is a
    // provisioning, it queues: there the transition table refuses to accept it at once.
    Rule { arriving: &[Stop], active: &[Start, Unpause, Restart, Reactivate], then: Preemption::GiveUp },
    // It can be done at any other time.
    Rule { arriving: ASKED_FOR, active: &[VerifyBackup, ForgetReplaced, PruneBackups], then: Preemption::GiveUp },
];

/// Whatever brings an instance up, copies or changes it. Past its point of no return an operation finishes the minimum
/// that leaves one consistent database; its steps know where that is.
const GIVE_WAY: &[Kind] = &[
    Provision,
    Start,
    Unpause,
    Restart,
    Reactivate,
    ApplyResources,
    Backup,
    Restore,
    UndoRestore,
    Import,
    Update,
    Relocate,
    Rotate,
    Kind::Adopt,
];

/// What somebody waits for.
const ASKED_FOR: &[Kind] = &[
    Provision,
    Start,
    Stop,
    Unpause,
    Restart,
    Reactivate,
    ApplyResources,
    Backup,
    Restore,
    UndoRestore,
    Import,
    Update,
    Relocate,
    Rotate,
    Kind::Adopt,
    Suspend,
    Terminate,
    Delete,
];

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

#[cfg(test)]
mod tests {
    use super::Preemption::{Absorbed, GiveUp, LetFinish, Queue};
    use super::*;

    /// Engine 10, copied by hand: active, then what suspend, terminate and delete mean for it.
    const ENGINE: &[(Kind, [Preemption; 3])] = &[
        (Provision, [GiveUp, GiveUp, GiveUp]),
        (Start, [GiveUp, GiveUp, GiveUp]),
        (Unpause, [GiveUp, GiveUp, GiveUp]),
        (Restart, [GiveUp, GiveUp, GiveUp]),
        (ApplyResources, [GiveUp, GiveUp, GiveUp]),
        (Reactivate, [GiveUp, GiveUp, GiveUp]),
        (Backup, [GiveUp, GiveUp, GiveUp]),
        (Restore, [GiveUp, GiveUp, GiveUp]),
        (UndoRestore, [GiveUp, GiveUp, GiveUp]),
        (Import, [GiveUp, GiveUp, GiveUp]),
        (VerifyBackup, [GiveUp, GiveUp, GiveUp]),
        (Update, [GiveUp, GiveUp, GiveUp]),
        (Relocate, [GiveUp, GiveUp, GiveUp]),
        (Rotate, [GiveUp, GiveUp, GiveUp]),
        (Kind::Adopt, [GiveUp, GiveUp, GiveUp]),
        (Stop, [LetFinish, LetFinish, LetFinish]),
        (ForgetReplaced, [GiveUp, GiveUp, GiveUp]),
        (PruneBackups, [GiveUp, GiveUp, GiveUp]),
        (Suspend, [LetFinish, LetFinish, LetFinish]),
        (Terminate, [Absorbed, Absorbed, LetFinish]),
        (Delete, [Absorbed, Absorbed, Absorbed]),
    ];

    #[test]
    fn the_table_is_that_of_the_engine() {
        let mut covered: Vec<Kind> = ENGINE.iter().map(|(active, _)| *active).collect();
        covered.sort_unstable();
        let taking: Vec<Kind> = Kind::ALL.iter().copied().filter(|kind| kind.takes_place()).collect();
        assert_eq!(covered, taking, "every kind that takes an instance's place has its row");
        for (active, says) in ENGINE {
            assert_eq!([Suspend, Terminate, Delete].map(|arriving| on_arrival(*active, arriving)), *says, "{active}");
        }
    }

    #[test]
    fn everything_else_queues_but_a_stop_behind_a_start() {
        for active in Kind::ALL.iter().copied() {
            for arriving in Kind::ALL.iter().copied().filter(|kind| !kind.is_forward_only()) {
                let gives_up = (arriving == Stop && [Start, Unpause, Restart, Reactivate].contains(&active))
                    || (active.is_background() && arriving.takes_place() && !arriving.is_background());
                assert_eq!(on_arrival(active, arriving), if gives_up { GiveUp } else { Queue }, "{arriving} meets {active}");
            }
        }
    }

    #[test]
    fn no_pair_has_two_rules() {
        for active in Kind::ALL {
            for arriving in Kind::ALL {
                let rules = PREEMPTION.iter().filter(|rule| rule.active.contains(active) && rule.arriving.contains(arriving));
                assert!(rules.count() <= 1, "{arriving} meets {active}");
            }
        }
    }

    #[test]
    fn what_waits_is_cancelled_absorbs_or_stays() {
        for queued in Kind::ALL.iter().copied() {
            assert_eq!(cancels_queued(Suspend, queued), ![Backup, Suspend, Terminate, Delete].contains(&queued), "{queued}");
            assert_eq!(cancels_queued(Terminate, queued), ![Terminate, Delete].contains(&queued), "{queued}");
            assert_eq!(cancels_queued(Delete, queued), queued != Delete, "{queued}");
            for arriving in Kind::ALL.iter().copied() {
                assert!(!(cancels_queued(arriving, queued) && absorbed_by_queued(arriving, queued)), "{arriving}, {queued}");
                assert!(arriving.is_forward_only() || !cancels_queued(arriving, queued), "{arriving}, {queued}");
            }
        }
    }
}
