//! `instance-admin check`: the settings of a process as it would read them here.

use crate::failure::Failure;
use bootstrap::Environment;
use bootstrap::settings::{AdminSettings, ApiSettings, Loaded, MigrateSettings, WorkerSettings};
use clap::ValueEnum;

/// Whose settings.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Process {
    /// instance-api
    Api,
    /// instance-worker
    Worker,
    /// instance-admin migrate
    Migrate,
    /// The other commands of instance-admin
    Admin,
}

pub(crate) fn run(process: Process, environment: &Environment) -> Result<String, Failure> {
    Ok(match process {
        Process::Api => page(&ApiSettings::load(environment)?),
        Process::Worker => page(&WorkerSettings::load(environment, worker::BUILT_IN)?),
        Process::Migrate => page(&MigrateSettings::load(environment)?),
        Process::Admin => page(&AdminSettings::load(environment)?),
    })
}

fn page<T>(loaded: &Loaded<T>) -> String {
    let settings = loaded.shown.iter().map(|shown| format!("{}={}\n", shown.name, shown.value));
    let warnings = loaded.warnings.iter().map(|warning| format!("# warning: {warning}\n"));
    settings.chain(warnings).collect()
}
