//! Provisioning against its parts: the raw clone, the bare boot, and the full initialisation that a template saves.

use crate::figures::{Figures, goal};
use crate::odoo::Bare;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use stories::{Runtime, Stack, StackOptions, until};

const ROUNDS: usize = 9;

#[derive(Default)]
struct Measured {
    raw_clone: Figures,
    our_steps: Figures,
    whole: Figures,
    bare_boot: Figures,
    full: Figures,
}

pub(crate) fn run() -> Result<bool> {
    let runtime = stories::real_odoo()?.context("no Odoo: run `cargo dev bench provision`, which installs it")?;
    let mut stack = Stack::start(&StackOptions { durable: true, runtime, ..StackOptions::default() })?;
    let mut measured = Measured::default();
    // The first instance makes the template.
    let (first, operation) = stack.provision(&stack.order("first")?)?;
    stack.await_success(&operation, Duration::from_secs(600))?;
    for round in 0..ROUNDS {
        measure(&mut stack, &mut measured, round)?;
        measured.full.add(initialise(&stack, &first)?);
    }
    let removal = stack.remove(&first)?;
    stack.await_success(&removal, Duration::from_secs(60))?;
    Ok(report(&measured))
}

fn measure(stack: &mut Stack, measured: &mut Measured, round: usize) -> Result<()> {
    measured.raw_clone.add_value(raw_clone(stack)?);
    let order = stack.order(&format!("round_{round}"))?;
    let begin = Instant::now();
    let (instance, operation) = stack.provision(&order)?;
    let path = format!("/api/v1/instances/{instance}/status");
    until(Duration::from_secs(120), "a running instance", || {
        Ok((stack.get(&path)?.expect(200)?.body["status"] == "running").then_some(()))
    })?;
    measured.whole.add(begin.elapsed());
    let ended = stack.await_success(&operation, Duration::from_secs(60))?;
    measured.our_steps.add_value(step(&ended, "role")? + step(&ended, "database")?);
    let (directory, port) = place(stack, &instance)?;
    // A terminated instance keeps its data and is closed; a bare Odoo needs its database open again.
    let terminated = stack.terminate(&instance)?;
    stack.await_success(&terminated, Duration::from_secs(60))?;
    reopen(stack, &instance)?;
    measured.bare_boot.add(bare(stack)?.boot(&directory, &port)?);
    let removal = stack.remove(&instance)?;
    stack.await_success(&removal, Duration::from_secs(120)).map(drop)
}

/// Milliseconds of one step, by the journal.
fn step(operation: &Value, name: &str) -> Result<f64> {
    let steps = operation["steps"].as_array().context("no steps")?;
    let step = steps.iter().find(|step| step["name"] == name).with_context(|| format!("no step {name}"))?;
    step["duration_ms"].as_f64().with_context(|| format!("step {name} has no duration"))
}

/// `CREATE DATABASE ... TEMPLATE` as the server itself times it for a plain client.
fn raw_clone(stack: &Stack) -> Result<f64> {
    let template = stack.platform_sql("SELECT db_name FROM instance_service.templates WHERE state = 'ready' LIMIT 1")?;
    let server = &stack.pair.postgres2;
    let script = format!(
        "\\timing on\nCREATE DATABASE bench_raw TEMPLATE \"{}\";\n\\timing off\nDROP DATABASE bench_raw;",
        template.trim()
    );
    let said = server.psql("postgres", &script)?;
    let line = said.lines().find_map(|line| line.strip_prefix("Time: ")).context("psql told no time")?;
    line.split_whitespace().next().and_then(|number| number.parse().ok()).context("psql told no number")
}

fn place(stack: &Stack, instance: &str) -> Result<(PathBuf, String)> {
    let row = stack.platform_sql(&format!("SELECT data_dir, external_port FROM public.instances WHERE id = '{instance}'"))?;
    let (directory, port) = row.trim().split_once('|').context("no place")?;
    let directory = Path::new(directory);
    let directory = if directory.is_absolute() { directory.to_owned() } else { stack.instances_path().join(directory) };
    Ok((directory, port.to_owned()))
}

fn reopen(stack: &Stack, instance: &str) -> Result<()> {
    let row = stack.platform_sql(&format!("SELECT db_name, db_user FROM public.instances WHERE id = '{instance}'"))?;
    let (database, user) = row.trim().split_once('|').context("no database")?;
    let script = format!("ALTER DATABASE \"{database}\" ALLOW_CONNECTIONS true; ALTER ROLE \"{user}\" LOGIN;");
    stack.pair.postgres2.psql("postgres", &script).map(drop)
}

fn bare(stack: &Stack) -> Result<Bare<'_>> {
    match stack.runtime() {
        Runtime::Process { launcher, user, .. } => Ok(Bare { launcher, user }),
        Runtime::Fake => anyhow::bail!("a bare boot needs real Odoo"),
    }
}

/// What a system without templates does for each instance: an empty database and `-i base`.
fn initialise(stack: &Stack, instance: &str) -> Result<Duration> {
    let (directory, _) = place(stack, instance)?;
    let row = stack.platform_sql(&format!("SELECT db_name, db_user FROM public.instances WHERE id = '{instance}'"))?;
    let (_, user) = row.trim().split_once('|').context("no database")?;
    let server = &stack.pair.postgres2;
    server.psql(
        "postgres",
        &format!("CREATE DATABASE bench_full TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' OWNER \"{user}\""),
    )?;
    server.psql("bench_full", "CREATE EXTENSION pg_trgm")?;
    // Role and database of an instance have the same name, and only the database is another one here.
    let other = |line: &str| match line.split_once(" = ") {
        Some((key @ ("db_name" | "dbfilter"), _)) => format!("{key} = bench_full\n"),
        _ => format!("{line}\n"),
    };
    let text: String = std::fs::read_to_string(directory.join("conf/odoo.conf"))?.lines().map(other).collect();
    let configuration = directory.join("data/bench_full.conf");
    // Odoo's own user reads it; the stack and its passwords end with this run.
    std::fs::write(&configuration, text)?;
    let configuration = configuration.display().to_string();
    let took = bare(stack)?.initialise(&directory, &["-c", &configuration, "-i", "base", "--stop-after-init", "--no-http"])?;
    server.psql("postgres", "DROP DATABASE bench_full WITH (FORCE)")?;
    Ok(took)
}

fn report(measured: &Measured) -> bool {
    measured.raw_clone.print("raw CREATE DATABASE ... TEMPLATE");
    measured.our_steps.print("our steps: role, fence, clone, revoke, label");
    measured.bare_boot.print("bare Odoo boot until login page and asset");
    measured.whole.print("whole provisioning, HTTP call to running");
    measured.full.print("full Odoo initialisation (-i base), without a template");
    let (raw, boot) = (measured.raw_clone.median(), measured.bare_boot.median());
    let steps = goal("our steps <= 1.25 x raw + 40 ms", measured.our_steps.median(), 1.25 * raw + 40.0);
    goal("whole <= bare boot + raw clone + 500 ms", measured.whole.median(), boot + raw + 500.0) && steps
}
