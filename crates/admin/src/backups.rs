//! `instance-admin backups`: takes over the backups of the earlier service. To be run where a worker runs: it reads CEPHFS_BACKUPS_PATH.

use crate::failure::Failure;
use crate::operations::connect;
use bootstrap::settings::AdminSettings;
use bootstrap::{Environment, OsEntropy};
use clap::Subcommand;
use std::sync::Arc;
use worker::adoption::{LegacyBackups, Outcome};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Enters the backups of the earlier service into the catalogue, each under the instance that its metadata name. It reads all of them, changes
    /// none, and may be run again.
    Adopt {
        /// Says what would be done, and does nothing.
        #[arg(long)]
        dry_run: bool,
        /// Who decides, for the audit trail.
        #[arg(long, default_value = "instance-admin")]
        actor: String,
    },
}

pub(crate) async fn run(command: Command, environment: &Environment) -> Result<String, Failure> {
    let Command::Adopt { dry_run, actor } = command;
    let (db, settings) = (connect(environment)?, AdminSettings::load(environment)?.settings);
    let store = backup::legacy::LegacyStore::new(settings.backups_path);
    let adoption = LegacyBackups { db, store, entropy: Arc::new(OsEntropy), actor };
    Ok(page(&adoption.adopt(dry_run).await.map_err(Failure::Failed)?, dry_run))
}

/// One line for each, and how many of which kind.
fn page(outcomes: &[(String, Outcome)], dry_run: bool) -> String {
    let count = |is: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, outcome)| is(outcome)).count();
    let lines: String = outcomes.iter().map(|(name, outcome)| format!("{name}  {outcome}\n")).collect();
    format!(
        "{lines}{} entered, {} entered as failed, {} known, {} changed, {} not entered{}\n",
        count(|outcome| matches!(outcome, Outcome::Entered(_))),
        count(|outcome| matches!(outcome, Outcome::Failed(..))),
        count(|outcome| matches!(outcome, Outcome::Known(_))),
        count(|outcome| matches!(outcome, Outcome::Changed(..))),
        count(|outcome| matches!(outcome, Outcome::Unmatched(_))),
        if dry_run { " (dry run: nothing was done)" } else { "" },
    )
}
