//! Waiting on a condition, with a limit that says what was missing.

use anyhow::{Result, bail};
use std::time::{Duration, Instant};

/// Looks again every 20 ms until `look` has something, at most for `limit`.
///
/// # Errors
/// When the limit is over, naming `what` was waited for; or at once with an error of `look`.
pub fn until<T>(limit: Duration, what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    every(Duration::from_millis(20), limit, what, look)
}

/// The same, every 200 ms: for looks that cost a process, where nothing is measured by them.
///
/// # Errors
/// As [`until`].
pub fn eventually<T>(limit: Duration, what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    every(Duration::from_millis(200), limit, what, look)
}

fn every<T>(pause: Duration, limit: Duration, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if begin.elapsed() > limit {
            bail!("not within {limit:?}: {what}");
        }
        std::thread::sleep(pause);
    }
}
