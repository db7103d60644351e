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
}

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

    /// What went wrong, one text for each point.
    pub fn failures(&self) -> Vec<String> {
        self.bad.iter().map(|(point, why)| format!("{point}: {why}")).collect()
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
            "{:<16} {:>6} {:>13} {:>13} {:>15}",
            "operation", "points", "takeover p50", "takeover max", "longest to end"
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
        writeln!(f, "{name:<16} {points:>6} {middle:>11.2} s {most:>11.2} s {longest:>13.2} s")
    }
}
