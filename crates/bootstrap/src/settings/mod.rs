//! Settings: one struct a section, loaded from an environment snapshot, with every problem reported at once.
//!
//! Owns: names, defaults and rules of all variables (the table is [`variables`]), and what is told about them.
//! Leaves to others: checks that need a connection, such as whether the two servers are really two.

mod backups;
mod bucket;
mod doors;
mod engine;
mod killbill;
mod lifecycle;
mod log;
mod monitoring;
mod odoo_server;
mod orders;
mod peers;
mod platform;
mod reader;
pub mod reference;
mod runtime;
mod sealing;
mod sessions;
mod transfer;
mod unknown;
pub mod variables;

pub use bucket::BucketSettings;
pub use doors::{AuthMode, CorsOrigins, DoorSettings};
pub use engine::EngineSettings;
pub use killbill::KillBillSettings;
pub use lifecycle::{BackupMode, LifecycleSettings};
pub use log::{LogFormat, LogSettings};
pub use monitoring::MonitoringSettings;
pub use odoo_server::OdooServerSettings;
pub use orders::{AddressSettings, VersionSettings};
pub use peers::PeerSettings;
pub use platform::{MigrationSettings, PlatformSettings};
pub use reader::Shown;
pub use runtime::{Driver, ImageProfile, ProcessSettings, RuntimeSettings, StorageQuota};
pub use sealing::{SealingKey, SealingSettings};
pub use sessions::{SessionSettings, SessionSource};
pub use transfer::TransferSettings;

use crate::environment::{Environment, with_file};
use domain::backup::schedule::Schedule;
use reader::Reader;
use secrecy::SecretString;
use std::path::PathBuf;
use variables::Process;

/// Settings, and what is to be told about them once there is a log.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The settings.
    pub settings: T,
    /// Sentences for the log, at level warn.
    pub warnings: Vec<String>,
    /// Every variable read, as it may be shown.
    pub shown: Vec<Shown>,
}

impl<T> Loaded<T> {
    /// Writes the warnings to the log and hands out the settings.
    pub fn announce(self) -> T {
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
        self.settings
    }
}

/// Everything that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {} problem(s):\n  - {}", .0.len(), .0.join("\n  - "))]
pub struct AllProblems(pub Vec<String>);

/// What a build of the worker can do; settings that ask for more are refused.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// Drivers of the runtime.
    pub drivers: &'static [Driver],
    /// Whether there are fault points.
    pub fault_points: bool,
    /// Whether disk quotas can be set.
    pub quotas: bool,
    /// Whether backups can be kept in a bucket.
    pub buckets: bool,
}

/// Settings of `instance-api`. It gets nothing of postgres2 and no sealing key.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// postgres1.
    pub platform: PlatformSettings,
    /// The doors.
    pub doors: DoorSettings,
    /// Login sessions.
    pub sessions: SessionSettings,
    /// What may be ordered.
    pub versions: VersionSettings,
    /// Host names that nobody may order, beside the built-in ones.
    pub reserved_hostnames: Vec<String>,
    /// Most removals accepted within an hour; none for no limit.
    pub delete_brake: Option<u32>,
    /// When instances without a schedule of their own are backed up.
    pub backup_schedule: Schedule,
    /// Archives that are fetched and brought.
    pub transfer: TransferSettings,
    /// Secret of the billing engine's webhook; none while it is off.
    pub webhook_secret: Option<SecretString>,
    /// The log.
    pub log: LogSettings,
}

impl ApiSettings {
    /// Reads the settings of the API.
    ///
    /// # Errors
    /// All problems together.
    pub fn load(environment: &Environment) -> Result<Loaded<Self>, AllProblems> {
        load(environment, Process::Api, |reader| {
            let platform = PlatformSettings::read(reader);
            let doors = DoorSettings::read(reader);
            let sessions = SessionSettings::read(reader);
            let versions = VersionSettings::read(reader);
            let reserved_hostnames = orders::reserved_hostnames(reader);
            let delete_brake = orders::delete_brake(reader);
            let backup_schedule = backups::schedule(reader);
            let transfer = TransferSettings::read(reader);
            let webhook_secret = killbill::webhook_secret(reader);
            let log = LogSettings::read(reader);
            Some(Self {
                platform: platform?,
                doors: doors?,
                sessions: sessions?,
                versions: versions?,
                reserved_hostnames: reserved_hostnames?,
                delete_brake: delete_brake?,
                backup_schedule: backup_schedule?,
                transfer: transfer?,
                webhook_secret: webhook_secret?,
                log: log?,
            })
        })
    }
}

/// Settings of `instance-worker`.
#[derive(Debug)]
pub struct WorkerSettings {
    /// postgres1.
    pub platform: PlatformSettings,
    /// postgres2, registered as `default`.
    pub odoo_server: OdooServerSettings,
    /// Keys for stored secrets.
    pub sealing: SealingSettings,
    /// Neighbours.
    pub peers: PeerSettings,
    /// Versions, for templates.
    pub versions: VersionSettings,
    /// Where instances are served.
    pub addresses: AddressSettings,
    /// What runs Odoo.
    pub runtime: RuntimeSettings,
    /// Where backups are kept, if not in a directory.
    pub bucket: Option<BucketSettings>,
    /// The engine.
    pub engine: EngineSettings,
    /// Reconcile and health check.
    pub monitoring: MonitoringSettings,
    /// What is kept, and who is told.
    pub lifecycle: LifecycleSettings,
    /// Host names that nobody may order, beside the built-in ones.
    pub reserved_hostnames: Vec<String>,
    /// Most removals accepted within an hour; none for no limit.
    pub delete_brake: Option<u32>,
    /// The billing engine, if its webhook is on.
    pub killbill: Option<KillBillSettings>,
    /// The log.
    pub log: LogSettings,
}

impl WorkerSettings {
    /// Reads the settings of the worker.
    ///
    /// # Errors
    /// All problems together.
    pub fn load(environment: &Environment, built_in: BuiltIn) -> Result<Loaded<Self>, AllProblems> {
        load(environment, Process::Worker, |reader| {
            let platform = PlatformSettings::read(reader);
            let odoo_server = OdooServerSettings::read(reader);
            let sealing = SealingSettings::read(reader);
            let addresses = AddressSettings::read(reader);
            let peers = PeerSettings::read(reader, addresses.as_ref().map(|a| a.base_domain.as_str()));
            let versions = VersionSettings::read(reader);
            let runtime = RuntimeSettings::read(reader, built_in);
            let bucket = bucket::read(reader, built_in.buckets);
            let engine = EngineSettings::read(reader, built_in.fault_points);
            let monitoring = MonitoringSettings::read(reader);
            let lifecycle = LifecycleSettings::read(reader);
            let reserved_hostnames = orders::reserved_hostnames(reader);
            let delete_brake = orders::delete_brake(reader);
            let killbill = KillBillSettings::read(reader);
            let log = LogSettings::read(reader);
            refuse_one_server(reader, platform.as_ref(), odoo_server.as_ref());
            Some(Self {
                platform: platform?,
                odoo_server: odoo_server?,
                sealing: sealing?,
                peers: peers?,
                versions: versions?,
                addresses: addresses?,
                runtime: runtime?,
                bucket: bucket?,
                engine: engine?,
                monitoring: monitoring?,
                lifecycle: lifecycle?,
                reserved_hostnames: reserved_hostnames?,
                delete_brake: delete_brake?,
                killbill: killbill?,
                log: log?,
            })
        })
    }
}

/// Settings of `instance-admin migrate`.
#[derive(Clone, Debug)]
pub struct MigrateSettings {
    /// postgres1 with its owner.
    pub migration: MigrationSettings,
    /// The log.
    pub log: LogSettings,
}

impl MigrateSettings {
    /// Reads the settings of the migration.
    ///
    /// # Errors
    /// All problems together.
    pub fn load(environment: &Environment) -> Result<Loaded<Self>, AllProblems> {
        load(environment, Process::Migrate, |reader| {
            let migration = MigrationSettings::read(reader);
            let log = LogSettings::read(reader);
            Some(Self { migration: migration?, log: log? })
        })
    }
}

/// Settings of the other commands of `instance-admin`.
#[derive(Clone, Debug)]
pub struct AdminSettings {
    /// postgres1.
    pub platform: PlatformSettings,
    /// Where the earlier service left its backups.
    pub backups_path: PathBuf,
    /// The log.
    pub log: LogSettings,
}

impl AdminSettings {
    /// Reads the settings of an administration command.
    ///
    /// # Errors
    /// All problems together.
    pub fn load(environment: &Environment) -> Result<Loaded<Self>, AllProblems> {
        load(environment, Process::Admin, |reader| {
            let platform = PlatformSettings::read(reader);
            let backups_path = runtime::directory(reader, &variables::CEPHFS_BACKUPS_PATH);
            let log = LogSettings::read(reader);
            Some(Self { platform: platform?, backups_path: backups_path?, log: log? })
        })
    }
}

fn load<T>(
    environment: &Environment,
    process: Process,
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Result<Loaded<T>, AllProblems> {
    let environment = with_file(environment).map_err(|problem| AllProblems(vec![problem]))?;
    let mut reader = Reader::new(&environment, process);
    reader.optional(&variables::CONFIG_FILE);
    let settings = read(&mut reader);
    unknown::warn(&mut reader, &environment);
    let findings = reader.finish();
    match settings {
        Some(settings) if findings.problems.is_empty() => {
            Ok(Loaded { settings, warnings: findings.warnings, shown: findings.shown })
        }
        _ => Err(AllProblems(findings.problems)),
    }
}

/// What the settings alone can tell of the separation check; by connecting the worker sees more (system identifiers).
fn refuse_one_server(reader: &mut Reader<'_>, platform: Option<&PlatformSettings>, odoo: Option<&OdooServerSettings>) {
    let (Some(platform), Some(odoo)) = (platform, odoo) else { return };
    let same = platform.endpoint.host == odoo.admin.host && platform.endpoint.port == odoo.admin.port;
    if same && !odoo.allow_shared {
        reader
            .problem("ODOO_POSTGRES_HOST and _PORT name the platform's own server; set ALLOW_SHARED_POSTGRES=true to permit it");
    }
}

/// The secret called `name`, from `<name>` or `<name>_FILE`, for servers that an operator registers by the name of their secret.
///
/// # Errors
/// One sentence that says why there is none; never a value.
pub fn named_secret(environment: &Environment, name: &str) -> Result<SecretString, String> {
    let environment = with_file(environment)?;
    reader::secret_by_name(&environment, name)?
        .map(SecretString::from)
        .ok_or_else(|| format!("{name} (or {name}_FILE) is not set"))
}

fn comma_list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}
