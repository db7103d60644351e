//! The instance state machine (contract 6): separate axes, events, and one table that says which event moves what.
//!
//! Owns what is legal. Leaves to others: storing ([`Axes`] is loaded and compared-and-set by `db`), who may ask, and
//! whether an operation is active (a row with [`Transition::idle`] must only be used while none is).
//!
//! A new event: its word in [`EventName`], its variant in [`Event`], its rows in [`TRANSITIONS`]; the exhaustive tests,
//! the refusals and the diagram follow from the table.

mod action;
mod axes;
mod diagram;
mod event;
mod gate;
mod refusal;
mod table;
mod transition;
mod words;

#[cfg(test)]
mod tests;

pub use action::{ACTIONS, Action, Answer, Situation, actions_table, answer, shows};
pub use axes::Axes;
pub use diagram::diagram;
pub use event::{Event, EventName};
pub use gate::{Closed, gate, may_start};
pub use table::TRANSITIONS;
pub use transition::{Change, Guard, Message, NotAllowed, To, Transition, Why, apply, create, find};
pub use words::{
    BillingStatus, DbType, DesiredState, InstanceType, ObservedState, Phase, ProvisioningStatus, Status, Suspension,
};
