//! Fault points: where a run can be disturbed on purpose (engine 16).
//!
//! The runner announces every point by itself, so a step cannot forget to have any; [`points`] lists them from the registry.
//! Only a build with feature `faults` does anything when a point is reached; in any other build an announcement is nothing.

#[cfg(feature = "faults")]
mod armed;
#[cfg(feature = "faults")]
pub use armed::{Action, Armed, EffectSeen, ErrorKind, Faults};

#[cfg(not(feature = "faults"))]
mod absent;
#[cfg(not(feature = "faults"))]
pub use absent::Faults;

use crate::engine::Registry;
use db::platform::journal::Phase;
use domain::operation::Kind;
use std::fmt;

domain::words! {
    /// When, relative to an effect.
    Moment {
        /// Recorded as started, not begun.
        Before = "before",
        /// The effect is under way.
        During = "during",
        /// Done, not recorded as done.
        After = "after",
    }
}

/// One place where a run can be disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// The operation was just claimed.
    Claim(Kind),
    /// A step of it.
    Step {
        /// Of this kind of operation.
        kind: Kind,
        /// Its name.
        step: &'static str,
        /// Forward or back.
        phase: Phase,
        /// Relative to its effect.
        moment: Moment,
    },
    /// The last transaction of a success: before it, after its statements, after its commit.
    Finish(Kind, Moment),
    /// The last transaction of a failure or cancellation.
    Unwound(Kind, Moment),
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claim(kind) => write!(f, "{kind}/claim"),
            Self::Step { kind, step, phase, moment } => write!(f, "{kind}/{step}/{phase}/{moment}"),
            Self::Finish(kind, moment) => write!(f, "{kind}/finish/{moment}"),
            Self::Unwound(kind, moment) => write!(f, "{kind}/unwound/{moment}"),
        }
    }
}

/// The point where leases are renewed; it belongs to no operation.
pub const RENEW: &str = "renew";

/// Every point of every saga, in the order of a run, and [`RENEW`].
pub fn points(registry: &Registry) -> Vec<String> {
    let mut names: Vec<String> = registry.iter().flat_map(of_saga).map(|point| point.to_string()).collect();
    names.push(RENEW.to_owned());
    names
}

fn of_saga(saga: &crate::engine::Saga) -> Vec<Point> {
    let kind = saga.kind();
    let mut points = vec![Point::Claim(kind)];
    let moments = |step, phase| Moment::ALL.iter().map(move |&moment| Point::Step { kind, step, phase, moment });
    for entry in saga.steps() {
        points.extend(moments(entry.step().name(), Phase::Apply));
    }
    points.extend(Moment::ALL.iter().map(|&moment| Point::Finish(kind, moment)));
    if !saga.is_forward_only() {
        for entry in saga.steps().iter().rev().filter(|entry| entry.undo().is_some()) {
            points.extend(moments(entry.step().name(), Phase::Undo));
        }
        points.extend(Moment::ALL.iter().map(|&moment| Point::Unwound(kind, moment)));
    }
    points
}
