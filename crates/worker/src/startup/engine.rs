//! The engine with the sagas of this release.

use super::Parts;
use backup::legacy::LegacyStore;
use bootstrap::settings::BackupMode;
use bootstrap::{OsEntropy, SystemClock, environment};
use chrono::TimeDelta;
use db::odoo::TenantLimits;
use db::queue::QueuePool;
use domain::operation::Class;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use worker::engine::faults::Faults;
use worker::engine::{Apalis, Engine, EngineSettings, Registry, Services, Slots};
use worker::sagas::{self, Addresses, Tools};
#[cfg(feature = "faults")]
use {
    bootstrap::settings::WorkerSettings,
    db::platform::{PlatformDb, PoolLimits},
};

/// A name for this start of this process that no other start ever has.
pub(super) fn owner() -> String {
    EngineSettings::owner(&environment::host_name(), &SystemClock, &OsEntropy)
}

/// Runs the engine until `stop` and until the steps in flight have ended, or until it gives up.
///
/// # Errors
/// The process should end and be started anew.
pub(super) async fn run(parts: &Parts, stop: &CancellationToken) -> anyhow::Result<()> {
    let settings = settings(parts);
    let services = Services { db: parts.db.clone(), entropy: Arc::new(OsEntropy) };
    let workers = u32::try_from(Class::ALL.len())?;
    let pool = QueuePool::connect_lazy(&parts.settings.platform.endpoint, workers, "instance-worker wake-ups");
    let tools = tools(parts);
    let engine = Engine::new(settings.clone(), services, registry(&tools)?, faults(parts, &tools), stop.child_token())?;
    Ok(engine.run(Apalis::new(pool, settings)).await?)
}

fn settings(parts: &Parts) -> EngineSettings {
    let configured = &parts.settings.engine;
    EngineSettings {
        lease: configured.lease,
        renew_every: configured.renew_every,
        sweep_every: configured.sweep_every,
        ..EngineSettings::new(parts.name.clone(), Slots::split(configured.concurrency))
    }
}

/// Every saga of this release.
fn registry(tools: &Arc<Tools>) -> anyhow::Result<Registry> {
    Ok(Registry::new(sagas::all(tools))?)
}

/// What the sagas work with.
fn tools(parts: &Parts) -> Arc<Tools> {
    let addresses = &parts.settings.addresses;
    Arc::new(Tools {
        keyring: parts.keyring.clone(),
        servers: parts.registry.clone(),
        runtime: parts.runtime.driver.clone(),
        directories: parts.runtime.directories.clone(),
        offline_backups: parts.settings.lifecycle.backup_mode == BackupMode::Offline,
        backups: parts.backups.clone(),
        legacy: LegacyStore::new(&parts.settings.runtime.backups_path),
        transfer: parts.transfer.clone(),
        keep_exports: TimeDelta::hours(i64::from(parts.settings.lifecycle.export_keep_hours)),
        keep_replaced: Duration::from_secs(u64::from(parts.settings.lifecycle.restore_keep_old_hours) * 3600),
        final_backup: parts.settings.lifecycle.purge_final_backup,
        keep_final: parts.settings.lifecycle.purged_backup_days,
        addresses: Addresses { base_domain: addresses.base_domain.clone(), scheme: addresses.scheme.clone() },
        limits: TenantLimits::default(),
        image_profile: parts.settings.runtime.image_profile.as_str().to_owned(),
        notify_extras: parts.settings.lifecycle.notify_extras,
        monitoring: parts.monitoring.subscribe(),
        hashes: Default::default(),
    })
}

#[cfg(feature = "faults")]
fn faults(parts: &Parts, tools: &Arc<Tools>) -> Faults {
    Faults::controlled_by(parts.settings.engine.faults_file.clone()).seeing(sagas::effect_seen(tools))
}

#[cfg(not(feature = "faults"))]
fn faults(_: &Parts, _: &Arc<Tools>) -> Faults {
    Faults::default()
}

/// Prints every fault point, one a line. It needs the worker's settings, since the sagas are built from them, but no server.
///
/// # Errors
/// The settings are wrong, or nobody reads the list.
#[cfg(feature = "faults")]
pub(crate) fn list_faults() -> anyhow::Result<()> {
    use std::io::Write as _;
    let loaded = WorkerSettings::load(&environment::snapshot(), worker::BUILT_IN)?;
    bootstrap::tls::install();
    let db = PlatformDb::connect_lazy(&loaded.settings.platform.endpoint, &PoolLimits::default(), "instance-worker faults");
    let backups = backup::Backups::new(super::store::Place::of(&loaded.settings)?.open("")?);
    let parts = Parts::build(loaded.settings, db, Arc::default(), backups, "")?;
    let mut out = std::io::stdout().lock();
    for point in worker::engine::faults::points(&registry(&tools(&parts))?) {
        writeln!(out, "{point}")?;
    }
    Ok(())
}
