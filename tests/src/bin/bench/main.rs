//! `bench provision | jobs | api | backup [full]`: speed as ratios within one run. Prints every figure and ends with 1 when a goal is missed.
//!
//! Everything that is compared is measured in turn, round by round, so that a slower minute of the machine hits all of it.

mod api;
mod backup;
mod figures;
mod jobs;
mod odoo;
mod provision;

use anyhow::{Result, bail};
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    let which = std::env::args().nth(1).unwrap_or_default();
    let met = match which.as_str() {
        "provision" => provision::run()?,
        "jobs" => jobs::run()?,
        "api" => api::run()?,
        "backup" => backup::run(std::env::args().nth(2).is_some_and(|size| size == "full"))?,
        other => bail!("unknown benchmark {other:?}: provision, jobs, api or backup"),
    };
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
