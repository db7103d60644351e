//! What a sweep measured, as a table.

use super::Point;
use anyhow::Result;
use std::fmt;
use std::time::Duration;

/// What one kill led to.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// From the kill to the next owner's first step; none when nothing was left to do.
    pub takeover: Option<Duration>,
    /// From the kill to the end of the operation.
    pub convergence: Duration,
    /// Whether the effect was caught in its middle; none at a point before or after it.
    pub caught: Option<bool>,
}

/// Steps that take a server long enough that a sweep which never catches one in its middle is not looking.
const LONG: [&str; 2] = ["/database/apply/during", "/drop_database/apply/during"];

/// The outcome of a sweep.
#[derive(Debug, Default)]
pub struct Report {
    good: Vec<(Point, Measured)>,
    bad: Vec<(Point, String)>,
}

impl Report {
    pub(super) fn add(&mut self, point: Point, outcome: Result<Measured>) {
        match outcome {
            Ok(measured) => self.good.push((point, measured)),
            Err(error) => self.bad.push((point, format!("{error:#}"))),
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.good.extend(other.good);
        self.bad.extend(other.bad);
    }

    /// What went wrong, one text for each point, and for each kind of point that never struck where it should.
    pub fn failures(&self) -> Vec<String> {
        let bad = self.bad.iter().map(|(point, why)| format!("{point}: {why}"));
        bad.chain(LONG.iter().filter(|part| self.always_late(part)).map(|part| format!("no {part} was under way"))).collect()
    }

    /// Whether points of this name were killed at, and each of them only when its effect was over.
    fn always_late(&self, part: &str) -> bool {
        let mut these = self.good.iter().filter(|(point, _)| point.name.ends_with(part)).peekable();
        these.peek().is_some() && these.all(|(_, measured)| measured.caught != Some(true))
    }

    /// Points in the middle of an effect, and how many found it there.
    fn caught(&self) -> (usize, usize) {
        let during: Vec<bool> = self.good.iter().filter_map(|(_, measured)| measured.caught).collect();
        (during.iter().filter(|caught| **caught).count(), during.len())
    }

    /// How many points were killed at.
    pub fn points(&self) -> usize {
        self.good.len() + self.bad.len()
    }

    fn takeovers(&self) -> Vec<Duration> {
        let mut all: Vec<Duration> = self.good.iter().filter_map(|(_, measured)| measured.takeover).collect();
        all.sort();
        all
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<&str> = self.good.iter().map(|(point, _)| point.kind.as_str()).collect();
        kinds.sort_unstable();
        kinds.dedup();
        writeln!(
            f,
            "{:<16} {:>6} {:>13} {:>13} {:>15} {:>17}",
            "operation", "points", "takeover p50", "takeover max", "longest to end", "caught under way"
        )?;
        for kind in kinds {
            let good = self.good.iter().filter(|(point, _)| point.kind == kind).cloned().collect();
            Self { good, bad: Vec::new() }.line(f, kind)?;
        }
        self.line(f, "all")?;
        writeln!(f, "failed: {}", self.bad.len())?;
        self.bad.iter().try_for_each(|(point, why)| writeln!(f, "FAILED {point}: {why}"))
    }
}

impl Report {
    fn line(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let takeovers = self.takeovers();
        let middle = takeovers.get(takeovers.len() / 2).copied().unwrap_or_default();
        let most = takeovers.last().copied().unwrap_or_default();
        let longest = self.good.iter().map(|(_, measured)| measured.convergence).max().unwrap_or_default();
        let points = self.points();
        let (middle, most, longest) = (middle.as_secs_f64(), most.as_secs_f64(), longest.as_secs_f64());
        let (caught, during) = self.caught();
        let caught = format!("{caught} of {during}");
        writeln!(f, "{name:<16} {points:>6} {middle:>11.2} s {most:>11.2} s {longest:>13.2} s {caught:>17}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(caught: Option<bool>) -> Report {
        let point = Point::parse("delete/drop_database/apply/during", &[]).unwrap();
        let measured = Measured { takeover: None, convergence: Duration::ZERO, caught };
        Report { good: vec![(point, measured)], bad: Vec::new() }
    }

    #[test]
    fn a_sweep_that_always_comes_late_fails() {
        assert_eq!(report(Some(true)).failures(), Vec::<String>::new());
        assert_eq!(report(Some(false)).failures(), ["no /drop_database/apply/during was under way"]);
        assert_eq!(report(None).failures().len(), 1);
    }
}
