//! What makes a process of this service: settings, logs, shutdown, time, randomness, HTTP clients.
//!
//! Owns: reading the environment (nobody else does), the table of all variables, the masking of log lines, the metrics
//! recorder, the one TLS provider.
//! Leaves to others: what the settings mean in action.
//!
//! To add a variable: one row in [`settings::variables`], one field in a section, and a run of
//! `instance-admin configuration > docs/configuration.md`.

pub mod environment;
pub mod http;
pub mod masking;
pub mod settings;
pub mod shutdown;
pub mod sources;
pub mod telemetry;
pub mod tls;

pub use environment::Environment;
pub use sources::{OsEntropy, SystemClock};
