//! Which template database a provisioning clones: one per server, Odoo version and demo data (contract 12.2).

use crate::ids::ServerId;
use crate::version::OdooVersion;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The key of a template; written `<server>:<version>:<demo>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TemplateKey {
    /// The server it lies on.
    pub server: ServerId,
    /// The Odoo version it was made with.
    pub version: OdooVersion,
    /// Whether it has demo data.
    pub demo: bool,
}

/// A text that is no template key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a template key is written <server>:<version>:<demo>")]
pub struct NotATemplateKey;

impl fmt::Display for TemplateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.server, self.version, self.demo)
    }
}

impl FromStr for TemplateKey {
    type Err = NotATemplateKey;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':');
        let (Some(server), Some(version), Some(demo), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return Err(NotATemplateKey);
        };
        Ok(Self {
            server: server.parse().map_err(|_| NotATemplateKey)?,
            version: OdooVersion::parse(version).ok_or(NotATemplateKey)?,
            demo: demo.parse().map_err(|_| NotATemplateKey)?,
        })
    }
}
