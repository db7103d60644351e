//! Exchanging the live data of an instance for others that stand beside them: the service goes down, databases and directories are renamed.
//! The live names never change. Each step goes back to exactly where it began.

mod down;
mod image;
mod swap;
mod switch;

pub(super) use down::Down;
pub(super) use image::{Images, UseImage};
pub(super) use swap::Swap;
pub(super) use switch::SwitchDatabase;

use super::errors::inconsistent;
use crate::engine::{Cx, StepError};
use db::odoo::{Switch, beside};
use db::platform::instances::{Instance, Placement};
use db::platform::replaced::Replaced;
use domain::names::PhysicalName;

/// What is exchanged, from what earlier steps have recorded.
pub(super) struct Exchange {
    /// Of the directories: what is staged, and what is kept of the former.
    pub(super) number: u32,
    /// The databases.
    pub(super) switch: Switch,
}

/// How a saga finds it out; `None` while a step that it needs has recorded nothing.
pub(super) type Find = fn(&Cx, &Placement) -> Result<Option<Exchange>, StepError>;

impl Exchange {
    /// The database that serves, known by its OID, for another one, which stands beside it. Names and directories have this number
    /// afterwards.
    pub(super) fn of(
        placement: &Placement,
        number: u32,
        live_oid: u32,
        (incoming, incoming_oid): (PhysicalName, u32),
    ) -> Result<Self, StepError> {
        let live = placement.db_name.clone();
        let outgoing = beside(&live, 'o', number)?;
        let owner = placement.db_user.clone();
        Ok(Self { number, switch: Switch { live, live_oid, incoming, incoming_oid, outgoing, owner } })
    }

    /// What is kept of it afterwards, and what ran on it.
    fn replaced(&self, cx: &Cx, instance: &Instance, placement: &Placement, image: Option<String>) -> Replaced {
        Replaced {
            instance: instance.id,
            operation: cx.operation().id,
            server: placement.server,
            db_name: self.switch.outgoing.clone(),
            db_oid: self.switch.live_oid,
            number: self.number,
            image,
        }
    }
}

/// What is to be remembered when an exchange has come to its end; `image` ran before it.
pub(super) fn replaced_by(cx: &Cx, instance: &Instance, find: Find, image: Option<String>) -> Result<Replaced, StepError> {
    let placement = instance.placement.as_ref().ok_or_else(|| inconsistent("the instance is not placed"))?;
    Ok(exchanged(cx, placement, find)?.replaced(cx, instance, placement, image))
}

/// What is exchanged; by now it must be known.
fn exchanged(cx: &Cx, placement: &Placement, find: Find) -> Result<Exchange, StepError> {
    find(cx, placement)?.ok_or_else(|| inconsistent("nothing is there to be exchanged"))
}
