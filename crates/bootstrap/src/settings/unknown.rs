//! Looks for variables that were meant for us and are not read: ignored ones, each named once, and misspelt ones.

use super::reader::Reader;
use super::variables::{ALL, IGNORED, IGNORED_PREFIXES, OWN_PREFIXES};
use crate::environment::Environment;

/// Warns about every variable of `environment` that nobody reads although it looks like one of ours.
pub(super) fn warn(reader: &mut Reader<'_>, environment: &Environment) {
    for name in environment.keys() {
        if is_known(name) {
            continue;
        }
        if let Some(reason) = ignored(name) {
            reader.warn(format!("{name} is ignored: {reason}"));
        } else if let Some(meant) = resembled(name) {
            reader.warn(format!("{name} is not a setting of this service; {meant} is"));
        } else if OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            reader.warn(format!("{name} is not a setting of this service"));
        }
    }
}

fn is_known(name: &str) -> bool {
    ALL.iter().any(|variable| {
        let is = |name: &str| variable.name == name || variable.older.contains(&name);
        is(name) || (variable.secret && name.strip_suffix("_FILE").is_some_and(is))
    })
}

fn ignored(name: &str) -> Option<&'static str> {
    let by_name = IGNORED.iter().find(|(ignored, _)| *ignored == name);
    let by_prefix = || IGNORED_PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix));
    by_name.or_else(by_prefix).map(|(_, reason)| *reason)
}

/// The setting that `name` differs from by one or two slips, if it is long enough for that to mean something.
fn resembled(name: &str) -> Option<&'static str> {
    let allowed = if name.len() >= 12 { 2 } else { 1 };
    (name.len() >= 6).then(|| ALL.iter().find(|variable| slips(name, variable.name) <= allowed))?.map(|variable| variable.name)
}

/// How many letters must be added, removed or replaced to turn one name into the other.
fn slips(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, b) in row.iter_mut().skip(1).zip(other) {
            left = (diagonal + usize::from(a != b)).min(*cell + 1).min(left + 1);
            diagonal = std::mem::replace(cell, left);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::slips;

    #[test]
    fn slips_are_counted() {
        for (one, other, expected) in
            [("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("RUNTME", "RUNTIME", 1), ("A", "A", 0)]
        {
            assert_eq!(slips(one, other), expected, "{one} {other}");
        }
    }
}
