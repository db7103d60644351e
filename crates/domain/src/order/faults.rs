//! Collects what is wrong with an order: every fault of form, and the first house rule that is broken.

use crate::problem::{Fault, FieldError, Refusal};

#[derive(Debug, Default)]
pub(super) struct Faults {
    form: Vec<FieldError>,
    first_rule: Option<String>,
}

impl Faults {
    /// The value of a field; its fault goes on the list.
    pub(super) fn take<T>(&mut self, field: &str, read: Result<T, Fault>) -> Option<T> {
        match read {
            Ok(value) => return Some(value),
            Err(Fault::Form { msg, kind }) => self.form.push(FieldError { field: field.to_owned(), msg, kind }),
            Err(Fault::Rule(text)) => {
                self.first_rule.get_or_insert(text);
            }
        }
        None
    }

    /// The value of a field that must be there.
    pub(super) fn required<T, U>(&mut self, field: &str, raw: Option<T>, read: impl FnOnce(T) -> Result<U, Fault>) -> Option<U> {
        self.take(field, raw.ok_or_else(|| Fault::form("missing", "is required")).and_then(read))
    }

    /// The value of a field that may be absent: `Some(None)` if it is.
    pub(super) fn optional<T, U>(
        &mut self,
        field: &str,
        raw: Option<T>,
        read: impl FnOnce(T) -> Result<U, Fault>,
    ) -> Option<Option<U>> {
        self.take(field, raw.map(read).transpose())
    }

    /// Whether a field has the wrong form.
    pub(super) fn any_of_form(&self) -> bool {
        !self.form.is_empty()
    }

    /// The answer: faults of form come before house rules.
    pub(super) fn into_refusal(self) -> Refusal {
        match self.first_rule {
            Some(text) if self.form.is_empty() => Refusal::Rule(text),
            _ => Refusal::Schema(self.form),
        }
    }
}
