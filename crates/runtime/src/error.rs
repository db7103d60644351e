//! What can go wrong at a runtime, classified where it arises.
//!
//! Owns: the classes and the two texts (for us, for a customer). Leaves to others: what follows from a class, which is the engine's.

use domain::version::OdooVersion;
use std::io;

/// The result of a call to a runtime.
pub type RuntimeResult<T> = Result<T, RuntimeError>;

/// A failed call to a runtime. The text is for us and never holds a secret; [`RuntimeError::public`] is for a customer.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The runtime, or the storage under it, could not be asked. It says nothing about what is there.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// Somebody else is at it, or stands still there. It says nothing against the work.
    #[error("busy: {0}")]
    Busy(String),
    /// It did not work this time; the same call may work later.
    #[error("{0}")]
    Transient(String),
    /// It will not work however often it is tried.
    #[error("{0}")]
    Permanent(String),
    /// No installation or image of this Odoo version is there.
    #[error("Odoo {version} is not installed: {looked_for} is missing or cannot be executed")]
    NoInstallation {
        /// The version that was asked for.
        version: OdooVersion,
        /// Where it should have been.
        looked_for: String,
    },
    /// Something that is not ours stands under our name. It is never adopted and never removed.
    #[error("not ours: {0}")]
    Foreign(String),
    /// A later turn has been here: the caller was overtaken and must change nothing more.
    #[error("overtaken: {0}")]
    Stale(String),
}

/// What the caller may do about a [`RuntimeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Ask again later; conclude nothing.
    Unreachable,
    /// Come back later; nothing was tried.
    Busy,
    /// Try again.
    Transient,
    /// Give up.
    Permanent,
    /// Give up and touch nothing.
    Foreign,
    /// The lease is lost: somebody else has the operation.
    Stale,
}

impl RuntimeError {
    /// The class of this error.
    pub const fn class(&self) -> Class {
        match self {
            Self::Unreachable(_) => Class::Unreachable,
            Self::Busy(_) => Class::Busy,
            Self::Transient(_) => Class::Transient,
            Self::Permanent(_) | Self::NoInstallation { .. } => Class::Permanent,
            Self::Foreign(_) => Class::Foreign,
            Self::Stale(_) => Class::Stale,
        }
    }

    /// The same in words that a customer may read.
    pub fn public(&self) -> String {
        match self {
            Self::Unreachable(_) => "The platform that runs Odoo cannot be reached at the moment".into(),
            Self::Busy(_) | Self::Transient(_) | Self::Stale(_) => "The platform that runs Odoo is busy".into(),
            Self::Permanent(_) => "Odoo could not be started".into(),
            Self::NoInstallation { version, .. } => format!("Odoo {version} is not available on this platform"),
            Self::Foreign(_) => "The place of this instance is taken by something else".into(),
        }
    }

    /// Classifies a failed file operation; `doing` names it, for example `create /srv/odoo_1f2e`.
    pub(crate) fn io(doing: impl std::fmt::Display, cause: &io::Error) -> Self {
        let text = format!("{doing}: {cause}");
        match cause.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Self::Permanent(text),
            io::ErrorKind::StaleNetworkFileHandle | io::ErrorKind::TimedOut | io::ErrorKind::NotConnected => {
                Self::Unreachable(text)
            }
            _ if cause.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Self::Unreachable(text),
            _ => Self::Transient(text),
        }
    }
}

/// Runs file work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> RuntimeResult<T> + Send + 'static) -> RuntimeResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => Err(RuntimeError::Transient(format!("file work ended early: {stopped}"))),
    }
}
