//! `cargo dev`: everything a developer needs, in one command each.
//!
//! Owns: the local stack (two servers, Odoo, the services), the test run, the checks, the generated files.
//! Leaves to others: all behaviour of the service. It uses the other crates' binaries only, so that it builds in seconds.

mod checkout;
mod command;
mod layers;
mod odoo;
mod packages;
mod progress;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo dev", bin_name = "cargo dev", about = "Local stack, tests and checks of the instance service")]
struct Arguments {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Subcommand)]
enum Commands {
    /// Checks who depends on whom, banned crates and file lengths
    Layers,
    /// Installs Odoo 19 under .dev
    Odoo,
}

fn main() -> ExitCode {
    // What is made here is read by the users that servers and Odoo run as; secrets set their own, closed mode.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo dev: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Commands) -> Result<()> {
    match command {
        Commands::Layers => layers::run(),
        Commands::Odoo => {
            let dev = checkout::dev()?;
            let mut task = progress::Progress::new().task("Odoo");
            let odoo = odoo::Odoo::at(&dev.join("odoo").join(odoo::VERSION));
            odoo.ensure(&dev.join("odoo.log"), &mut task)?;
            task.done(&odoo.launcher().display().to_string());
            Ok(())
        }
    }
}
