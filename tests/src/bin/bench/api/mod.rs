//! The HTTP API on 100,000 instances: how much it answers at full load, how soon at half of that, and in how much memory; and, as the
//! floor beneath each read, its statement sent by `pgbench` with the same concurrency, and asked through a server that does nothing else.
//!
//! Client, API and PostgreSQL share one machine. Requests go to scattered rows over connections that stay open.

mod bare;
mod client;
mod floor;
mod kinds;
mod memory;

use crate::figures::{Figures, at_least, goal_in};
use anyhow::{Context, Result};
use bare::Bare;
use client::{CONNECTIONS, Load};
use kinds::Kind;
use rustix::process::Signal;
use std::time::Duration;
use stories::{Stack, StackOptions};
use testkit::crowd::{self, Plan};
use testkit::pair::PLATFORM_DATABASE;

const ROWS: u32 = 100_000;
/// A read and its floor are measured in turn, so often and so long.
const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_secs(1);
const PACED: Duration = Duration::from_secs(4);
/// Goal for reads, or this part of what the machine allows the bare server where that is less.
const READS_PER_SECOND: f64 = 8000.0;
const OF_BARE: f64 = 0.8;

pub(crate) fn run() -> Result<bool> {
    // What the tests log of each statement is no part of it.
    let settings = vec![("log_statement".to_owned(), "none".to_owned())];
    let options = StackOptions { durable: true, settings, workers: 0, ..StackOptions::default() };
    let mut stack = Stack::start(&options)?;
    crowd::fill(stack.pair.postgres1.server(), ROWS)?;
    let kinds = kinds::all(&stack)?;
    let plans = plans(&mut stack, &kinds)?;
    describe(&stack)?;
    restart(&mut stack)?;
    let idle = memory::now(&stack)?;
    let mut met = goal_in("MB", "resident memory, idle", idle, 30.0);
    for (kind, plans) in kinds.iter().zip(&plans) {
        met &= measure(&stack, kind, plans)?;
    }
    met &= goal_in("MB", "resident memory under load, at most", memory::most(&stack)?, 60.0);
    for (kind, plans) in kinds.iter().zip(&plans) {
        for plan in plans {
            println!("\n{}\n{}", kind.name, plan.nodes);
        }
    }
    Ok(met)
}

fn measure(stack: &Stack, kind: &Kind, plans: &[Plan]) -> Result<bool> {
    let mut load = Load::new(&stack.api_url(), kind, 1)?;
    load.warm_up()?;
    let mut beneath = match kind.floor {
        Some(parameters) => Some(Beneath::new(stack, kind, plans, parameters)?),
        None => None,
    };
    let mut full = Figures::default();
    for _ in 0..ROUNDS {
        full.add_value(load.full(ROUND)?);
        if let Some(beneath) = &mut beneath {
            beneath.measure(stack)?;
        }
    }
    let full = full.median();
    let half = load.paced(full / 2.0, PACED)?;
    let (p50, p99) = (half.median(), half.quantile(0.99));
    print!("{:<28} {full:>7.0}/s at full load; at half of it p50 {p50:.2} ms, p99 {p99:.2} ms", kind.name);
    let Some(beneath) = beneath else {
        println!();
        return Ok(true);
    };
    let (bare, floor) = (beneath.bare.median(), beneath.floor.median());
    println!("; bare {bare:.0}/s, ratio {:.2}; its statement alone {floor:.0}/s, ratio {:.2}", full / bare, full / floor);
    let least = READS_PER_SECOND.min(bare * OF_BARE);
    let enough = !kind.is_goal || at_least(&format!("{}, a second", kind.name), full, least);
    Ok(goal_in("ms", &format!("{}, p99 at half load", kind.name), p99, 10.0) && enough)
}

/// What a read cannot be quicker than.
struct Beneath<'a> {
    sql: &'a str,
    parameters: &'a [&'a str],
    _server: Bare,
    load: Load<'a>,
    bare: Figures,
    floor: Figures,
}

impl<'a> Beneath<'a> {
    fn new(stack: &Stack, kind: &'a Kind, plans: &'a [Plan], parameters: &'a [&'a str]) -> Result<Self> {
        let sql = &plans.first().with_context(|| format!("no plan of {}", kind.name))?.sql;
        let server = Bare::start(stack, sql, parameters.len())?;
        let mut load = Load::new(server.url(), kind, 1)?;
        load.warm_up()?;
        Ok(Self { sql, parameters, _server: server, load, bare: Figures::default(), floor: Figures::default() })
    }

    fn measure(&mut self, stack: &Stack) -> Result<()> {
        self.bare.add_value(self.load.full(ROUND)?);
        self.floor.add_value(floor::per_second(stack, self.sql, self.parameters, ROUND)?);
        Ok(())
    }
}

/// A fresh process that has answered a few requests.
fn restart(stack: &mut Stack) -> Result<()> {
    stack.api.signal(Signal::TERM)?;
    stack.api.wait(Duration::from_secs(30))?;
    stack.restart_api()
}

/// How the server carries out what each kind of request asks, by its own log.
fn plans(stack: &mut Stack, kinds: &[Kind]) -> Result<Vec<Vec<Plan>>> {
    let logged: String = crowd::plan_settings()
        .iter()
        .map(|(name, value)| format!("ALTER DATABASE {PLATFORM_DATABASE} SET {name} = '{value}';"))
        .collect();
    stack.pair.postgres1.psql("postgres", &logged)?;
    restart(stack)?;
    let mut plans = Vec::new();
    for kind in kinds {
        let before = stack.pair.postgres1.log_entries()?.len();
        Load::new(&stack.api_url(), kind, 0)?.once()?;
        let entries = stack.pair.postgres1.log_entries()?;
        let of_kind = entries[before..].iter().filter_map(Plan::of).filter(|plan| plan.sql.contains("public.instances"));
        plans.push(of_kind.collect());
    }
    stack.pair.postgres1.psql("postgres", &format!("ALTER DATABASE {PLATFORM_DATABASE} RESET ALL"))?;
    Ok(plans)
}

fn describe(stack: &Stack) -> Result<()> {
    let postgres = stack.platform_sql("SHOW server_version")?;
    let processors = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let count = std::thread::available_parallelism()?;
    println!(
        "{ROWS} instances; PostgreSQL {postgres}; {count} processors{model}; client, API and PostgreSQL on them; {CONNECTIONS} connections\n"
    );
    Ok(())
}
