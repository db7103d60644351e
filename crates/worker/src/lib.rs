//! Carries operations out, and keeps watch. The binary is `instance-worker`.
//!
//! Owns: the durable engine ([`engine`]), what each kind of operation does ([`sagas`]), the loops that compare what should be with what is
//! ([`reconcile`]), the [`watcher`] of what happens at the runtime, the delivery of mails ([`outbox`]), following the
//! billing engine ([`billing`]), the archives that are handed over to and from the API ([`transfer`]), the worker's signs of life
//! ([`vitals`]), taking over what the earlier service left ([`adoption`]).
//! Leaves to others: SQL (`db`), what runs Odoo (`runtime`), what is legal (`domain`), accepting requests (`api`).

pub mod adoption;
pub mod billing;
pub mod engine;
pub mod outbox;
pub mod reconcile;
pub mod sagas;
pub mod services;
pub mod transfer;
pub mod vitals;
pub mod watcher;
pub mod wishes;

use bootstrap::settings::{BuiltIn, Driver};

const BUCKETS: bool = cfg!(feature = "s3");

/// What this build can do.
#[cfg(not(feature = "faults"))]
pub const BUILT_IN: BuiltIn = BuiltIn { drivers: &[Driver::Process], fault_points: false, quotas: false, buckets: BUCKETS };
/// What this build can do.
#[cfg(feature = "faults")]
pub const BUILT_IN: BuiltIn =
    BuiltIn { drivers: &[Driver::Process, Driver::Fake], fault_points: true, quotas: false, buckets: BUCKETS };
