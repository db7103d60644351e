//! Takes a JSON object apart, field by field. Wrong types are gathered with the field's place, so that one answer names
//! all of them; unknown fields are ignored; null is the same as absent (contract 3 and 4.2).

use crate::problem::{FieldProblem, Problem};
use domain::order::RawVersion;
use secrecy::SecretString;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// So many characters of a text are noted.
const NOTE_LENGTH: usize = 500;

/// The fields of a JSON body. Not to be printed: there may be a password among them.
pub(crate) struct Fields {
    place: Vec<String>,
    object: Map<String, Value>,
    problems: Vec<FieldProblem>,
}

impl Fields {
    /// The fields of this object.
    pub(crate) fn of(object: Map<String, Value>) -> Self {
        Self { place: vec!["body".to_owned()], object, problems: Vec::new() }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.object.remove(name).filter(|value| !value.is_null())
    }

    /// Notes that a field is not what it must be.
    pub(crate) fn wrong(&mut self, name: &str, must: &str, kind: &str) {
        let loc = self.place_of(name);
        self.problems.push(FieldProblem { loc, msg: format!("must be {must}"), kind: kind.to_owned() });
    }

    fn place_of(&self, name: &str) -> Vec<String> {
        self.place.iter().cloned().chain([name.to_owned()]).collect()
    }

    /// Notes that a field is missing.
    pub(crate) fn require(&mut self, name: &str) {
        if self.object.get(name).is_none_or(Value::is_null) {
            let loc = self.place_of(name);
            self.problems.push(FieldProblem { loc, msg: "is required".to_owned(), kind: "missing".to_owned() });
        }
    }

    /// Reads the fields of an object inside this one; an absent one is empty.
    pub(crate) fn inner<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let object = self.object(name).unwrap_or_default();
        let mut fields = Self { place: self.place_of(name), object, problems: Vec::new() };
        let value = read(&mut fields);
        self.problems.append(&mut fields.problems);
        value
    }

    /// A text. No text column of PostgreSQL takes a NUL, neither plain nor inside JSON.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) if !text.contains('\0') => return Some(text),
            Value::String(_) => self.wrong(name, "free of NUL characters", "string_nul"),
            _ => self.wrong(name, "a text", "string_type"),
        }
        None
    }

    /// A text that is only noted, such as a reason: no such text is why a request fails. It is told with every event, so a long
    /// one is cut; what cannot be stored is left out.
    pub(crate) fn note(&mut self, name: &str) -> Option<String> {
        let Value::String(text) = self.take(name)? else {
            self.wrong(name, "a text", "string_type");
            return None;
        };
        Some(text.chars().filter(|character| *character != '\0').take(NOTE_LENGTH).collect())
    }

    /// A text that must not be seen.
    pub(crate) fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// A number.
    pub(crate) fn number(&mut self, name: &str) -> Option<f64> {
        let number = self.take(name)?.as_f64();
        if number.is_none() {
            self.wrong(name, "a number", "float_type");
        }
        number
    }

    /// A whole number within limits.
    pub(crate) fn whole(&mut self, name: &str, limits: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let number = self.take(name)?.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|n| limits.contains(n));
        if number.is_none() {
            self.wrong(name, &format!("a whole number from {} to {}", limits.start(), limits.end()), "int_type");
        }
        number
    }

    /// A truth value.
    pub(crate) fn switch(&mut self, name: &str) -> Option<bool> {
        let switch = self.take(name)?.as_bool();
        if switch.is_none() {
            self.wrong(name, "true or false", "bool_type");
        }
        switch
    }

    /// A version, as text or number.
    pub(crate) fn version(&mut self, name: &str) -> Option<RawVersion> {
        match self.take(name)? {
            Value::String(text) => Some(RawVersion::Text(text)),
            Value::Number(number) => number.as_f64().map(RawVersion::Number),
            _ => {
                self.wrong(name, "a text or a number", "string_type");
                None
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let Value::Array(items) = self.take(name)? else {
            self.wrong(name, "a list", "list_type");
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            let Value::String(text) = item else {
                // One problem a field, however many items are wrong.
                self.wrong(name, "a list of texts", "string_type");
                return None;
            };
            texts.push(text);
        }
        Some(texts)
    }

    /// An object.
    pub(crate) fn object(&mut self, name: &str) -> Option<Map<String, Value>> {
        match self.take(name)? {
            Value::Object(fields) => Some(fields),
            _ => {
                self.wrong(name, "an object", "dict_type");
                None
            }
        }
    }

    /// An object whose values are texts.
    pub(crate) fn text_map(&mut self, name: &str) -> Option<BTreeMap<String, String>> {
        let mut texts = BTreeMap::new();
        for (key, value) in self.object(name)? {
            let Value::String(text) = value else {
                self.wrong(name, "an object whose values are texts", "string_type");
                return None;
            };
            texts.insert(key, text);
        }
        Some(texts)
    }

    /// A text that `parse` understands, e.g. an id or a word of an enumeration.
    pub(crate) fn parsed<T>(&mut self, name: &str, must: &str, kind: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.wrong(name, must, kind);
        }
        value
    }

    /// Ends reading: every wrong type that was found.
    pub(crate) fn into_problems(self) -> Vec<FieldProblem> {
        self.problems
    }

    /// Ends reading.
    ///
    /// # Errors
    /// 422 with every wrong type that was found.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        if self.problems.is_empty() { Ok(()) } else { Err(Problem::invalid(self.problems)) }
    }
}
