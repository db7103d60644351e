//! What the tests stand on: throw-away PostgreSQL servers, snapshots of what exists, and small stand-ins for the services
//! around ours. For development only; nothing that ships depends on it.
//!
//! Owns: servers and their data directories. Leaves to others: what is tested.
//!
//! The light part (no feature) needs neither tokio nor sqlx, so that `cargo dev` builds quickly. Feature `sql` adds
//! connections as the test superuser, `platform` a migrated postgres1, `s3` a server of objects.

pub mod catalog;
pub mod cluster;
pub mod crowd;
pub mod guard;
pub mod installation;
#[cfg(feature = "platform")]
mod migrated;
pub mod pair;
pub mod platform;
pub mod port;
pub mod random;
pub mod redis;
#[cfg(feature = "s3")]
pub mod s3;
pub mod seed;
pub mod server;
pub mod services;
#[cfg(feature = "sql")]
pub mod sql;
pub mod statements;

pub use catalog::{Difference, Snapshot};
pub use cluster::{Cluster, Options};
pub use pair::Pair;
pub use platform::Platform;
pub use server::Stop;
