//! What an operation has to itself while it is active: at most one runs per scope (engine 5, 10).

use crate::ids::{InstanceId, OperationId};
use crate::template::TemplateKey;
use std::fmt;
use std::str::FromStr;

/// The scope of an operation; its text is stored, and names the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `instance:<id>`: everything that changes an instance.
    Instance(InstanceId),
    /// `template:<server>:<version>:<demo>`: one builder at a time per key.
    Template(TemplateKey),
    /// `own:<operation id>`: shares nothing with any other operation.
    Own(OperationId),
}

/// A text that is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a scope is written instance:<id>, template:<server>:<version>:<demo> or own:<operation id>")]
pub struct NotAScope;

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(id) => write!(f, "instance:{id}"),
            Self::Template(key) => write!(f, "template:{key}"),
            Self::Own(id) => write!(f, "own:{id}"),
        }
    }
}

impl FromStr for Scope {
    type Err = NotAScope;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("instance", id)) => id.parse().map(Self::Instance).map_err(|_| NotAScope),
            Some(("template", key)) => key.parse().map(Self::Template).map_err(|_| NotAScope),
            Some(("own", id)) => id.parse().map(Self::Own).map_err(|_| NotAScope),
            _ => Err(NotAScope),
        }
    }
}
