//! Names of Odoo add-ons: they become names of directories and arguments, so their letters are few.

use crate::problem::Fault;

text_name! {
    /// The technical name of an Odoo module: 1 to 100 ASCII letters, digits, `_`, `-`, not starting with `_` or `-`.
    AddonName
}

impl AddonName {
    /// The most characters.
    pub const MAX_CHARS: usize = 100;

    /// Checks the rule.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let rule = if text.is_empty() {
            "Add-on names must not be empty"
        } else if text.chars().count() > Self::MAX_CHARS {
            "Add-on names must have at most 100 characters"
        } else if !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
            "Add-on names must consist of the letters a to z, digits, '_' and '-'"
        } else if text.starts_with(['_', '-']) {
            "Add-on names must start with a letter or a digit"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Fault::Rule(rule.to_owned()))
    }
}
