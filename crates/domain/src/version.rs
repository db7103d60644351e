//! Odoo versions: only the major counts (contract 4.2).

use serde::{Deserialize, Serialize};
use std::fmt;

/// An Odoo major version, e.g. 19.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OdooVersion(u16);

impl OdooVersion {
    /// The version with this major number.
    pub const fn new(major: u16) -> Self {
        Self(major)
    }

    /// The major number.
    pub const fn major(self) -> u16 {
        self.0
    }

    /// Reads `17`, `17.0`, `v17` and the like; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        let major = text.strip_suffix(".0").unwrap_or(text);
        if major.is_empty() || major.len() > 3 || !major.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        major.parse().ok().filter(|m| *m > 0).map(Self)
    }
}

impl fmt::Display for OdooVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_major_counts() {
        for text in ["17", "17.0", "v17", "V17.0"] {
            assert_eq!(OdooVersion::parse(text), Some(OdooVersion::new(17)), "{text}");
        }
        for text in ["", "0", "v", "17.", "17.1", "17.0.0", "+17", " 17", "1700", "vv17", "-17", "١٧"] {
            assert_eq!(OdooVersion::parse(text), None, "{text}");
        }
    }
}
