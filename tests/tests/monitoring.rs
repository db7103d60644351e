//! The monitoring of real workers: what happens at the runtime is seen at once, also what happened while nobody watched.

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;
use stories::{Stack, StackOptions, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// Reconcile and health check would see it, too, but not soon: what is seen is seen by the watcher.
fn watched(workers: usize) -> Result<Stack> {
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let environment = vec![
        set("AUTO_START_MONITORING", "true"),
        set("RECONCILE_INTERVAL_SECONDS", "86400"),
        set("HEALTH_CHECK_INTERVAL_SECONDS", "3600"),
    ];
    let stack = Stack::start(&StackOptions { workers, environment, ..StackOptions::default() })?;
    monitoring(&stack, "running")?;
    Ok(stack)
}

fn running(stack: &Stack, label: &str) -> Result<String> {
    let (instance, operation) = stack.provision(&stack.order(label)?)?;
    stack.await_success(&operation, PATIENCE)?;
    Ok(instance)
}

fn service_of(stack: &Stack, instance: &str) -> Result<String> {
    stack.platform_sql(&format!("SELECT service_name FROM public.instances WHERE id = '{instance}'"))
}

fn crash(stack: &Stack, instance: &str) -> Result<()> {
    stack.fake.as_ref().context("a fake runtime")?.crash(&service_of(stack, instance)?)
}

fn is_in(stack: &Stack, instance: &str, status: &str) -> Result<()> {
    until(PATIENCE, status, || Ok((stack.instance(instance)?["status"] == status).then_some(())))
}

fn told(stack: &Stack, path: &str) -> Result<Value> {
    Ok(stack.get(&format!("/api/v1/monitoring{path}"))?.expect(200)?.body)
}

fn ask(stack: &Stack, path: &str, body: &Value) -> Result<Value> {
    Ok(stack.post(&format!("/api/v1/monitoring{path}"), body)?.expect(200)?.body)
}

fn monitoring(stack: &Stack, status: &str) -> Result<()> {
    until(PATIENCE, &format!("monitoring that is {status}"), || Ok((told(stack, "/status")?["status"] == status).then_some(())))
}

#[test]
fn what_happens_is_seen_at_once_and_what_nobody_saw_is_seen_later() -> Result<()> {
    let mut stack = watched(2)?;
    let (seen, unseen) = (running(&stack, "seen")?, running(&stack, "unseen")?);
    crash(&stack, &seen)?;
    is_in(&stack, &seen, "error")?;
    let actor = format!("SELECT actor FROM instance_service.audit_log WHERE instance_id = '{seen}' AND to_status = 'error'");
    ensure!(stack.platform_sql(&actor)? == "watcher");

    let read = told(&stack, "/status")?["total_events_processed"].as_u64();
    for worker in &mut stack.workers {
        worker.process.signal(Signal::KILL)?;
        worker.process.wait(PATIENCE)?;
    }
    stack.bury_workers()?;
    crash(&stack, &unseen)?;
    stack.start_worker()?;
    is_in(&stack, &unseen, "error")?;
    // The new worker also compares everything when it begins, and may be first; the event is read all the same.
    until(PATIENCE, "the event that nobody saw", || {
        Ok((told(&stack, "/status")?["total_events_processed"].as_u64() > read).then_some(()))
    })?;
    let status = told(&stack, "/status")?;
    ensure!(status["containers_monitored"] == 2 && status["failed_events"] == 0, "{status:#}");
    let metrics = told(&stack, "/metrics")?;
    for measured in ["event_processing_latency_ms", "database_update_latency_ms", "docker_api_latency_ms", "memory_usage_mb"] {
        ensure!(metrics[measured].as_f64().is_some_and(|figure| figure > 0.0), "{metrics:#}");
    }
    ensure!(told(&stack, "/health")?["docker_connection"] == true);
    Ok(())
}

#[test]
fn a_comparison_tells_first_and_then_puts_right() -> Result<()> {
    let stack = watched(1)?;
    let instance = running(&stack, "shop")?;
    ask(&stack, "/stop", &json!({}))?;
    monitoring(&stack, "stopped")?;
    crash(&stack, &instance)?;
    let only_told = ask(&stack, "/reconcile", &json!({"dry_run": true}))?;
    ensure!(only_told["success"] == true && only_told["mismatched"] == 1 && only_told["updated"] == 0, "{only_told:#}");
    ensure!(only_told["details"][0]["expected_status"] == "error" && stack.instance(&instance)?["status"] == "running");
    let service = service_of(&stack, &instance)?;
    let looked = ask(&stack, &format!("/containers/{service}/sync"), &json!({}))?;
    ensure!(looked["docker_status"] == "failed" && looked["mapped_status"] == "error", "{looked:#}");
    let put_right = ask(&stack, "/reconcile", &json!({}))?;
    ensure!(put_right["updated"] == 1 && stack.instance(&instance)?["status"] == "error", "{put_right:#}");
    // Told to begin, it goes on where it stood: the crash is no news any more, and changes nothing.
    let begun = ask(&stack, "/start", &json!({"auto_reconcile": false}))?;
    ensure!(begun["task_id"].is_null());
    monitoring(&stack, "running")?;
    let restarted = stack.act(&instance, "start")?;
    stack.await_success(&restarted, PATIENCE)?;
    crash(&stack, &instance)?;
    is_in(&stack, &instance, "error")
}
