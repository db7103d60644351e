//! Figures of several rounds, and goals on them.

use std::time::Duration;

/// One kind of measurement, in milliseconds.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<f64>);

impl Figures {
    pub(crate) fn add(&mut self, time: Duration) {
        self.add_millis(time.as_secs_f64() * 1000.0);
    }

    pub(crate) fn add_millis(&mut self, millis: f64) {
        self.0.push(millis);
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
    let met = value <= limit;
    println!("{} {what}: {value:.1} ms, goal {limit:.1} ms", if met { "met   " } else { "MISSED" });
    met
}
