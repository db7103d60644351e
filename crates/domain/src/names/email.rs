//! E-mail addresses: only what keeps mail from being misdirected; whether it arrives, only sending tells.

use super::storable;
use crate::problem::Fault;

text_name! {
    /// The administrator's address: something on both sides of one `@`, no blanks or control characters (contract 4.2).
    AdminEmail
}

impl AdminEmail {
    /// The most characters.
    pub const MAX_CHARS: usize = 255;

    /// Checks the rule; the text stays as it is.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        storable(text, Self::MAX_CHARS)?;
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Fault::form("value_error", "must not contain blanks or control characters"));
        }
        match text.split_once('@') {
            Some((name, host)) if !name.is_empty() && !host.is_empty() && !host.contains('@') => Ok(Self(text.to_owned())),
            _ => Err(Fault::form("value_error", "must be an e-mail address, such as name@example.com")),
        }
    }
}
