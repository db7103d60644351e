//! The crash sweep (engine 16): at every fault point of every operation a real worker process is killed, another takes over,
//! and afterwards everything is as if nothing had happened.
//!
//! Owns: which points there are and which of them a run takes, several deployments side by side, what was measured.
//! Leaves to others: one kill ([`lane`]), what has to hold afterwards (`invariants`).

mod lane;
mod plan;
mod report;

pub use lane::Lane;
pub use plan::{Length, Plan, Point, Way};
pub use report::{Measured, Report};

use crate::Runtime;
use anyhow::Result;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Deployments side by side. Most of the time of a point is waiting for a lease to run out.
const LANES: usize = 6;

/// Kills a worker at each of these points. A point that fails is in the report; an error is about the sweep itself.
///
/// # Errors
/// When a deployment cannot be started or looked at.
pub fn run(points: Vec<Point>, runtime: &Runtime) -> Result<Report> {
    let lanes = match runtime {
        Runtime::Fake => LANES.min(points.len()),
        // It is busy, and so are both processors.
        Runtime::Process { .. } => 1,
    };
    let waiting = Mutex::new(VecDeque::from(points));
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let mut report = Report::default();
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..lanes).map(|_| scope.spawn(|| along(&next, runtime))).collect();
        for lane in running {
            match lane.join() {
                Ok(part) => report.merge(part?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(report)
    })
}

fn along(next: &impl Fn() -> Option<Point>, runtime: &Runtime) -> Result<Report> {
    let mut report = Report::default();
    let mut lane = Lane::start(runtime)?;
    while let Some(point) = next() {
        let outcome = lane.kill_at(&point);
        let failed = outcome.as_ref().err().map(|error| format!("{point}: {error:#}"));
        report.add(point, outcome);
        if let Some(failed) = failed {
            // At once: the whole report is lost if no other deployment can be started.
            eprintln!("{failed}");
            // What one point left behind must not be held against the next.
            lane = Lane::start(runtime)?;
        }
    }
    Ok(report)
}
