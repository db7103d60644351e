//! Runs Odoo: one trait, one driver per engine, one conformance suite for all of them (`tests/conformance`).
//!
//! Owns: services (an Odoo that should run), instance data directories with `odoo.conf` and filestore, readiness over HTTP.
//! Leaves to others: names, ports, secrets and when to do what (the worker's sagas), everything inside a database (`db`).
//!
//! Callers speak [`Workload`] and read [`Observed`]; no word of a single engine passes this crate's border.
//!
//! To add a driver: implement [`InstanceRuntime`] in a module of its own, mark everything it makes with the [`Owner`] and the
//! operation id, make every call repeatable, return [`RuntimeError::Unreachable`] whenever the engine cannot be asked, and add
//! the driver to `tests/conformance`.

pub mod account;
pub mod directory;
mod error;
mod events;
#[cfg(feature = "fake")]
pub mod fake;
mod fingerprint;
mod observed;
mod odoo_conf;
mod odoo_http;
pub mod process;
mod turn;
mod workload;

use async_trait::async_trait;
use domain::version::OdooVersion;
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::time::Duration;

pub use error::{Class, RuntimeError, RuntimeResult};
pub use events::{Cursor, Events, ServiceEvent};
pub use observed::{Listed, Observed, OneOffEnd, Readiness};
pub use workload::{Files, Image, Limits, OneOff, Owner, Service, Task, TenantDatabase, Turn, Workload};

/// An engine that runs Odoo. Every call may be repeated after a crash of the caller, by another caller. A call that changes
/// something carries a [`Turn`], in the workload or beside the service: once a service has seen a later one, also as a service
/// that it did not know, an earlier one changes nothing and fails as [`RuntimeError::Stale`].
#[async_trait]
pub trait InstanceRuntime: Send + Sync {
    /// The driver's word in the settings, e.g. `process`.
    fn name(&self) -> &'static str;

    /// What to run for this version; [`RuntimeError::NoInstallation`] if it is not there.
    async fn resolve_image(&self, version: OdooVersion) -> RuntimeResult<Image>;

    /// A host port that is free now and not in `taken`; `None` where services need no host port. Only a row makes it ours.
    async fn free_port(&self, taken: &BTreeSet<u16>) -> RuntimeResult<Option<u16>>;

    /// Makes the service run as the workload says: creates it, adopts it, or stops it and starts it anew where it differs.
    /// It does not wait until Odoo answers.
    async fn ensure(&self, workload: &Workload) -> RuntimeResult<Observed>;

    /// The state of a service.
    async fn observe(&self, service: &Service) -> RuntimeResult<Observed>;

    /// One look at Odoo's login page and an asset; at most 10 s for each request.
    async fn ready(&self, workload: &Workload) -> RuntimeResult<Readiness>;

    /// Brings the service down and returns when every process of it and its port are gone: asks first, and ends by force what
    /// is left after `grace`. A missing service is stopped.
    async fn stop(&self, service: &Service, turn: Turn, grace: Duration) -> RuntimeResult<()>;

    /// Stops the service if need be and forgets it. The data directory stays.
    async fn remove(&self, service: &Service, turn: Turn) -> RuntimeResult<()>;

    /// The last log lines, oldest first; empty for a service that was never started or is removed.
    async fn logs(&self, service: &Service, lines: usize) -> RuntimeResult<Vec<String>>;

    /// What happened to services that carry our mark after `after`, as soon as something did, at the latest after `patience`. Without
    /// a cursor nothing is told but where "now" is.
    async fn events(&self, after: Option<&Cursor>, patience: Duration) -> RuntimeResult<Events>;

    /// Every service that carries our mark.
    async fn list(&self) -> RuntimeResult<Vec<Listed>>;

    /// Runs Odoo once on the workload, whose service must be down unless the run works on staged files. Left-overs of an earlier
    /// run on the same directory are ended first. Dropping the future, or the limit, ends the run with everything it started.
    async fn run_once(&self, one_off: &OneOff) -> RuntimeResult<OneOffEnd>;

    /// Logs in to a running Odoo and fetches what login page and web client name, so that Odoo builds and stores its assets.
    /// Returns how many were fetched. Meant for templates.
    async fn warm_assets(&self, workload: &Workload, login: &str, password: &SecretString) -> RuntimeResult<usize>;
}
