//! One suite for every driver: the fake, the process driver with a stand-in for Odoo, and the process driver with real Odoo.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[cfg(feature = "fake")]
mod fake;
mod process;
mod real;
mod stage;
mod suite;
mod worker;
