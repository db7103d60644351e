//! What is: answers of a runtime about services.

use crate::workload::{Image, Owner};
use chrono::{DateTime, Utc};
use domain::ids::OperationId;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// State of one service. An error is never folded into it: what could not be asked is not `Absent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Observed {
    /// No such service.
    Absent,
    /// It is there and down, by request.
    Stopped,
    /// It is coming up and does not accept connections yet.
    Starting,
    /// It accepts connections. Whether Odoo is well is [`Readiness`].
    Running {
        /// When the process began.
        since: DateTime<Utc>,
    },
    /// It should run, and has exited by itself.
    Failed {
        /// The last words of its log. For us: they may name servers.
        reason: String,
    },
}

impl Observed {
    /// Whether a process of the service exists, accepting or not.
    pub const fn is_up(&self) -> bool {
        matches!(self, Self::Starting | Self::Running { .. })
    }
}

/// Whether Odoo answers as a customer needs it: login page and at least one asset it names, both 200.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Readiness {
    /// It does.
    Ready,
    /// Not yet.
    NotYet {
        /// What was missing at this look.
        reason: String,
    },
}

/// One service that carries our mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Physical name.
    pub name: String,
    /// Whose it is.
    pub owner: Owner,
    /// The operation that made or last changed it.
    pub operation: OperationId,
    /// What it runs.
    pub image: Image,
    /// Its data directory.
    pub directory: PathBuf,
    /// Its state.
    pub observed: Observed,
}

/// How a one-off run ended. Odoo's exit status proves nothing: verify the outcome by query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OneOffEnd {
    /// Exit status; `None` if a signal ended it.
    pub exit: Option<i32>,
    /// Last lines of its log, oldest first.
    pub log: Vec<String>,
    /// What it printed, for a task that prints something; of others, nothing.
    pub output: String,
}
