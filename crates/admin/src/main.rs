//! `instance-admin`: what an operator does by hand.
//!
//! Owns: the commands and their exit codes. Leaves to others: everything they do.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage, 3 wrong configuration.

mod backups;
mod check;
mod drift;
mod failure;
mod mails;
mod migrate;
mod operations;
mod servers;

use clap::{Parser, Subcommand};
use failure::Failure;
use std::io::Write as _;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "instance-admin", version, about = "Administration of the instance service")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Brings the schema on postgres1 up to date, as its owner.
    Migrate,
    /// Prints the effective settings of a process, secrets masked, or all that is wrong with them.
    Check {
        /// Whose settings.
        #[arg(value_enum)]
        process: check::Process,
    },
    /// Prints the reference of all settings as Markdown.
    Configuration,
    /// Odoo servers.
    #[command(subcommand)]
    Servers(servers::Command),
    /// Operations.
    #[command(subcommand)]
    Operations(operations::Command),
    /// What the workers last found that is not as the rows say: services, databases, roles, directories.
    Drift,
    /// Backups of the earlier service.
    #[command(subcommand)]
    Backups(backups::Command),
    /// Mails that were given up.
    #[command(subcommand)]
    Mails(mails::Command),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command).await.and_then(print) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit_code()
        }
    }
}

async fn run(command: Command) -> Result<String, Failure> {
    let environment = bootstrap::environment::snapshot();
    match command {
        Command::Migrate => migrate::run(&environment).await,
        Command::Check { process } => check::run(process, &environment),
        Command::Configuration => Ok(bootstrap::settings::reference::markdown()),
        Command::Servers(command) => servers::run(command, &environment).await,
        Command::Operations(command) => operations::run(command, &environment).await,
        Command::Drift => drift::run(&environment).await,
        Command::Backups(command) => backups::run(command, &environment).await,
        Command::Mails(command) => mails::run(command, &environment).await,
    }
}

/// Writes to standard output; a reader that went away, as in `instance-admin ... | head`, is an ordinary failure.
fn print(text: String) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Failure::Failed(error.into()))
}
