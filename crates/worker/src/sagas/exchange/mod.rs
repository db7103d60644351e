//! Exchanging the live data of an instance for others that stand beside them: the service goes down, databases and directories are renamed.
//! The live names never change. Each step goes back to exactly where it began.

mod down;
mod swap;
mod switch;

pub(super) use down::Down;
pub(super) use swap::Swap;
pub(super) use switch::SwitchDatabase;

use super::site::Site;
use crate::engine::{Cx, StepError};
use db::odoo::Switch;

/// What is exchanged, from what earlier steps have recorded.
pub(super) struct Exchange {
    /// Of the directories: what is staged, and what is kept of the former.
    pub(super) number: u32,
    /// The databases.
    pub(super) switch: Switch,
}

/// How a saga finds it out; `None` while a step that it needs has recorded nothing.
pub(super) type Find = fn(&Cx, &Site) -> Result<Option<Exchange>, StepError>;
