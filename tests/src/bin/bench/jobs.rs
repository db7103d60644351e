//! From the accepted call to the first step, on an otherwise idle machine.

use crate::figures::{Figures, goal};
use anyhow::{Context, Result};
use std::time::Duration;
use stories::{Stack, StackOptions};

const ROUNDS: usize = 200;

pub(crate) fn run() -> Result<bool> {
    let stack = Stack::start(&StackOptions { durable: true, ..StackOptions::default() })?;
    let mut accepted_to_step = Figures::default();
    let (warm, operation) = stack.provision(&stack.order("warm_up")?)?;
    stack.await_success(&operation, Duration::from_secs(120))?;
    for round in 0..ROUNDS {
        let (instance, operation) = stack.provision(&stack.order(&format!("round_{round}"))?)?;
        stack.await_success(&operation, Duration::from_secs(60))?;
        accepted_to_step.add_millis(pick_up(&stack, &operation)?);
        let removal = stack.remove(&instance)?;
        stack.await_success(&removal, Duration::from_secs(60))?;
        accepted_to_step.add_millis(pick_up(&stack, &removal)?);
    }
    stack.remove(&warm)?;
    accepted_to_step.print("accepted call to first step, by the database's clock");
    let median = goal("p50", accepted_to_step.median(), 5.0);
    Ok(goal("p99", accepted_to_step.quantile(0.99), 25.0) && median)
}

/// `created_at` is taken in the accepting transaction, before its commit: the figure includes that commit.
fn pick_up(stack: &Stack, operation: &str) -> Result<f64> {
    let sql = format!(
        "SELECT extract(epoch FROM min(s.started_at) - o.created_at) * 1000
           FROM instance_service.operations o JOIN instance_service.operation_steps s ON s.operation_id = o.id
          WHERE o.id = '{operation}' GROUP BY o.created_at"
    );
    stack.platform_sql(&sql)?.trim().parse().context("not a number")
}
