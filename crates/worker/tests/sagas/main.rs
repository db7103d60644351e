//! The sagas on two real servers and the fake runtime, run by the real engine; and, where Odoo 19 is installed, on real Odoo.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test that cannot go on fails")]

mod archives;
mod backups;
mod buckets;
mod drift;
mod everyday;
mod failures;
mod full_disks;
mod generic;
mod keeping;
mod kept;
mod legacy;
mod lifecycle;
mod not_lost;
mod offline;
mod place;
mod rig;
mod templates;
mod ways_back;
