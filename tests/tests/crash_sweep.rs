//! The crash sweep over the fault points that the workers list (engine 16): a part that changes from day to day, all of them
//! with `INSTANCE_SOAK=1`, or those whose names contain `INSTANCE_SWEEP`. The tables are in `crash-sweep*.txt` among cargo's
//! temporary files.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Instant;
use stories::Runtime;
use stories::sweep::{self, Length, Plan};

mod chaos {
    use super::*;

    #[test]
    fn killed_anywhere_another_worker_finishes() -> Result<()> {
        sweep(Plan::make(Length::from_environment())?, &Runtime::Fake, "crash-sweep.txt")
    }
}

#[test]
#[ignore = "needs real Odoo: run `cargo dev test`, which brings it"]
fn real_odoo_killed_anywhere() -> Result<()> {
    let odoo = stories::real_odoo()?.context("INSTANCE_TEST_ODOO names no Odoo: run `cargo dev test`, which brings one")?;
    sweep(Plan::on_real_odoo(Length::from_environment())?, &odoo, "crash-sweep-odoo.txt")
}

fn sweep(plan: Plan, runtime: &Runtime, table: &str) -> Result<()> {
    ensure!(!plan.chosen.is_empty(), "no point is chosen: {}", plan.rule);
    let begin = Instant::now();
    let heading = format!("{} of {} points: {}", plan.chosen.len(), plan.all, plan.rule);
    let report = sweep::run(plan.chosen, runtime)?;
    let text = format!("{heading}\n{report}took {:.0} s\n", begin.elapsed().as_secs_f64());
    println!("{text}");
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(table), &text)?;
    ensure!(report.failures().is_empty(), "{text}");
    Ok(())
}
