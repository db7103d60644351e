//! All SQL of the service, for both servers, and the types that keep the two apart.
//!
//! Owns: [`platform::PlatformDb`] (the pool on postgres1) with its repositories; the `odoo` family of connections to
//! postgres2; the transactional wake-up queue; the migrations; sealed secrets.
//! Leaves to others: which operation to run and when (`worker`), what is legal (`domain`).
//!
//! There is no conversion between the two families: passing a connection of the wrong server does not compile.

pub mod error;
pub mod migrate;
pub mod mutation;
pub mod odoo;
pub mod platform;
pub mod queue;
pub mod secrets;

pub use error::{DbError, DbResult};
