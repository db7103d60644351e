//! A customer's life as the billing engine tells it, with the real binaries: events over HTTP to the API, questions of the workers to a
//! stand-in for the engine.

use anyhow::{Result, ensure};
use serde_json::Value;
use std::time::Duration;
use stories::invariants::{self, Secrets};
use stories::{Stack, StackOptions, until};
use testkit::services::killbill::{API_KEY, API_SECRET, KillBill, PASSWORD, USERNAME};

const PATIENCE: Duration = Duration::from_secs(120);
const SECRET: &str = "a-secret-of-the-path_7";

fn stack(engine: &KillBill, workers: usize) -> Result<Stack> {
    let url = engine.url();
    let variables = [
        ("KILLBILL_WEBHOOK_ENABLED", "true"),
        ("KILLBILL_WEBHOOK_SECRET", SECRET),
        ("KILLBILL_URL", &url),
        ("KILLBILL_USERNAME", USERNAME),
        ("KILLBILL_PASSWORD", PASSWORD),
        ("KILLBILL_API_KEY", API_KEY),
        ("KILLBILL_API_SECRET", API_SECRET),
        ("KILLBILL_SYNC_INTERVAL_SECONDS", "10"),
        ("LOG_LEVEL", "debug"),
    ];
    let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Stack::start(&StackOptions { environment, workers, ..StackOptions::default() })
}

fn push(stack: &Stack, event: &Value) -> Result<()> {
    stack.post(&format!("/webhooks/killbill/{SECRET}"), event)?.expect(200).map(drop)
}

/// Waits until the subscription's instance has this status and billing status.
fn comes_to(stack: &Stack, subscription: &str, status: &str, billing: &str) -> Result<Value> {
    until(PATIENCE, &format!("an instance that is {status}, {billing}"), || {
        let answer = stack.get(&format!("/api/v1/instances/by-subscription/{subscription}"))?;
        let shown = answer.body;
        let there = shown["status"] == status && shown["billing_status"] == billing && shown["operation_id"].is_null();
        Ok(there.then_some(shown))
    })
}

fn ordered(stack: &Stack, engine: &KillBill, label: &str) -> Result<String> {
    let customer = stack.services.create_user(&format!("{label}@customer.example"), "Shopkeeper")?;
    let id = engine.subscribe(&engine.account(&customer)?, true)?;
    let fields = [
        ("instance_name", "Shop"),
        ("instance_admin_email", "owner@shop.example"),
        ("instance_database_name", label),
        ("instance_odoo_version", "19.0"),
    ];
    engine.set_fields(&id, &fields);
    Ok(id)
}

#[test]
fn an_instance_follows_its_subscription_from_trial_to_end() -> Result<()> {
    let engine = KillBill::start()?;
    let stack = stack(&engine, 2)?;
    let id = ordered(&stack, &engine, "corner")?;
    push(&stack, &engine.event("SUBSCRIPTION_CREATION", &id, Value::Null))?;
    comes_to(&stack, &id, "running", "trial")?;
    push(&stack, &engine.end_trial(&id))?;
    comes_to(&stack, &id, "running", "payment_required")?;
    let invoice = engine.bill(&id)?;
    let failed = engine.fail(&invoice)?;
    push(&stack, &failed)?;
    comes_to(&stack, &id, "paused", "payment_required")?;
    let paid = engine.pay(&invoice)?;
    push(&stack, &paid)?;
    comes_to(&stack, &id, "running", "paid")?;
    // Late and repeated.
    for event in [&failed, &paid, &failed] {
        push(&stack, event)?;
    }
    engine.set_down(true);
    push(&stack, &engine.cancel(&id))?;
    let tried =
        "SELECT 1 FROM instance_service.webhook_events WHERE state = 'pending' AND attempts > 0 AND last_error IS NOT NULL";
    until(PATIENCE, "an attempt while the engine is down", || Ok((stack.platform_sql(tried)?.contains('1')).then_some(())))?;
    ensure!(stack.get(&format!("/api/v1/instances/by-subscription/{id}"))?.body["status"] == "running");
    engine.set_down(false);
    comes_to(&stack, &id, "terminated", "paid")?;
    ensure!(!stack.logs()?.contains(SECRET), "the secret of the path is in a log");
    for secret in [PASSWORD, API_SECRET] {
        ensure!(!stack.logs()?.contains(secret), "{secret} is in a log");
    }
    let violations = invariants::check(&stack, &mut Secrets::default())?;
    ensure!(violations.is_empty(), "{violations:#?}");
    Ok(())
}

#[test]
fn what_was_never_delivered_is_found_by_the_sweep() -> Result<()> {
    let engine = KillBill::start()?;
    let stack = stack(&engine, 1)?;
    let id = ordered(&stack, &engine, "corner")?;
    comes_to(&stack, &id, "running", "trial")?;
    engine.end_trial(&id);
    engine.fail(&engine.bill(&id)?)?;
    comes_to(&stack, &id, "paused", "payment_required")?;
    engine.expire(&id);
    comes_to(&stack, &id, "terminated", "payment_required")?;
    Ok(())
}
