//! What the steps reach the world with, beside what the engine hands them.

use super::hashing::Hashes;
use crate::transfer::Transfer;
use backup::Backups;
use backup::legacy::LegacyStore;
use chrono::TimeDelta;
use db::odoo::{OdooServers, TenantLimits};
use db::platform::instances::{Instance, Placement};
use db::platform::monitoring::Effective;
use db::secrets::Keyring;
use runtime::InstanceRuntime;
use runtime::directory::DataDirectories;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Built once at start-up and shared by all sagas.
pub struct Tools {
    /// Seals and opens secrets.
    pub keyring: Arc<Keyring>,
    /// The Odoo servers.
    pub servers: Arc<OdooServers>,
    /// What runs Odoo.
    pub runtime: Arc<dyn InstanceRuntime>,
    /// The data directories.
    pub directories: DataDirectories,
    /// Whether an Odoo that shall run is down while it is backed up (BACKUP_MODE).
    pub offline_backups: bool,
    /// Where backups are kept.
    pub backups: Backups,
    /// Where those of the earlier service are.
    pub legacy: LegacyStore,
    /// Where archives are handed over to and from the API.
    pub transfer: Transfer,
    /// How long an archive can be fetched.
    pub keep_exports: TimeDelta,
    /// How long what a restore has replaced is kept.
    pub keep_replaced: Duration,
    /// Whether a delete takes a last backup (PURGE_FINAL_BACKUP).
    pub final_backup: bool,
    /// For how many days that one is kept (PURGED_BACKUP_DAYS).
    pub keep_final: u32,
    /// Where instances are served.
    pub addresses: Addresses,
    /// Limits of tenant roles.
    pub limits: TenantLimits,
    /// Layout of the image for new instances, as stored in rows.
    pub image_profile: String,
    /// Whether mails are sent that billing sends as well (NOTIFY_LIFECYCLE_EXTRAS).
    pub notify_extras: bool,
    /// How monitoring is set up.
    pub monitoring: watch::Receiver<Effective>,
    /// Password hashes that are being computed.
    pub hashes: Hashes,
}

/// How the address of an instance is made.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Instances live at `<hostname>.<base domain>`.
    pub base_domain: String,
    /// `http` or `https`.
    pub scheme: String,
}

impl Addresses {
    /// Where customers reach an instance (contract 4.1); none without a host name, which a terminated instance has given back.
    pub fn external(&self, instance: &Instance, placement: &Placement) -> Option<String> {
        match placement.external_port {
            Some(port) => Some(format!("http://127.0.0.1:{port}")),
            None => instance.hostname.as_ref().map(|host| format!("{}://{host}.{}", self.scheme, self.base_domain)),
        }
    }

    /// Where the platform reaches it.
    pub fn internal(&self, placement: &Placement) -> String {
        match placement.external_port {
            Some(port) => format!("http://127.0.0.1:{port}"),
            None => format!("http://{}:8069", placement.service_name),
        }
    }
}
