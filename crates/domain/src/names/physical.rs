//! Names of things on servers: random and opaque, so that nobody who sees one learns anything (contract 13.1).

use crate::sources::Entropy;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Sixteen random lower-case hex digits.
fn hex16(entropy: &dyn Entropy) -> String {
    let mut bytes = [0_u8; 8];
    entropy.fill(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The name of a database or role on postgres2. Opaque: adopted ones keep whatever name they have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhysicalName(String);

/// A text that PostgreSQL would refuse or cut as an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a physical name has 1 to 63 bytes, none of them NUL")]
pub struct NotAPhysicalName;

impl PhysicalName {
    /// PostgreSQL cuts longer identifiers, with no more than a notice.
    pub const MAX_BYTES: usize = 63;
    const MAX_PREFIX: usize = 40;

    /// Takes over a name that exists or is recorded.
    pub fn new(name: impl Into<String>) -> Result<Self, NotAPhysicalName> {
        let name = name.into();
        let fits = !name.is_empty() && name.len() <= Self::MAX_BYTES && !name.contains('\0');
        if fits { Ok(Self(name)) } else { Err(NotAPhysicalName) }
    }

    /// A new name `<prefix>_<16 hex digits>`. Of the prefix, 40 letters, digits and underscores are used.
    pub fn generate(prefix: &str, entropy: &dyn Entropy) -> Self {
        Self::from_parts(prefix, &hex16(entropy))
    }

    fn from_parts(prefix: &str, hex: &str) -> Self {
        let usable = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        let prefix: String = prefix.chars().filter(usable).take(Self::MAX_PREFIX).collect();
        Self(format!("{prefix}_{hex}"))
    }

    /// The name, unquoted.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PhysicalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for PhysicalName {
    type Error = NotAPhysicalName;
    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl From<PhysicalName> for String {
    fn from(name: PhysicalName) -> Self {
        name.0
    }
}

/// All names of one instance, drawn together once and then only read from its row (contract 13.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceNames {
    /// Its database: `odoo_<hex>`.
    pub database: PhysicalName,
    /// The role that owns it: `odoo_<hex>`.
    pub role: PhysicalName,
    /// Its service at the runtime: `odoo-<hex>`.
    pub service: String,
    /// Its directory below the root of all: `odoo_<hex>`.
    pub directory: String,
}

impl InstanceNames {
    /// Draws new names.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        let hex = hex16(entropy);
        let database = PhysicalName::from_parts("odoo", &hex);
        Self { role: database.clone(), database, service: format!("odoo-{hex}"), directory: format!("odoo_{hex}") }
    }
}

/// The random token that marks an instance's objects on postgres2, where tenants can read comments and application
/// names. It says whose an object is to us, and nothing to anybody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mark(String);

/// A text that is no mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a mark has 16 lower-case hex digits")]
pub struct NotAMark;

impl Mark {
    /// Draws a new mark.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(hex16(entropy))
    }

    /// Reads a recorded mark.
    pub fn parse(text: &str) -> Result<Self, NotAMark> {
        let is_hex = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if is_hex { Ok(Self(text.to_owned())) } else { Err(NotAMark) }
    }

    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Mark {
    type Error = NotAMark;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<Mark> for String {
    fn from(mark: Mark) -> Self {
        mark.0
    }
}
