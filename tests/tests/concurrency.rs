//! Many callers at once, over HTTP.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use stories::invariants::{self, Secrets};
use stories::{Answer, Order, Stack, StackOptions, call, uuid};

const PATIENCE: Duration = Duration::from_secs(120);

/// Sends all of these at once and answers what came back.
fn at_once(url: &str, bodies: &[Value]) -> Result<Vec<Answer>> {
    let gate = std::sync::Barrier::new(bodies.len());
    std::thread::scope(|scope| {
        let send = |body| {
            let gate = &gate;
            scope.spawn(move || {
                gate.wait();
                call("POST", url, Some(body))
            })
        };
        let calls: Vec<_> = bodies.iter().map(send).collect();
        calls.into_iter().map(|call| call.join().map_err(|_panic| anyhow::anyhow!("a caller panicked"))?).collect()
    })
}

fn count(answers: &[Answer], wanted: impl Fn(&Answer) -> bool) -> usize {
    answers.iter().filter(|answer| wanted(answer)).count()
}

#[test]
fn parallel_creates_of_one_subscription_make_one_row() -> Result<()> {
    let stack = Stack::start(&StackOptions { workers: 0, ..StackOptions::default() })?;
    let order = stack.order("shop")?;
    let answers = at_once(&format!("{}/api/v1/instances/", stack.api_url()), &vec![order.body().clone(); 50])?;
    ensure!(count(&answers, |answer| answer.status == 201) == 1, "{answers:?}");
    ensure!(count(&answers, |answer| answer.status == 200) == 49, "{answers:?}");
    let ids: BTreeSet<String> = answers.iter().map(|answer| answer.text("id")).collect::<Result<_>>()?;
    ensure!(ids.len() == 1, "{ids:?}");
    let rows = stack.platform_sql("SELECT count(*) FROM public.instances")?;
    ensure!(rows == "1", "{rows} rows");
    Ok(())
}

#[test]
fn of_parallel_provisions_one_starts() -> Result<()> {
    let stack = Stack::start(&StackOptions::default())?;
    let id = stack.post("/api/v1/instances/", stack.order("shop")?.body())?.expect(201)?.text("id")?;
    let answers = at_once(&format!("{}/api/v1/instances/{id}/provision", stack.api_url()), &vec![json!({}); 50])?;
    ensure!(answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    let started: Vec<&Answer> = answers.iter().filter(|answer| answer.body["status"] == "success").collect();
    ensure!(started.len() == 1, "{started:?}");
    ensure!(count(&answers, |answer| answer.body["status"] == "skipped") == 49, "{answers:?}");
    let operation = started[0].text("job_id")?;
    stack.acknowledge("provision", &operation, &id);
    stack.await_success(&operation, PATIENCE)?;
    let operations = stack.platform_sql("SELECT count(*) FROM instance_service.operations WHERE kind = 'provision'")?;
    ensure!(operations == "1", "{operations} operations");
    let violations = invariants::check(&stack, &mut Secrets::default())?;
    ensure!(violations.is_empty(), "{violations:#?}");
    Ok(())
}

#[test]
fn a_hundred_customers_order_at_once() -> Result<()> {
    let stack = Stack::start(&StackOptions { workers: 0, ..StackOptions::default() })?;
    let orders: Vec<Value> =
        (0..100).map(|n| Ok(Order::new(&uuid()?, &uuid()?, &format!("shop_{n}")).body().clone())).collect::<Result<_>>()?;
    let answers = at_once(&format!("{}/api/v1/instances/", stack.api_url()), &orders)?;
    ensure!(answers.iter().all(|answer| answer.status == 201), "{answers:?}");
    let rows = stack.platform_sql("SELECT count(DISTINCT hostname) FROM public.instances")?;
    ensure!(rows == "100", "{rows} rows");
    // Nobody holds a connection that others wait for.
    stack.get("/readyz")?.expect(200).map(drop)
}

#[test]
fn two_customers_may_choose_the_same_name() -> Result<()> {
    let stack = Stack::start(&StackOptions::default())?;
    let (one, first) = stack.provision(&stack.order("shop")?)?;
    let (other, second) = stack.provision(&stack.order("shop")?)?;
    stack.await_success(&first, PATIENCE)?;
    stack.await_success(&second, PATIENCE)?;
    let database = |id: &str| stack.platform_sql(&format!("SELECT db_name FROM public.instances WHERE id = '{id}'"));
    let (gone, stays) = (database(&one)?, database(&other)?);
    ensure!(gone != stays && !gone.is_empty(), "{gone} and {stays}");
    stack.await_success(&stack.remove(&one)?, PATIENCE)?;
    let left = stack.pair.postgres2.psql("postgres", "SELECT datname FROM pg_database")?;
    ensure!(left.lines().any(|name| name == stays) && !left.lines().any(|name| name == gone), "{left}");
    let tables = stack.pair.postgres2.psql(&stays, "SELECT count(*) FROM res_users").context("the other's data")?;
    ensure!(tables != "0", "the other's data is gone");
    let violations = invariants::check(&stack, &mut Secrets::default())?;
    ensure!(violations.is_empty(), "{violations:#?}");
    Ok(())
}
