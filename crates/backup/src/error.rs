//! What can go wrong with a backup, classified where it arises.

use std::io;

/// Result of a call to this crate.
pub type BackupResult<T> = Result<T, BackupError>;

/// A failed call. The text is for our log; it names objects by their keys, which hold ids and checksums only.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store could not be asked. It says nothing about what it holds.
    #[error("the backup store cannot be reached: {0}")]
    Unreachable(String),
    /// The database server cannot be reached, or went away.
    #[error("the database server is away: {0}")]
    ServerAway(String),
    /// A session on the database server was ended, or could not be had because its role has too many: a new try may have it.
    #[error("the work on the database was cut off: {0}")]
    Cut(String),
    /// There is no room left, in the store or on the database server.
    #[error("no room is left: {0}")]
    Full(String),
    /// The store refuses us.
    #[error("the backup store refuses: {0}")]
    Denied(String),
    /// An object that was asked for is not there.
    #[error("{0} is not in the backup store")]
    Missing(String),
    /// What is stored is not what was stored.
    #[error("the backup is damaged: {what}: {why}")]
    Damaged {
        /// Which object or part.
        what: String,
        /// In which way.
        why: String,
    },
    /// A file that belongs into the backup is not there, or is not what its name says. A new try may find it.
    #[error("the filestore lacks {file}: {why}")]
    Vanished {
        /// Name in the filestore.
        file: String,
        /// What was found.
        why: String,
    },
    /// What shall be backed up cannot be asked what belongs to it.
    #[error("{0}")]
    Source(String),
    /// A file or directory of this machine cannot be read or written.
    #[error("{doing}: {cause}")]
    Local {
        /// What was tried.
        doing: String,
        /// The system's words.
        #[source]
        cause: io::Error,
    },
    /// What was handed in cannot be a backup's content.
    #[error("refused: {0}")]
    Refused(String),
}

/// What the caller may do about a [`BackupError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Ask again later; conclude nothing.
    Unreachable,
    /// Wait for somebody to make room.
    Full,
    /// Try again.
    Transient,
    /// Give up.
    Permanent,
}

impl BackupError {
    /// The class of this error.
    pub fn class(&self) -> Class {
        match self {
            Self::Unreachable(_) | Self::ServerAway(_) => Class::Unreachable,
            Self::Full(_) => Class::Full,
            Self::Local { cause, .. } if is_full(cause) => Class::Full,
            Self::Local { .. } | Self::Vanished { .. } | Self::Source(_) | Self::Cut(_) => Class::Transient,
            Self::Denied(_) | Self::Missing(_) | Self::Damaged { .. } | Self::Refused(_) => Class::Permanent,
        }
    }

    pub(crate) fn local(doing: impl Into<String>, cause: impl Into<io::Error>) -> Self {
        Self::Local { doing: doing.into(), cause: cause.into() }
    }

    pub(crate) fn damaged(what: impl Into<String>, why: impl std::fmt::Display) -> Self {
        Self::Damaged { what: what.into(), why: why.to_string() }
    }

    /// As the reader of a stream gets it; [`Self::out_of`] takes it out again.
    pub(crate) fn into_io(self) -> io::Error {
        io::Error::other(self)
    }

    /// Our own error, if a stream carried one; else the stream's, met while `doing` something.
    pub(crate) fn out_of(error: io::Error, doing: &str) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(other) => Self::local(doing, other),
        }
    }
}

pub(crate) fn is_full(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Runs file work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> BackupResult<T> + Send + 'static) -> BackupResult<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => Err(BackupError::local("file work", io::Error::other(stopped))),
    }
}
