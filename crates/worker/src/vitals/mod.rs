//! How others learn that this worker lives: heartbeats on postgres1 for the `healthcheck` command and the API, and a port for
//! probes and metrics.

mod heartbeat;
mod port;
mod usage;

pub use heartbeat::{Heartbeat, check};
pub use port::{Port, Readiness};
