//! What can go wrong on an Odoo server, with the verdict of engine chapter 12 given where the error arises.
//!
//! Leaves to others: what a verdict leads to (the worker's engine).

use crate::error::sqlstate_of;

/// Result of a call to an Odoo server.
pub type OdooResult<T> = Result<T, OdooError>;

/// What the engine shall do about an [`OdooError`]; one to one with its own verdicts (engine 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Try again soon; an attempt is used.
    Retry,
    /// Wait for the server or for another holder; no attempt is used.
    Snooze,
    /// It will never work: undo.
    Permanent,
    /// A later owner is at work: write nothing more.
    LeaseLost,
    /// Stop, keep everything, tell an operator.
    NeedsAttention,
}

/// An error of an Odoo server. Its text is for our log, never for a customer.
#[derive(Debug, thiserror::Error)]
pub enum OdooError {
    /// The server was not reached or is going down; says nothing about what exists there.
    #[error("{server} cannot be reached: {cause}")]
    Unreachable {
        /// Registered name of the server.
        server: String,
        /// The driver's words.
        cause: String,
    },
    /// The server has not answered for a while, and is not tried for each who wants it.
    #[error("{server} has not answered for a while; it is tried again in {after:?}")]
    Away {
        /// Registered name of the server.
        server: String,
        /// When to come back.
        after: std::time::Duration,
    },
    /// The server's disk is full (53100): wait, and tell an operator.
    #[error("{server} has no disk space left: {cause}")]
    DiskFull {
        /// Registered name of the server.
        server: String,
        /// The driver's words.
        cause: String,
    },
    /// What was done inside a tenant's database was cut off, and the server is there: the tenant's code may have done that.
    #[error("{server} is there, and work inside a tenant's database was cut off: {cause}")]
    Cut {
        /// Registered name of the server.
        server: String,
        /// The driver's words.
        cause: String,
    },
    /// Somebody else is at it, and time will tell: another holder of the fence, a session that is not ours to end.
    #[error("busy: {holder}")]
    Busy {
        /// What is known of the holder.
        holder: String,
    },
    /// A later owner's token was seen: this owner is outdated.
    #[error("a later owner is at work")]
    StaleToken,
    /// An object that is not ours has our name: never adopted, never dropped.
    #[error("{what} exists and is not ours")]
    Foreign {
        /// The object.
        what: String,
    },
    /// What the row recorded is not what the server has.
    #[error("{what}: recorded {expected}, found {found}")]
    Mismatch {
        /// The object.
        what: String,
        /// What the row says.
        expected: String,
        /// What the server says.
        found: String,
    },
    /// A drop would fail on these; an operator has to remove them first.
    #[error("{what} is held by {}", .holders.join(", "))]
    Blocked {
        /// The object.
        what: String,
        /// Prepared transactions, slots, subscriptions or sessions, by name.
        holders: Vec<String>,
    },
    /// The template database is missing or cannot be cloned.
    #[error("template {template} cannot be cloned: {cause}")]
    TemplateUnusable {
        /// Its database.
        template: String,
        /// Why.
        cause: String,
    },
    /// Something that has to exist does not.
    #[error("{what} does not exist")]
    Missing {
        /// The object.
        what: String,
    },
    /// What was loaded, copied or written does not hold what it must: it is of no use.
    #[error("{what} is of no use: {}", .faults.join("; "))]
    Unfit {
        /// The object.
        what: String,
        /// What is not so, one sentence each.
        faults: Vec<String>,
    },
    /// Our role lacks a right or its password is wrong (42501, class 28): the bootstrap is incomplete.
    #[error("{server} refuses our role ({sqlstate}): {cause}")]
    Refused {
        /// Registered name of the server.
        server: String,
        /// SQLSTATE of the answer.
        sqlstate: String,
        /// The driver's words.
        cause: String,
    },
    /// Anything else the server reports.
    #[error("{server} answers {}: {source}", sqlstate_of(.source).unwrap_or_else(|| "without a code".to_owned()))]
    Server {
        /// Registered name of the server.
        server: String,
        /// The driver's error.
        #[source]
        source: sqlx::Error,
    },
}

impl OdooError {
    /// What the engine shall do about it.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Unreachable { .. } | Self::Away { .. } | Self::DiskFull { .. } | Self::Busy { .. } => Verdict::Snooze,
            Self::StaleToken => Verdict::LeaseLost,
            Self::Foreign { .. } | Self::Unfit { .. } => Verdict::Permanent,
            Self::Mismatch { .. } | Self::Blocked { .. } | Self::Refused { .. } => Verdict::NeedsAttention,
            // Our statement does not fit what is there; the next try would be the same statement.
            Self::Server { source, .. }
                if sqlstate_of(source).is_some_and(|code| matches!(&*code, "42601" | "42703" | "42883" | "42P01")) =>
            {
                Verdict::Permanent
            }
            Self::TemplateUnusable { .. } | Self::Missing { .. } | Self::Cut { .. } | Self::Server { .. } => Verdict::Retry,
        }
    }

    /// SQLSTATE of the server's answer, if this is one.
    pub fn sqlstate(&self) -> Option<String> {
        match self {
            Self::Refused { sqlstate, .. } => Some(sqlstate.clone()),
            Self::Server { source, .. } => sqlstate_of(source),
            _ => None,
        }
    }

    /// The database that was to be entered is not there (3D000), or lets nobody in (55000).
    pub(super) fn is_no_entry(&self) -> bool {
        self.sqlstate().is_some_and(|code| matches!(&*code, "3D000" | "55000"))
    }

    /// Whether an object of that name was there already. A race shows as 23505 on the catalogue's index (engine 12).
    pub(crate) fn is_duplicate(&self) -> bool {
        self.sqlstate().is_some_and(|code| matches!(&*code, "42P04" | "42710" | "23505"))
    }

    /// Classifies a driver error of `server` (SQLSTATE: PostgreSQL docs, appendix A; verdicts: engine 12).
    pub(crate) fn classify(server: &str, source: sqlx::Error) -> Self {
        let server = server.to_owned();
        match sqlstate_of(&source) {
            // Of one role or database only: a tenant has opened all that it may.
            Some(code) if code == "53300" && is_own_limit(&source) => Self::Server { server, source },
            // 25006: it takes no writes, as one that has just become, or stopped being, a standby.
            Some(code) if code.starts_with("08") || matches!(&*code, "57P01" | "57P02" | "57P03" | "53300" | "25006") => {
                Self::Unreachable { server, cause: source.to_string() }
            }
            Some(code) if code == "53100" => Self::DiskFull { server, cause: source.to_string() },
            Some(code) if code == "42501" || code.starts_with("28") => {
                Self::Refused { server, sqlstate: code, cause: source.to_string() }
            }
            Some(_) => Self::Server { server, source },
            None if lost_connection(&source) => Self::Unreachable { server, cause: source.to_string() },
            None => Self::Server { server, source },
        }
    }
}

/// PostgreSQL source, `InitializeSessionUserId` and `CheckMyDatabase`: `too many connections for role "..."`, `... for database "..."`.
fn is_own_limit(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| {
        let text = error.message();
        text.contains("too many connections for role") || text.contains("too many connections for database")
    })
}

const fn lost_connection(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed)
}
