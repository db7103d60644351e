//! The invariants of engine 14, read from outside: rows, both servers' catalogues, files, the runtime, logs.
//!
//! | | holds |
//! |---|---|
//! | I1 | every operation is over, waits until a stated time, or needs attention |
//! | I2 | nothing is left that belongs to nobody: databases, roles, memberships, directories, services, locks, leases |
//! | I3 | no database ever had two writers at once |
//! | I4 | every acknowledged request exists and took effect once |
//! | I5 | a tenant beside all of it notices nothing |
//! | I6 | rows say what is |
//! | I7 | no password in any log, row or catalogue, and something was looked for |
//!
//! Owns: what is compared with what. Leaves to others: bringing the faults about. All are looked at over every instance of the
//! stack, whichever was disturbed; I5 is asked of a [`Bystander`] with a session of its own, who has to be there before.

mod bystander;
mod effects;
mod orphans;
mod reality;
mod secrets;
mod world;

pub use bystander::Bystander;
pub use secrets::Secrets;

use crate::{Stack, eventually};
use anyhow::Result;
use std::fmt;
use std::time::Duration;
use world::World;

/// How long a stack may take until nothing is queued or running any more.
const SETTLING: Duration = Duration::from_secs(60);

/// A broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub invariant: &'static str,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

/// Where violations are gathered.
#[derive(Debug, Default)]
struct Found(Vec<Violation>);

impl Found {
    fn add(&mut self, invariant: &'static str, what: impl Into<String>) {
        self.0.push(Violation { invariant, what: what.into() });
    }

    fn unless(&mut self, holds: bool, invariant: &'static str, what: impl Into<String>) {
        if !holds {
            self.add(invariant, what);
        }
    }
}

/// Waits until nothing is queued or running, then looks at everything. `secrets` grows by what is known by now.
///
/// # Errors
/// When something cannot be looked at; a violation is no error.
pub fn check(stack: &Stack, secrets: &mut Secrets) -> Result<Vec<Violation>> {
    let mut found = Found::default();
    if let Err(error) = settle(stack) {
        found.add("I1", format!("{error:#}"));
    }
    let world = World::look(stack)?;
    orphans::check(stack, &world, &mut found)?;
    effects::check(stack, &world, &mut found)?;
    reality::check(stack, &world, &mut found);
    secrets.learn(stack)?;
    secrets.check(stack, &world, &mut found)?;
    Ok(found.0)
}

/// I1: what is neither over, nor waiting, nor set aside, must become so by itself.
fn settle(stack: &Stack) -> Result<()> {
    let mut busy = String::new();
    let idle = eventually(SETTLING, "a stack in which nothing is queued or running", || {
        busy = stack.platform_sql(
            "SELECT string_agg(id || ' ' || kind || ' ' || state, ', ') FROM instance_service.operations
              WHERE state IN ('queued', 'running') OR (state = 'waiting' AND next_run_at < clock_timestamp() - interval '15 s')",
        )?;
        Ok(busy.is_empty().then_some(()))
    });
    idle.map_err(|error| error.context(busy))
}
