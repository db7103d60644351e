//! `instance-worker`. Without a command it works until SIGTERM or SIGINT.
//!
//! Exit codes: 0 ended as asked or healthy, 1 failed or not healthy, 2 wrong usage, 3 wrong configuration.

mod startup;

use anyhow::Context as _;
use bootstrap::settings::{AdminSettings, WorkerSettings};
use bootstrap::{environment, masking, shutdown, telemetry, tls};
use clap::{Parser, Subcommand};
use db::platform::{PlatformDb, PoolLimits};
use startup::Refusal;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Parser)]
#[command(name = "instance-worker", version, about = "Carries out the operations of the instance service")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Ends with 0 if a worker on this machine or container is alive.
    Healthcheck,
    /// Fault points of this build.
    #[cfg(feature = "faults")]
    #[command(subcommand)]
    Faults(FaultsCommand),
}

#[cfg(feature = "faults")]
#[derive(Subcommand)]
enum FaultsCommand {
    /// Prints every fault point, one a line.
    List,
}

/// The configuration is wrong.
const CONFIGURATION: u8 = 3;

/// How long work on files may go on after everything else has ended: its successor repeats it.
const END_OF_THREADS: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no threads to work on: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        match Arguments::parse().command {
            None => work().await,
            Some(Command::Healthcheck) => healthcheck().await,
            #[cfg(feature = "faults")]
            Some(Command::Faults(FaultsCommand::List)) => startup::list_faults(),
        }
    });
    runtime.shutdown_timeout(END_OF_THREADS);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", masking::mask(&format!("{error:#}")));
            let refused = error.is::<Refusal>() || error.is::<bootstrap::settings::AllProblems>();
            if refused { ExitCode::from(CONFIGURATION) } else { ExitCode::FAILURE }
        }
    }
}

async fn work() -> anyhow::Result<()> {
    let environment = environment::snapshot();
    let loaded = WorkerSettings::load(&environment, worker::BUILT_IN)?;
    telemetry::init(&loaded.settings.log)?;
    let metrics = telemetry::install_metrics()?;
    tls::install();
    let settings = loaded.announce();
    let stop = shutdown::token().context("signals cannot be received")?;
    startup::run(settings, environment, metrics, stop).await
}

async fn healthcheck() -> anyhow::Result<()> {
    let settings = AdminSettings::load(&environment::snapshot())?.settings;
    tls::install();
    let limits = PoolLimits { max_connections: 1, ..PoolLimits::default() };
    let db = PlatformDb::connect_lazy(&settings.platform.endpoint, &limits, "instance-worker healthcheck");
    let alive = worker::vitals::check(&db, &environment::host_name()).await?;
    anyhow::ensure!(alive, "no worker on this machine has shown a sign of life lately");
    Ok(())
}
