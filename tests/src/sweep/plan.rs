//! Which points a run of the sweep takes.

use crate::faults;
use anyhow::{Context, Result, bail};
use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Operations that change nothing: there is nothing that a kill could leave behind.
const READING: &[&str] = &["fetch_logs"];
/// Kinds that are the saga of another one under another name.
const ALIASES: &[&str] = &["unpause", "reactivate"];
/// About how many points a bounded run takes.
const BOUNDED: usize = 20;
/// About how many points are taken on real Odoo: in a bounded run, and in a full one. Each takes half a minute.
const REAL_BOUNDED: usize = 2;
const REAL_FULL: usize = 12;

/// The variable that chooses the day.
const DAY: &str = "INSTANCE_SWEEP_DAY";

/// How much of it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Length {
    /// Another part each day.
    Rotating,
    /// Everything.
    Full,
    /// The points whose names contain this text.
    Matching(String),
}

impl Length {
    /// What `INSTANCE_SWEEP` names, everything with `INSTANCE_SOAK=1`, else a part.
    #[allow(clippy::disallowed_methods, reason = "a test reads its own environment")]
    pub fn from_environment() -> Self {
        match (std::env::var("INSTANCE_SWEEP"), std::env::var("INSTANCE_SOAK")) {
            (Ok(text), _) => Self::Matching(text),
            (_, Ok(value)) if value == "1" => Self::Full,
            _ => Self::Rotating,
        }
    }
}

/// Whether the operation is on its way forward or back when its worker is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Applying steps.
    Forward,
    /// Undoing them, after the last one failed.
    Back,
}

/// A fault point, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// As the worker lists it.
    pub name: String,
    /// The operation to start.
    pub kind: String,
    /// Which way it has to go.
    pub way: Way,
    /// The point where it is made to fail, so that it goes back.
    pub turn: Option<String>,
    /// It is reached only by an operation that takes a while.
    pub slow: bool,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// All points, and those of this run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many there are.
    pub all: usize,
    /// Those of this run.
    pub chosen: Vec<Point>,
    /// What decided.
    pub rule: String,
}

impl Plan {
    /// Asks the worker for all points and chooses.
    ///
    /// # Errors
    /// When the worker cannot say, or lists a point that nobody knows how to reach.
    pub fn make(length: Length) -> Result<Self> {
        let reads = |name: &String| READING.iter().any(|kind| name.split('/').next() == Some(kind));
        let names: Vec<String> = faults::points()?.into_iter().filter(|name| !reads(name)).collect();
        let points: Vec<Point> = names.iter().map(|name| Point::parse(name, &names)).collect::<Result<_>>()?;
        // In full, an alias is killed where it differs: at its two ends and where the database is opened that a terminate closed.
        let differs = |point: &Point| {
            !ALIASES.contains(&point.kind.as_str())
                || ["claim", "finish", "unwound", "open_database"].iter().any(|part| point.name.contains(part))
        };
        match length {
            Length::Full => {
                let chosen: Vec<Point> = points.iter().filter(|point| differs(point)).cloned().collect();
                Ok(Self { all: points.len(), chosen, rule: "all but what two kinds have in common".to_owned() })
            }
            Length::Matching(text) => Ok(Self::matching(points, &text)),
            Length::Rotating => Ok(Self::rotating(points, BOUNDED, day()?)),
        }
    }

    /// The same for real Odoo, always a part that changes from day to day. A bounded run leaves out the making of templates,
    /// which initialises Odoo each time.
    ///
    /// # Errors
    /// As [`Plan::make`].
    pub fn on_real_odoo(length: Length) -> Result<Self> {
        // Slowing a runtime down is something that only the fake one can be asked for.
        let points: Vec<Point> = Self::make(Length::Full)?.chosen.into_iter().filter(|point| !point.slow).collect();
        match length {
            Length::Full => Ok(Self::rotating(points, REAL_FULL, day()?)),
            Length::Matching(text) => Ok(Self::matching(points, &text)),
            Length::Rotating => {
                let quick = points.into_iter().filter(|point| point.kind != "build_template").collect();
                Ok(Self::rotating(quick, REAL_BOUNDED, day()?))
            }
        }
    }

    fn matching(points: Vec<Point>, text: &str) -> Self {
        let all = points.len();
        let chosen = points.into_iter().filter(|point| point.name.contains(text)).collect();
        Self { all, chosen, rule: format!("those that contain {text:?}") }
    }

    /// About so many of them.
    fn rotating(points: Vec<Point>, about: usize, day: usize) -> Self {
        let all = points.len();
        let every = all.div_ceil(about).max(1);
        let first = day % every;
        let chosen = points.into_iter().skip(first).step_by(every).collect();
        Self { all, chosen, rule: format!("every {every}th, beginning with number {first} (again with {DAY}={day})") }
    }
}

/// The number of the day that `INSTANCE_SWEEP_DAY` names, so that a run can be repeated; else today's.
#[allow(clippy::disallowed_methods, reason = "a test reads its own environment")]
fn day() -> Result<usize> {
    match std::env::var(DAY) {
        Ok(text) => text.parse().with_context(|| format!("{DAY}={text} is not a number")),
        Err(_) => Ok(usize::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400)?),
    }
}

impl Point {
    /// Reads a name: `renew`, `<kind>/claim`, `<kind>/finish|unwound/<moment>`, `<kind>/<step>/apply|undo/<moment>`.
    ///
    /// # Errors
    /// When it has another form.
    pub fn parse(name: &str, all: &[String]) -> Result<Self> {
        let parts: Vec<&str> = name.split('/').collect();
        let (kind, way) = match parts.as_slice() {
            ["renew"] => ("provision", Way::Forward),
            [kind, "claim"] | [kind, "finish", _] | [kind, _, "apply", _] => (*kind, Way::Forward),
            [kind, "unwound", _] | [kind, _, "undo", _] => (*kind, Way::Back),
            _ => bail!("nobody knows how to reach the fault point {name}"),
        };
        let turn = match way {
            Way::Forward => None,
            Way::Back => Some(last_step(kind, all)?),
        };
        Ok(Self { name: name.to_owned(), kind: kind.to_owned(), way, turn, slow: parts == ["renew"] })
    }
}

/// The end of the last step of a kind, where every step has been started.
///
/// # Errors
/// When the kind has no steps.
fn last_step(kind: &str, all: &[String]) -> Result<String> {
    let ours =
        |name: &&String| name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/') && rest.ends_with("/apply/after"));
    all.iter().rev().find(ours).cloned().with_context(|| format!("{kind} has no steps"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_says_how_it_is_reached() {
        let all: Vec<String> = ["a/claim", "a/x/apply/after", "a/y/apply/after", "a/x/undo/during", "ab/z/apply/after", "renew"]
            .map(str::to_owned)
            .to_vec();
        let point = Point::parse("a/x/undo/during", &all).unwrap();
        assert_eq!((point.kind.as_str(), point.way, point.turn.as_deref()), ("a", Way::Back, Some("a/y/apply/after")));
        assert_eq!(Point::parse("a/claim", &all).unwrap().way, Way::Forward);
        assert!(Point::parse("renew", &all).unwrap().slow);
        assert!(Point::parse("a/b", &all).is_err());
    }

    #[test]
    fn a_day_chooses_always_the_same_and_two_days_differ() {
        let points = || (0..40).map(|n| Point::parse(&format!("a/s{n}/apply/after"), &[]).unwrap()).collect();
        let of = |day| Plan::rotating(points(), 20, day).chosen;
        assert_eq!((of(7).len(), of(7) == of(7), of(7) == of(8)), (20, true, false));
        assert!(Plan::rotating(points(), 20, 7).rule.ends_with("(again with INSTANCE_SWEEP_DAY=7)"));
    }
}
