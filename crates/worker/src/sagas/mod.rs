//! What each kind of operation does: one folder a kind, read in this order: parameters, list of steps with their undo, the two
//! ends; one file a step.
//!
//! Owns: the steps, what each records, and the words that customers read when one fails. Leaves to others: when a step runs,
//! is repeated or taken back (`engine`); SQL (`db`); files and processes (`runtime`).
//!
//! To add a saga: a folder here, a line in [`all`], and the generic tests and the crash sweep find it by themselves. A step
//! that changes roles or databases does so through [`site::Site::fence`]. What is random is drawn and recorded by a step of
//! its own before anything uses it.

mod accepted;
mod apply_resources;
mod backup;
mod bring_up;
pub mod build_template;
mod delete;
mod errors;
mod exchange;
mod export;
mod fetch_logs;
mod forget_replaced;
mod hashing;
mod import;
mod mails;
mod maintenance;
mod passwords;
mod provision;
mod prune_backups;
mod reconcile;
mod restart;
mod restore;
#[cfg(feature = "faults")]
mod sight;
mod site;
mod start;
mod stop;
mod suspend;
mod takedown;
mod template;
mod terminate;
mod tools;
mod undo_restore;
mod update;
mod verify_backup;
mod waiting;

#[cfg(feature = "faults")]
pub use sight::effect_seen;
pub use tools::{Addresses, Tools};

use crate::engine::Saga;
use domain::operation::Kind;
use std::sync::Arc;

/// Every saga of this release.
pub fn all(tools: &Arc<Tools>) -> Vec<Saga> {
    vec![
        provision::saga(tools),
        build_template::saga(tools),
        start::saga(Kind::Start, tools),
        start::saga(Kind::Unpause, tools),
        start::saga(Kind::Reactivate, tools),
        stop::saga(tools),
        restart::saga(tools),
        apply_resources::saga(tools),
        suspend::saga(tools),
        terminate::saga(tools),
        delete::saga(tools),
        backup::saga(tools),
        restore::saga(tools),
        update::saga(tools),
        undo_restore::saga(tools),
        verify_backup::saga(tools),
        prune_backups::saga(tools),
        export::saga(tools),
        import::saga(tools),
        forget_replaced::saga(tools),
        fetch_logs::saga(tools),
        reconcile::saga(tools),
    ]
}
