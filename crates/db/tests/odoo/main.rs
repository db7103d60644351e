//! The Odoo side of `db` against a real server, with the roles that the bootstrap script makes.

#![allow(clippy::unwrap_used, missing_docs, reason = "a test that cannot go on fails")]

mod beside;
mod content;
mod databases;
mod fence;
mod isolation;
mod lane;
mod probe;
mod real;
mod repair;
mod reset;
mod rig;
mod roles;
mod snapshot;
mod switch;
