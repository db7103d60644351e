//! A worker that was stopped with its fence in hand, while another took over and finished; then it wakes up again.

use crate::{Stack, until};
use anyhow::{Context, Result};
use rustix::process::Signal;
use serde::Deserialize;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A stopped worker whose operation has ended without it, and whose instance is gone.
pub struct Zombie {
    worker: usize,
    /// What it worked on.
    pub operation: String,
    /// Stands for the instance in names of sessions on postgres2.
    pub mark: String,
    /// The token it holds.
    pub token: i64,
}

#[derive(Deserialize)]
struct Held {
    lease_token: i64,
    mark: String,
}

impl Zombie {
    /// Stops the only worker of the stack between its fence and the change behind it; lets another worker provision and then
    /// delete the instance. `mutations` are mistakes to be made meanwhile.
    ///
    /// # Errors
    /// When it does not come to that.
    pub fn make(stack: &mut Stack, mutations: &[&str]) -> Result<Self> {
        let all: Vec<&str> = mutations.iter().copied().chain(["stall_in_fence"]).collect();
        stack.faults().mutate(&[], &all)?;
        let (instance, operation) = stack.provision(&stack.order("undead")?)?;
        let faults = stack.faults();
        until(PATIENCE, "a worker with its fence in hand", || Ok(faults.stalled().then_some(())))?;
        let held: Vec<Held> = stack.platform_rows(&format!(
            "SELECT o.lease_token, i.mark FROM instance_service.operations o JOIN public.instances i ON i.id = o.instance_id
              WHERE o.id = '{operation}'"
        ))?;
        let held = held.into_iter().next().context("the operation has no row")?;
        let worker = stack.workers.len() - 1;
        stack.workers[worker].process.signal(Signal::STOP)?;
        stack.start_worker()?;
        stack.await_success(&operation, PATIENCE)?;
        let removed = stack.remove(&instance)?;
        stack.await_success(&removed, PATIENCE)?;
        Ok(Self { worker, operation, mark: held.mark, token: held.lease_token })
    }

    /// Lets it go on from where it was stopped.
    ///
    /// # Errors
    /// When it cannot be woken.
    pub fn wake(&self, stack: &Stack) -> Result<()> {
        stack.faults().resume()?;
        stack.workers[self.worker].process.signal(Signal::CONT)
    }

    /// Waits until it has noticed, by its own log, that it is not the owner any more.
    ///
    /// # Errors
    /// When it does not.
    pub fn await_insight(&self, stack: &Stack) -> Result<()> {
        let process = &stack.workers[self.worker].process;
        until(PATIENCE, "a worker that knows that it lost its lease", || {
            Ok(process.output()?.contains("lease counts as lost").then_some(()))
        })
    }

    /// Statements with which it changed anything on postgres2.
    ///
    /// # Errors
    /// When the server's log cannot be read.
    pub fn changes(&self, stack: &Stack) -> Result<Vec<String>> {
        let name = format!("ois:{}:{}", self.mark, self.token);
        let changing =
            |sql: &&str| ["CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "COMMENT"].iter().any(|word| sql.starts_with(word));
        let entries = stack.pair.postgres2.log_entries()?;
        let theirs = entries.iter().filter(|entry| entry.application == name);
        Ok(theirs.filter_map(|entry| entry.statement().filter(changing)).map(str::to_owned).collect())
    }
}
