//! `database_name`: the customer's label. It names nothing physical (contract 13.3).

use crate::problem::Fault;

text_name! {
    /// 1 to 50 ASCII letters, digits, `_`, `-`, in lower case; a letter or digit first, no `-` last.
    DatabaseLabel
}

const RESERVED: &[&str] =
    &["postgres", "template0", "template1", "admin", "root", "master", "system", "test", "temp", "public", "information_schema"];

impl DatabaseLabel {
    /// The most characters.
    pub const MAX_CHARS: usize = 50;

    /// Checks the form (422), then whether the name is reserved (400), and lower-cases it.
    pub fn parse(text: &str) -> Result<Self, Fault> {
        let label = text.to_ascii_lowercase();
        check_form(&label)?;
        if RESERVED.contains(&label.as_str()) {
            return Err(Fault::Rule(format!("Database name '{label}' is reserved")));
        }
        Ok(Self(label))
    }
}

fn check_form(label: &str) -> Result<(), Fault> {
    if label.is_empty() {
        return Err(Fault::form("string_too_short", "must not be empty"));
    }
    if label.chars().count() > DatabaseLabel::MAX_CHARS {
        return Err(Fault::form("string_too_long", "must have at most 50 characters"));
    }
    if !label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
        return Err(Fault::form("value_error", "must consist of the letters a to z, digits, '_' and '-'"));
    }
    if label.starts_with(['_', '-']) {
        return Err(Fault::form("value_error", "must start with a letter or a digit"));
    }
    if label.ends_with('-') {
        return Err(Fault::form("value_error", "must not end with '-'"));
    }
    Ok(())
}
