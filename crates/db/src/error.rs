//! What can go wrong with a database, classified where it arises.

use crate::secrets::SecretError;

/// Result of a database call.
pub type DbResult<T> = Result<T, DbError>;

/// A database error. Its text is for our log, never for a customer.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// The server could not be reached, or no connection was free in time. Says nothing about what exists there.
    #[error("{server} cannot be reached: {cause}")]
    Unreachable {
        /// Which server, e.g. `postgres1` or a registered server's name.
        server: String,
        /// The driver's words.
        cause: String,
    },
    /// A named constraint refused the write; the caller maps the name to one client error.
    #[error("constraint {constraint} refused the write")]
    Constraint {
        /// Name of the constraint or unique index.
        constraint: String,
    },
    /// The row changed while the request was being decided: read again and decide again.
    #[error("the row changed meanwhile")]
    Stale,
    /// The lease of this operation belongs to somebody else now: write nothing more.
    #[error("the lease was lost")]
    LeaseLost,
    /// What is stored cannot be what we wrote.
    #[error("inconsistent data in {table}.{column} of {row}: {why}")]
    Inconsistent {
        /// Table name.
        table: &'static str,
        /// Column name.
        column: &'static str,
        /// Which row.
        row: String,
        /// What is wrong with it.
        why: String,
    },
    /// A stored secret cannot be sealed or opened.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Anything else the driver reports.
    #[error("database error: {0}")]
    Driver(#[source] sqlx::Error),
}

/// SQLSTATEs that say that the server cannot be used now, not that the statement is wrong (PostgreSQL docs, appendix A): it ends or
/// starts, has no connection left, ended an idle transaction or a statement that took too long, is a standby, or lacks the database.
const UNREACHABLE: &[&str] = &["57P01", "57P02", "57P03", "53300", "25P03", "57014", "25006", "3D000"];

/// A lock was not to be had in time.
pub(crate) const LOCK_NOT_AVAILABLE: &str = "55P03";

/// Whether the connection ended, before or instead of an answer: the network's word, or the server's last one to a session that an
/// operator ends or that ends with the server.
pub(crate) fn was_cut(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_)) || matches!(sqlstate_of(error).as_deref(), Some("57P01" | "57P02"))
}

/// SQLSTATE of the server's answer, if it gave one.
pub(crate) fn sqlstate_of(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}

impl DbError {
    /// SQLSTATE of the server's answer, if it gave one.
    pub fn sqlstate(&self) -> Option<String> {
        match self {
            Self::Driver(error) => sqlstate_of(error),
            _ => None,
        }
    }

    /// Whether a lock was not to be had in time: somebody else is at work on the same rows.
    pub fn is_lock_timeout(&self) -> bool {
        self.sqlstate().as_deref() == Some(LOCK_NOT_AVAILABLE)
    }

    /// Whether the server was not reached at all (as opposed to: answered with an error).
    pub const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    /// Classifies a driver error of the server called `server`. Connection trouble is SQLSTATE class 08 or 28, one of
    /// `UNREACHABLE`, an input or output error, or a pool that had nothing free in time.
    pub fn classify(server: &str, error: sqlx::Error) -> Self {
        let unreachable = match &error {
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            sqlx::Error::Database(db) => {
                db.code().is_some_and(|code| code.starts_with("08") || code.starts_with("28") || UNREACHABLE.contains(&&*code))
            }
            _ => false,
        };
        if unreachable {
            return Self::Unreachable { server: server.to_owned(), cause: error.to_string() };
        }
        if let sqlx::Error::Database(db) = &error
            && let Some(constraint) = db.constraint()
        {
            return Self::Constraint { constraint: constraint.to_owned() };
        }
        Self::Driver(error)
    }
}

/// Errors of postgres1, the only pool: `?` classifies them. Errors of an Odoo server are classified with its name at the call site.
impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        Self::classify("postgres1", error)
    }
}
