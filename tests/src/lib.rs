//! Stories: the real binaries, two real PostgreSQL servers, a runtime, and HTTP from outside.
//!
//! Owns: starting and killing the processes of one deployment ([`Stack`]), acting as billing would, and the invariants that
//! hold after every fault. Leaves to others: the servers themselves (`testkit`), what the pieces do inside (their own tests).

mod billing;
mod binary;
mod stack;
mod wait;

pub use billing::{Answer, Order, call};
pub use binary::Binary;
pub use stack::{Runtime, Stack, StackOptions, Worker, real_odoo, uuid};
pub use wait::until;
