//! The real clock and the real randomness; everything else takes them as parameters.

use chrono::{DateTime, Utc};
use domain::sources::{Clock, Entropy};

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one implementation that the others are given")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A generator seeded, and seeded again as it goes, by the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[allow(clippy::disallowed_methods, reason = "the one implementation that the others are given")]
    fn fill(&self, bytes: &mut [u8]) {
        rand::Rng::fill_bytes(&mut rand::rng(), bytes);
    }
}
