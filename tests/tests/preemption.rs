//! Who wins when requests meet on one instance: suspend, terminate and delete against whatever is under way, servers that hang, and many
//! callers at once (contract 11.3).

use anyhow::{Context, Result, ensure};
use runtime::fake::{Call, Effect, Fault};
use serde_json::{Value, json};
use std::time::Duration;
use stories::invariants::{self, Secrets};
use stories::{Stack, StackOptions, call, until};
use testkit::Stop;

const PATIENCE: Duration = Duration::from_secs(120);

fn running(stack: &Stack, label: &str) -> Result<String> {
    let (instance, operation) = stack.provision(&stack.order(label)?)?;
    stack.await_success(&operation, PATIENCE)?;
    Ok(instance)
}

fn disturb(stack: &Stack, call: Call, effect: Effect) -> Result<()> {
    let fake = stack.fake.as_ref().context("a fake runtime")?;
    fake.fault(Fault { call, service: None, times: 1, effect })
}

fn ask(stack: &Stack, instance: &str, action: &str) -> Result<Value> {
    Ok(stack.post(&format!("/api/v1/instances/{instance}/actions"), &json!({ "action": action }))?.expect(200)?.body)
}

fn status(stack: &Stack, instance: &str) -> Result<String> {
    let shown = stack.instance(instance)?;
    Ok(shown["status"].as_str().unwrap_or_default().to_owned())
}

/// An operation that is inside this step.
fn at_step(stack: &Stack, operation: &str, step: &str) -> Result<()> {
    let begun = format!("SELECT 1 FROM instance_service.operation_steps WHERE operation_id = '{operation}' AND step = '{step}'");
    until(PATIENCE, step, || Ok((stack.platform_sql(&begun)? == "1").then_some(())))
}

/// Nothing is at work, everything is as the rows say, and nobody was served twice.
fn sound(stack: &Stack) -> Result<()> {
    let violations = invariants::check(stack, &mut Secrets::default())?;
    ensure!(violations.is_empty(), "{violations:#?}");
    Ok(())
}

#[test]
fn what_closes_access_wins_against_what_is_under_way() -> Result<()> {
    let stack = Stack::start(&StackOptions::default())?;
    running(&stack, "first")?;
    for (number, action) in ["terminate", "suspend"].into_iter().enumerate() {
        disturb(&stack, Call::Ensure, Effect::Delay(3_000))?;
        let (instance, operation) = stack.provision(&stack.order(&format!("shop_{number}"))?)?;
        at_step(&stack, &operation, "service")?;
        ask(&stack, &instance, action)?;
        let ended = stack.await_operation(&operation, PATIENCE)?;
        ensure!(ended["state"] == "cancelled", "{action}: {ended:#}");
        let shown = stack.instance(&instance)?;
        ensure!(shown["provisioning_status"] == "pending", "{action}: {shown:#}");
    }
    let instance = running(&stack, "stopping")?;
    disturb(&stack, Call::Stop, Effect::Delay(2_000))?;
    let stop = stack.act(&instance, "stop")?;
    at_step(&stack, &stop, "stop_service")?;
    let suspend = ask(&stack, &instance, "suspend")?;
    ensure!(status(&stack, &instance)? == "paused");
    if let Some(operation) = suspend["job_id"].as_str() {
        stack.await_success(operation, PATIENCE)?;
    }
    ensure!(status(&stack, &instance)? == "paused", "a late stop has changed the row");

    let instance = running(&stack, "restarting")?;
    disturb(&stack, Call::Ensure, Effect::Delay(2_000))?;
    let restart = stack.act(&instance, "restart")?;
    at_step(&stack, &restart, "service")?;
    stack.await_success(&stack.remove(&instance)?, PATIENCE)?;
    let shown = stack.instance(&instance)?;
    ensure!(shown["status"] == "terminated" && shown["hostname"].is_null(), "{shown:#}");
    sound(&stack)
}

/// Must answer at once whatever hangs, and is done when it is back.
#[test]
fn suspend_and_terminate_need_neither_runtime_nor_postgres2() -> Result<()> {
    let mut stack = Stack::start(&StackOptions::default())?;
    let [suspended, terminated] = [running(&stack, "debtor")?, running(&stack, "leaver")?];
    disturb(&stack, Call::Stop, Effect::Delay(6_000))?;
    stack.pair.postgres2.stop(Stop::Fast)?;
    let mut jobs = Vec::new();
    for (instance, action, shown) in [(&suspended, "suspend", "paused"), (&terminated, "terminate", "terminated")] {
        let answer = ask(&stack, instance, action)?;
        ensure!(answer["status"] == "success", "{answer}");
        ensure!(status(&stack, instance)? == shown);
        jobs.push(answer["job_id"].as_str().context("there is work to do")?.to_owned());
        ask(&stack, instance, action)?;
    }
    let work = "SELECT count(*) FROM instance_service.operations WHERE finished_at IS NULL AND kind IN ('suspend', 'terminate')";
    for _ in 0..20 {
        ask(&stack, &suspended, "suspend")?;
    }
    let waiting = stack.platform_sql(work)?;
    // One at work and one behind it, however often it is said.
    ensure!(waiting.parse::<u32>()? <= 3, "{waiting} operations are left to do");
    stack.pair.postgres2.start_again()?;
    for job in &jobs {
        stack.await_success(job, PATIENCE)?;
    }
    sound(&stack)
}

#[test]
fn many_callers_leave_an_order_that_can_be_told() -> Result<()> {
    let stack = Stack::start(&StackOptions { workers: 2, ..StackOptions::default() })?;
    let instance = running(&stack, "busy")?;
    let url = format!("{}/api/v1/instances/{instance}/actions", stack.api_url());
    let actions = ["start", "stop", "restart", "start", "stop", "unpause", "suspend", "unsuspend", "start", "stop"];
    let gate = std::sync::Barrier::new(20);
    let answers = std::thread::scope(|scope| {
        let send = |action| {
            let (gate, url) = (&gate, &url);
            scope.spawn(move || {
                gate.wait();
                call("POST", url, Some(&json!({ "action": action })))
            })
        };
        let calls: Vec<_> = actions.iter().cycle().take(20).map(send).collect();
        calls
            .into_iter()
            .map(|call| call.join().map_err(|_panic| anyhow::anyhow!("a caller panicked"))?)
            .collect::<Result<Vec<_>>>()
    })?;
    ensure!(answers.iter().all(|answer| matches!(answer.status, 200 | 400 | 402 | 409)), "{answers:?}");
    sound(&stack)?;
    // Each entry of the trail begins where the one before it ended.
    let broken = stack.platform_sql(&format!(
        "SELECT count(*) FROM (
             SELECT from_status, lag(to_status) OVER (ORDER BY id) AS before FROM instance_service.audit_log
              WHERE instance_id = '{instance}' AND to_status IS NOT NULL) trail
          WHERE before IS DISTINCT FROM from_status AND before IS NOT NULL"
    ))?;
    ensure!(broken == "0", "{broken} entries of the trail do not follow from the one before");
    let active = stack.platform_sql("SELECT count(*) FROM instance_service.operations WHERE finished_at IS NULL")?;
    ensure!(active == "0", "{active} operations are left");
    ensure!(["running", "stopped", "paused"].contains(&status(&stack, &instance)?.as_str()), "{}", status(&stack, &instance)?);
    Ok(())
}
