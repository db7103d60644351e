//! Stories: the real binaries, two real PostgreSQL servers, a runtime, and HTTP from outside.
//!
//! Owns: starting and killing the processes of one deployment ([`Stack`]), acting as billing would, and the invariants that
//! hold after every fault. Leaves to others: the servers themselves (`testkit`), what the pieces do inside (their own tests).

mod billing;
mod binary;
mod environment;
mod fake;
pub mod faults;
pub mod flow;
pub mod invariants;
mod load;
mod login;
pub mod odoo;
mod place;
mod processes;
mod stack;
pub mod sweep;
mod wait;
pub mod whereabouts;
mod zombie;

pub use billing::{Answer, Order, bring, call, call_with, fetch};
pub use binary::Binary;
pub use fake::Fake;
pub use load::Load;
pub use login::Login;
pub use place::Place;
pub use processes::{ProcessWatch, Seen};
pub use stack::{Acknowledged, Runtime, Stack, StackOptions, Worker, real_odoo, uuid};
pub use wait::{eventually, until};
pub use zombie::Zombie;
