//! Backups written, read, damaged and interrupted, in a store on disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod archive;
mod conformance;
mod damage;
mod hostile;
mod interruptions;
mod legacy;
mod odoo_zip;
#[cfg(feature = "s3")]
mod outages;
mod plain_sql;
mod rig;
mod round_trip;
mod server;
