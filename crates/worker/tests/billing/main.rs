//! Following the billing engine, against a real postgres1 and a stand-in for the engine.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod lives;
mod rig;
mod stories;
