//! From the accepted call to the first step, on an otherwise idle machine.

use crate::figures::{Figures, goal};
use anyhow::{Context, Result};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stories::{Stack, StackOptions};

const ROUNDS: usize = 200;

#[derive(Default)]
struct Measured {
    /// The client has its answer; the first step begins. Both by the clock of this machine.
    from_answer: Figures,
    /// The row was inserted, some statements and a commit before the answer.
    from_row: Figures,
}

pub(crate) fn run() -> Result<bool> {
    // What the tests log of each statement is no part of it.
    let settings = vec![("log_statement".to_owned(), "none".to_owned())];
    let stack = Stack::start(&StackOptions { durable: true, settings, ..StackOptions::default() })?;
    let mut measured = Measured::default();
    let (warm, operation) = stack.provision(&stack.order("warm_up")?)?;
    stack.await_success(&operation, Duration::from_secs(120))?;
    for round in 0..ROUNDS {
        let order = stack.order(&format!("round_{round}"))?;
        let (instance, operation) = stack.provision(&order)?;
        measured.add(&stack, &operation, SystemTime::now())?;
        let removal = stack.remove(&instance)?;
        measured.add(&stack, &removal, SystemTime::now())?;
    }
    stack.remove(&warm)?;
    measured.from_row.print("row inserted to first step");
    measured.from_answer.print("call answered to first step");
    let median = goal("p50 of accepted call to first step", measured.from_answer.median(), 5.0);
    Ok(goal("p99 of accepted call to first step", measured.from_answer.quantile(0.99), 25.0) && median)
}

impl Measured {
    /// Waits without looking too soon: a look is work for the same two processors.
    fn add(&mut self, stack: &Stack, operation: &str, answered: SystemTime) -> Result<()> {
        std::thread::sleep(Duration::from_millis(200));
        stack.await_success(operation, Duration::from_secs(60))?;
        let sql = format!(
            "SELECT extract(epoch FROM o.created_at) || ' ' || extract(epoch FROM min(s.started_at))
               FROM instance_service.operations o JOIN instance_service.operation_steps s ON s.operation_id = o.id
              WHERE o.id = '{operation}' GROUP BY o.created_at"
        );
        let said = stack.platform_sql(&sql)?;
        let (row, step) = said.trim().split_once(' ').context("not two times")?;
        let (row, step): (f64, f64) = (row.parse()?, step.parse()?);
        self.from_row.add_value((step - row) * 1000.0);
        // A step may begin before the client has read its answer.
        self.from_answer.add_value(((step - answered.duration_since(UNIX_EPOCH)?.as_secs_f64()) * 1000.0).max(0.0));
        Ok(())
    }
}
