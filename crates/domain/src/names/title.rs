//! Free text: the instance's name, and what any text must be to be stored.

use crate::problem::Fault;

text_name! {
    /// What the customer calls the instance: 1 to 100 characters of any kind, not only blanks.
    InstanceName
}

impl InstanceName {
    /// The most characters.
    pub const MAX_CHARS: usize = 100;

    /// Checks the rule; the text stays as it is.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        if text.trim().is_empty() {
            return Err(Fault::form("string_too_short", "must not be empty or blank"));
        }
        storable(text, Self::MAX_CHARS).map(|()| Self(text.to_owned()))
    }
}

/// Whether PostgreSQL can store `text` in a column of `max_chars`: it counts characters and takes no NUL.
pub fn storable(text: &str, max_chars: usize) -> Result<(), Fault> {
    if text.chars().count() > max_chars {
        return Err(Fault::form("string_too_long", format!("must have at most {max_chars} characters")));
    }
    if text.contains('\0') {
        return Err(Fault::form("value_error", "must not contain a NUL character"));
    }
    Ok(())
}
