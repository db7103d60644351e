//! `cargo dev`: everything a developer needs, in one command each.
//!
//! Owns: the local stack (two servers, Odoo, the services), the test run, the checks, the generated files.
//! Leaves to others: all behaviour of the service. It uses the other crates' binaries only, so that it builds in seconds.

mod checkout;
mod command;
mod generate;
mod layers;
mod leftovers;
mod odoo;
mod packages;
mod progress;
mod run_tests;
mod runner;
mod schemathesis;
mod stack;

use anyhow::Result;
use clap::{Parser, Subcommand};
use run_tests::Length;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo dev", bin_name = "cargo dev", about = "Local stack, tests and checks of the instance service")]
struct Arguments {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Subcommand)]
enum Commands {
    /// Runs all tests at bounded length, on servers and an Odoo of their own
    Test {
        #[command(flatten)]
        options: stack::Options,
        /// Only tests whose name contains one of these
        filters: Vec<String>,
    },
    /// Runs all tests in full
    Soak {
        #[command(flatten)]
        options: stack::Options,
        /// Only tests whose name contains one of these
        filters: Vec<String>,
    },
    /// Measures against the goals
    Bench {
        #[command(flatten)]
        options: stack::Options,
        /// What to measure
        #[arg(value_parser = ["provision", "jobs", "api", "backup"])]
        which: String,
        /// backup: with the whole filestore that the goals are about, 5 GB in 100,000 files; needs 20 GB of disk
        #[arg(long)]
        full: bool,
    },
    /// Writes docs/openapi.json
    Openapi,
    /// Writes docs/state-machine.md
    Diagram,
    /// Writes crates/db/.sqlx, what the query macros know of the schema
    Prepare,
    /// Writes all generated files and fails if one was out of date
    Fresh,
    /// Checks who depends on whom, banned crates and file lengths
    Layers,
    /// Installs what tests and stack need and is not there: PostgreSQL's server, Odoo
    Install {
        #[command(flatten)]
        options: stack::Options,
    },
    /// Starts the whole stack with one provisioned Odoo instance; stays until Ctrl-C
    Up {
        #[command(flatten)]
        options: stack::Options,
        /// Leave it running and return
        #[arg(long)]
        detach: bool,
    },
    /// Stops everything that `up` started; keeps the data
    Down {
        #[command(flatten)]
        options: stack::Options,
    },
    /// Stops everything and removes all data of the stack; keeps the installed Odoo
    Reset {
        #[command(flatten)]
        options: stack::Options,
    },
    /// Shows what runs and how to reach it
    Status {
        #[command(flatten)]
        options: stack::Options,
        /// For programs
        #[arg(long)]
        json: bool,
    },
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
        Commands::Test { options, filters } => run_tests::test(&options, &filters, Length::Bounded),
        Commands::Soak { options, filters } => run_tests::test(&options, &filters, Length::Full),
        Commands::Bench { options, which, full } => run_tests::bench(&options, &which, full),
        Commands::Openapi => generate::openapi(),
        Commands::Diagram => generate::diagram(),
        Commands::Prepare => generate::prepare(),
        Commands::Fresh => generate::fresh(),
        Commands::Layers => layers::run(),
        Commands::Install { options } => run_tests::install(&options),
        Commands::Up { options, detach } => stack::up(options, detach),
        Commands::Down { options } => stack::down(options),
        Commands::Reset { options } => stack::reset(options),
        Commands::Status { options, json } => stack::status(options, json),
    }
}
