//! The fake driver: a process of its own that keeps services in memory and plays Odoo's part in a database.
//!
//! It is a separate process so that its state outlives a killed worker, as a real engine's does. Workers speak to it through
//! [`FakeRuntime`]; tests script faults and read counts through [`FakeControl`], over the same socket.
//!
//! What is real in it: a one-off run fills the given database over a connection of the given role, and writes filestore files; a
//! service has at most one live process; a lost caller ends its one-off run. What is not: no Odoo, no HTTP, no limits.

mod client;
mod files;
mod one_off;
mod server;
mod state;
mod wire;

pub use client::{FakeControl, FakeRuntime};
pub use server::{ServerSettings, serve};
pub use wire::{Call, Counts, Effect, Fault, FaultClass};
