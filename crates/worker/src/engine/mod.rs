//! The durable engine: claims operations, walks their sagas, survives crashes (engine.md).
//!
//! Owns: the saga runner, the lease, the sweeper, the transport of wake-ups, fault points.
//! Leaves to others: what a saga does (`sagas`), the SQL (`db`).

mod attempt;
mod context;
mod decision;
pub mod faults;
mod keeper;
#[cfg(feature = "faults")]
pub mod proving;
mod registry;
mod runner;
mod saga;
mod settings;
mod step;
mod sweeper;
mod transport;
mod walk;
mod write;

pub use crate::services::Services;
pub use context::Cx;
pub use registry::{Registry, RegistryError};
pub use runner::Engine;
pub use saga::{Admission, Ends, Outcome, Saga, StepEntry, UnfinishedStep};
pub use settings::{EngineSettings, Slots};
pub use step::{Seen, Step, StepError, Undo, Verdict};
pub use transport::{Apalis, Handler, Transport, TransportError};
