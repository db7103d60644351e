//! `bench provision | jobs | api`: speed as ratios within one run. Prints every figure and ends with 1 when a goal is missed.
//!
//! Everything that is compared is measured in turn, round by round, so that a slower minute of the machine hits all of it.

mod api;
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
        other => bail!("unknown benchmark {other:?}: provision, jobs or api"),
    };
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
