//! The rules of the instance service, as pure data and pure functions.
//!
//! Owns: typed ids, names, sizes, the instance state machine (one transition table), operations and their payloads.
//! Leaves to others: every effect. No tokio, sqlx, axum, environment, clock reads or randomness enter this crate.

pub mod backup;
pub mod billing_event;
pub mod endpoint;
pub mod ids;
pub mod instance;
pub mod names;
pub mod operation;
pub mod order;
pub mod preemption;
pub mod problem;
pub mod scope;
pub mod size;
pub mod sources;
pub mod template;
pub mod times;
pub mod version;
pub mod words;
