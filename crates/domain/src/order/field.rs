//! The rules of single fields that have no type of their own.

use super::{OrderRules, RawVersion};
use crate::instance::BillingStatus;
use crate::names::{AddonName, EnvName, storable};
use crate::problem::Fault;
use crate::size::{ByteSize, SizeError};
use crate::version::OdooVersion;
use crate::words::UnknownWord;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

const MAX_DESCRIPTION: usize = 500;
const MIN_PASSWORD: usize = 8;

pub(super) fn id<T: FromStr>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| Fault::form("uuid_parsing", "must be a UUID"))
}

pub(super) fn description(text: String) -> Result<String, Fault> {
    storable(&text, MAX_DESCRIPTION).map(|()| text)
}

/// A word of an enumeration.
pub(super) fn word<T: FromStr<Err = UnknownWord>>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(|unknown: UnknownWord| Fault::form("enum", unknown.to_string()))
}

pub(super) fn billing(text: &str) -> Result<BillingStatus, Fault> {
    BillingStatus::parse_client(text).map_or_else(|| word(text), Ok)
}

pub(super) fn version(raw: &RawVersion, rules: &OrderRules) -> Result<OdooVersion, Fault> {
    let version = match raw {
        RawVersion::Text(text) => OdooVersion::parse(text),
        RawVersion::Number(number) => OdooVersion::parse(&number.to_string()),
    };
    version.filter(|version| rules.supported_versions.contains(version)).ok_or_else(|| {
        let supported: Vec<String> = rules.supported_versions.iter().map(OdooVersion::to_string).collect();
        Fault::form("enum", format!("must be one of {}", supported.join(", ")))
    })
}

/// A size; `what` begins the sentence about zero.
pub(super) fn size(what: &str, text: &str) -> Result<ByteSize, Fault> {
    ByteSize::parse(text).map_err(|error| match error {
        SizeError::Zero(unit) => Fault::Rule(format!("{what} value must be positive: 0{unit}")),
        SizeError::Form | SizeError::TooLarge => Fault::form("value_error", error.to_string()),
    })
}

pub(super) fn addons(names: &[String]) -> Result<Vec<AddonName>, Fault> {
    let mut seen = BTreeSet::new();
    let parsed = names.iter().map(|name| AddonName::parse(name)).collect::<Result<Vec<_>, _>>()?;
    match parsed.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => Err(Fault::Rule(format!("Add-on '{twice}' is listed twice"))),
        None => Ok(parsed),
    }
}

/// A fault of form in any variable comes before a reserved name in another.
pub(super) fn environment(variables: BTreeMap<String, String>) -> Result<BTreeMap<EnvName, String>, Fault> {
    let mut accepted = BTreeMap::new();
    let mut reserved = None;
    for (name, value) in variables {
        storable(&value, usize::MAX)?;
        match EnvName::parse(&name) {
            Ok(name) => {
                accepted.insert(name, value);
            }
            Err(form @ Fault::Form { .. }) => return Err(form),
            Err(rule) => {
                reserved.get_or_insert(rule);
            }
        }
    }
    reserved.map_or(Ok(accepted), Err)
}

/// Checked and dropped (contract 4.2).
pub(super) fn password(password: &SecretString) -> Result<(), Fault> {
    let text = password.expose_secret();
    let mixed =
        text.chars().any(char::is_uppercase) && text.chars().any(char::is_lowercase) && text.chars().any(char::is_numeric);
    if mixed && text.chars().count() >= MIN_PASSWORD {
        return Ok(());
    }
    Err(Fault::form(
        "value_error",
        "must have at least 8 characters, among them an upper-case letter, a lower-case letter and a digit",
    ))
}

/// PostgreSQL's jsonb takes no NUL, in keys or in texts, however deep.
pub(super) fn metadata(metadata: serde_json::Map<String, Value>) -> Result<serde_json::Map<String, Value>, Fault> {
    match metadata.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)) {
        true => Err(Fault::form("value_error", "must not contain a NUL character")),
        false => Ok(metadata),
    }
}

fn holds_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(holds_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || holds_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
