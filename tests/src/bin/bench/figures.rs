//! Figures of several rounds, and goals on them.

use std::time::Duration;

/// One kind of measurement, in milliseconds unless said otherwise.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn add(&mut self, time: Duration) {
        self.add_value(time.as_secs_f64() * 1000.0);
    }

    pub(crate) fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut millis: Vec<f64> = times.map(|time| time.as_secs_f64() * 1000.0).collect();
        millis.sort_by(f64::total_cmp);
        Self(millis)
    }

    /// Milliseconds, or how many a second.
    pub(crate) fn add_value(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// The value below which this share of the figures lies (nearest rank).
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let count = self.0.len();
        // Counts of rounds are far below 2^52, so the conversions are exact.
        let rank = (share * count as f64).ceil() as usize;
        self.0.get(rank.clamp(1, count.max(1)) - 1).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn print(&self, what: &str) {
        let (least, most) = (self.quantile(0.0), self.quantile(1.0));
        println!("{what:<58} {:>8.1} ms   ({least:.1} to {most:.1}, {} rounds)", self.median(), self.0.len());
    }
}

/// Prints a goal and whether it is met.
pub(crate) fn goal(what: &str, value: f64, limit: f64) -> bool {
    goal_in("ms", what, value, limit)
}

/// The same in another unit.
pub(crate) fn goal_in(unit: &str, what: &str, value: f64, limit: f64) -> bool {
    let met = value <= limit;
    println!("{} {what}: {value:.1} {unit}, goal {limit:.1} {unit}", if met { "met   " } else { "MISSED" });
    met
}

/// A goal to reach.
pub(crate) fn at_least(what: &str, value: f64, least: f64) -> bool {
    let met = value >= least;
    println!("{} {what}: {value:.0}, goal {least:.0}", if met { "met   " } else { "MISSED" });
    met
}
