//! The background work against real servers: loops over instances and Odoo servers, delivery of mails, signs of life.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod instances;
mod mails;
mod rig;
mod servers;
mod vitals;
mod watcher;
