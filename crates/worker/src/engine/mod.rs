//! The durable engine: claims operations, walks their sagas, survives crashes (engine.md).
//!
//! Owns: the saga runner, the lease, the sweeper, the transport of wake-ups, fault points.
//! Leaves to others: what a saga does (`sagas`), the SQL (`db`).

mod context;
mod registry;
mod saga;
mod step;

pub use crate::services::Services;
pub use context::Cx;
pub use registry::{Registry, RegistryError};
pub use saga::{Admission, Ends, Outcome, Saga, StepEntry, UnfinishedStep};
pub use step::{Seen, Step, StepError, Undo, Verdict};
