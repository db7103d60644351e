//! `instance-admin migrate`.

use crate::failure::Failure;
use bootstrap::Environment;
use bootstrap::settings::MigrateSettings;

pub(crate) async fn run(environment: &Environment) -> Result<String, Failure> {
    let loaded = MigrateSettings::load(environment)?;
    bootstrap::telemetry::init(&loaded.settings.log).map_err(|error| Failure::Failed(error.into()))?;
    bootstrap::tls::install();
    let migration = loaded.announce().migration;
    db::migrate::run(&migration.owner, &migration.runtime_role).await.map_err(|error| Failure::Failed(error.into()))?;
    Ok(format!("The schema is up to date; {} may use it.\n", migration.runtime_role))
}
