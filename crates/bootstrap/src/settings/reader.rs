//! Reads single variables by the table: older spellings, defaults, secrets from files, form. Gathers every problem and
//! warning on the way, so that an operator sees them all at once. A value never enters a problem if the variable is secret.

use crate::environment::Environment;
use crate::masking;
use crate::settings::variables::{Fallback, Process, Variable};
use secrecy::SecretString;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;
use url::Url;

/// One effective setting as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Variable.
    pub name: &'static str,
    /// Its value; of a secret only whether it is set.
    pub value: String,
}

/// The state of one load.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    environment: &'a Environment,
    process: Process,
    problems: Vec<String>,
    warnings: Vec<String>,
    shown: Vec<Shown>,
}

/// What a load found, beside the settings.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) shown: Vec<Shown>,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(environment: &'a Environment, process: Process) -> Self {
        Self { environment, process, problems: Vec::new(), warnings: Vec::new(), shown: Vec::new() }
    }

    pub(crate) fn finish(self) -> Findings {
        Findings { problems: self.problems, warnings: self.warnings, shown: self.shown }
    }

    pub(crate) fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    pub(crate) const fn problem_count(&self) -> usize {
        self.problems.len()
    }

    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// A value that may be absent. Set but empty counts as not set: compose files write `NAME=${NAME:-}`.
    pub(crate) fn optional(&mut self, variable: &Variable) -> Option<String> {
        let value = self.plain(variable);
        if value.is_some() && !variable.in_effect {
            self.warn(format!("{} has no effect in this build", variable.name));
        }
        let value = value.or(match variable.fallback {
            Fallback::Value(value) => Some(value.to_owned()),
            Fallback::Unset | Fallback::Required | Fallback::Derived(_) => None,
        });
        let shown = match (&value, variable.fallback) {
            (Some(value), _) => masking::mask(value),
            (None, Fallback::Derived(words)) => format!("(as {words})"),
            (None, _) => "(not set)".to_owned(),
        };
        self.show(variable, shown);
        value
    }

    /// A value that must be there, from the environment or by its default.
    pub(crate) fn text(&mut self, variable: &Variable) -> Option<String> {
        let value = self.optional(variable);
        if value.is_none() {
            self.problem(format!("{} is required", variable.name));
        }
        value
    }

    /// A value with a default that other settings decide.
    pub(crate) fn text_or(&mut self, variable: &Variable, derived: Option<&str>) -> Option<String> {
        match self.optional(variable) {
            Some(value) => Some(value),
            None => derived.map(str::to_owned),
        }
    }

    /// A value of any type that says by itself what is wrong with a text.
    pub(crate) fn parsed<T>(&mut self, variable: &Variable, must: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let text = self.text(variable)?;
        self.check(variable, &text, must, parse)
    }

    /// The same, absent allowed.
    pub(crate) fn parsed_optional<T>(
        &mut self,
        variable: &Variable,
        must: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.optional(variable) {
            Some(text) => self.check(variable, &text, must, parse).map(Some),
            None => Some(None),
        }
    }

    /// A whole number within limits.
    pub(crate) fn number<T>(&mut self, variable: &Variable, limits: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        let must = format!("a whole number from {} to {}", limits.start(), limits.end());
        self.parsed(variable, &must, |text| text.parse().ok().filter(|n| limits.contains(n)))
    }

    /// A number of seconds within limits.
    pub(crate) fn seconds(&mut self, variable: &Variable, limits: RangeInclusive<u64>) -> Option<Duration> {
        self.number(variable, limits).map(Duration::from_secs)
    }

    /// A switch.
    pub(crate) fn switch(&mut self, variable: &Variable) -> Option<bool> {
        self.parsed(variable, "true or false", |text| match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    /// The base address of a peer, without a slash at its end.
    pub(crate) fn base_url(&mut self, variable: &Variable, derived: Option<&str>) -> Option<Url> {
        let text = self.text_or(variable, derived)?;
        self.check(variable, &text, "an http or https address without user, query or fragment", plain_base_url)
    }

    /// A secret that must be there.
    pub(crate) fn secret(&mut self, variable: &Variable) -> Option<SecretString> {
        let before = self.problem_count();
        let value = self.optional_secret(variable);
        if value.is_none() && self.problem_count() == before {
            self.problem(format!("{0} (or {0}_FILE) is required", variable.name));
        }
        value
    }

    /// A secret that may be absent. Set but empty is an error: an empty password never is what somebody wants.
    pub(crate) fn optional_secret(&mut self, variable: &Variable) -> Option<SecretString> {
        let mut found = None;
        for name in std::iter::once(&variable.name).chain(variable.older) {
            let value = secret_by_name(self.environment, name).unwrap_or_else(|problem| {
                self.problem(problem);
                None
            });
            if let (Some((taken, first)), Some(second)) = (&found, &value)
                && first != second
            {
                self.warn(format!("{taken} and {name} differ; {taken} is used"));
            }
            if found.is_none() {
                found = value.map(|value| (*name, value));
            }
        }
        self.show(variable, if found.is_some() { "(set)" } else { "(not set)" }.to_owned());
        let (name, value) = found?;
        if value.contains("change_me") {
            self.warn(format!("{name} looks like a placeholder"));
        }
        if !variable.in_effect {
            self.warn(format!("{name} has no effect in this build"));
        }
        Some(value.into())
    }

    fn plain(&mut self, variable: &Variable) -> Option<String> {
        let names = || std::iter::once(&variable.name).chain(variable.older);
        let mut set = names().filter_map(|name| self.environment.get(*name).filter(|v| !v.is_empty()).map(|v| (*name, v)));
        set.next().map(|(_, value)| value.clone())
    }

    /// Warns when a name and an older spelling of it are both set and say different things.
    pub(crate) fn warn_of_two_spellings(&mut self, variable: &Variable) {
        let Some(newer) = self.environment.get(variable.name) else { return };
        for older in variable.older {
            if self.environment.get(*older).is_some_and(|value| value != newer) {
                self.warn(format!("{} and {older} differ; {} is used", variable.name, variable.name));
            }
        }
    }

    fn check<T>(&mut self, variable: &Variable, text: &str, must: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let value = parse(text);
        if value.is_none() {
            self.problem(format!("{} must be {must}, not `{}`", variable.name, masking::mask(text)));
        }
        value
    }

    fn show(&mut self, variable: &Variable, value: String) {
        debug_assert!(
            variable.readers.contains(&self.process),
            "{} is not declared as read by {:?}",
            variable.name,
            self.process
        );
        self.shown.push(Shown { name: variable.name, value });
    }
}

/// The value of `<name>`, or the content of the file that `<name>_FILE` names; not both, and not empty.
pub(super) fn secret_by_name(environment: &Environment, name: &str) -> Result<Option<String>, String> {
    let file_name = format!("{name}_FILE");
    let (from, value) = match (environment.get(name), environment.get(&file_name)) {
        (Some(_), Some(_)) => return Err(format!("{name} and {file_name} are both set")),
        (None, None) => return Ok(None),
        (Some(value), None) => (name, value.clone()),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{file_name} cannot be read: {error}"))?;
            (file_name.as_str(), text.strip_suffix('\n').unwrap_or(&text).to_owned())
        }
    };
    if value.is_empty() {
        return Err(format!("{from} is empty"));
    }
    Ok(Some(value))
}

/// An address that paths can be put behind.
pub(super) fn plain_base_url(text: &str) -> Option<Url> {
    let url = Url::parse(text.trim_end_matches('/')).ok()?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}
