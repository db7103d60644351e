//! What is said over the fake runtime's socket: one JSON line each way per connection.

use crate::error::{RuntimeError, RuntimeResult};
use crate::events::Cursor;
use crate::fingerprint::fingerprint;
use crate::workload::{Files, Image, OneOff, Owner, Service, Task, Turn, Workload};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// The calls of the driver, as faults name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `resolve_image`
    ResolveImage,
    /// `free_port`
    FreePort,
    /// `ensure`
    Ensure,
    /// `observe`
    Observe,
    /// `ready`
    Ready,
    /// `stop`
    Stop,
    /// `remove`
    Remove,
    /// `logs`
    Logs,
    /// `events`
    Events,
    /// `list`
    List,
    /// `run_once`
    RunOnce,
    /// `warm_assets`
    WarmAssets,
}

/// Class of a scripted error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultClass {
    /// As [`RuntimeError::Unreachable`].
    Unreachable,
    /// As [`RuntimeError::Busy`].
    Busy,
    /// As [`RuntimeError::Transient`].
    Transient,
    /// As [`RuntimeError::Permanent`].
    Permanent,
    /// As [`RuntimeError::Foreign`].
    Foreign,
    /// As [`RuntimeError::Stale`].
    Stale,
}

/// What a scripted fault does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Nothing happens and the call fails.
    Fail(FaultClass),
    /// The call has its effect, and its answer is lost: the caller sees this error.
    FailAfter(FaultClass),
    /// The call has no effect and is never answered.
    Hang,
    /// The call is served after so many milliseconds.
    Delay(u64),
    /// For `ensure`: the service starts and exits by itself at once.
    ExitAfterStart,
    /// For `ready`: this look sees an Odoo that is not ready.
    NotReady,
    /// For `run_once`: the run does its work, and ends with this status.
    ExitStatus(i32),
}

/// A scripted fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Which call it hits.
    pub call: Call,
    /// Which service; `None` is any.
    pub service: Option<String>,
    /// How many calls it hits before it is used up.
    pub times: u32,
    /// What it does.
    pub effect: Effect,
}

/// What happened to one service since the fake runtime began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Processes started.
    pub starts: u32,
    /// Processes brought down by request.
    pub stops: u32,
    /// Times the service was removed while it was there.
    pub removes: u32,
    /// One-off runs started.
    pub one_offs: u32,
    /// One-off runs that came to their own end.
    pub one_offs_ended: u32,
    /// Most writers of its database at one moment, services and one-off runs together.
    pub most_writers: u32,
}

/// A workload as the fake needs it. It holds the password; the socket's directory is the test's own.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) name: String,
    pub(super) owner: Owner,
    pub(super) turn: Turn,
    pub(super) image: Image,
    pub(super) directory: PathBuf,
    pub(super) port: Option<u16>,
    pub(super) demo: bool,
    pub(super) host: String,
    pub(super) database_port: u16,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) fingerprint: String,
}

impl Order {
    pub(super) fn of(workload: &Workload) -> RuntimeResult<Self> {
        let database = &workload.database;
        Ok(Self {
            name: workload.service.name.clone(),
            owner: workload.service.owner,
            turn: workload.turn,
            image: workload.image.clone(),
            directory: workload.directory.clone(),
            port: workload.port,
            demo: workload.demo,
            host: database.host.clone(),
            database_port: database.port,
            database: database.name.as_str().to_owned(),
            user: database.user.as_str().to_owned(),
            password: database.password.expose_secret().to_owned(),
            fingerprint: fingerprint(workload)?,
        })
    }
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub(super) enum Request {
    ResolveImage { version: u16 },
    FreePort { taken: BTreeSet<u16> },
    Ensure { order: Order },
    Observe { service: Service },
    Ready { service: Service },
    Stop { service: Service, turn: Turn },
    Remove { service: Service, turn: Turn },
    Logs { service: Service, lines: usize },
    Events { after: Option<Cursor> },
    List,
    RunOnce { order: Order, task: Task, limit_ms: u64, files: Files },
    WarmAssets { order: Order },
    // From tests only.
    AddFault { fault: Fault },
    ClearFaults,
    FaultsLeft,
    Crash { name: String },
    Counts { name: String },
}

impl Request {
    pub(super) fn run_once(one_off: &OneOff) -> RuntimeResult<Self> {
        let limit_ms = u64::try_from(one_off.limit.as_millis()).unwrap_or(u64::MAX);
        let (order, task, files) = (Order::of(&one_off.workload)?, one_off.task.clone(), one_off.files.clone());
        Ok(Self::RunOnce { order, task, limit_ms, files })
    }

    /// Which call it is and for which service, so that faults can be matched; control requests are never hit.
    pub(super) fn subject(&self) -> Option<(Call, Option<&str>)> {
        Some(match self {
            Self::ResolveImage { .. } => (Call::ResolveImage, None),
            Self::FreePort { .. } => (Call::FreePort, None),
            Self::Ensure { order } => (Call::Ensure, Some(&order.name)),
            Self::Observe { service } => (Call::Observe, Some(&service.name)),
            Self::Ready { service } => (Call::Ready, Some(&service.name)),
            Self::Stop { service, .. } => (Call::Stop, Some(&service.name)),
            Self::Remove { service, .. } => (Call::Remove, Some(&service.name)),
            Self::Logs { service, .. } => (Call::Logs, Some(&service.name)),
            Self::Events { .. } => (Call::Events, None),
            Self::List => (Call::List, None),
            Self::RunOnce { order, .. } => (Call::RunOnce, Some(&order.name)),
            Self::WarmAssets { order } => (Call::WarmAssets, Some(&order.name)),
            Self::AddFault { .. } | Self::ClearFaults | Self::FaultsLeft | Self::Crash { .. } | Self::Counts { .. } => {
                return None;
            }
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Done(serde_json::Value),
    Failed { class: FaultClass, text: String },
    NoInstallation { version: u16, looked_for: String },
}

impl Reply {
    pub(super) fn of(result: RuntimeResult<serde_json::Value>) -> Self {
        let (class, text) = match result {
            Ok(value) => return Self::Done(value),
            Err(RuntimeError::NoInstallation { version, looked_for }) => {
                return Self::NoInstallation { version: version.major(), looked_for };
            }
            Err(RuntimeError::Unreachable(text)) => (FaultClass::Unreachable, text),
            Err(RuntimeError::Busy(text)) => (FaultClass::Busy, text),
            Err(RuntimeError::Transient(text)) => (FaultClass::Transient, text),
            Err(RuntimeError::Permanent(text)) => (FaultClass::Permanent, text),
            Err(RuntimeError::Foreign(text)) => (FaultClass::Foreign, text),
            Err(RuntimeError::Stale(text)) => (FaultClass::Stale, text),
        };
        Self::Failed { class, text }
    }
}

impl FaultClass {
    pub(super) fn error(self, text: String) -> RuntimeError {
        match self {
            Self::Unreachable => RuntimeError::Unreachable(text),
            Self::Busy => RuntimeError::Busy(text),
            Self::Transient => RuntimeError::Transient(text),
            Self::Permanent => RuntimeError::Permanent(text),
            Self::Foreign => RuntimeError::Foreign(text),
            Self::Stale => RuntimeError::Stale(text),
        }
    }
}
