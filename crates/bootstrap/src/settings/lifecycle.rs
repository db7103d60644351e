//! What is kept when an instance goes, and who is told.

use super::backups;
use super::reader::Reader;
use super::variables::{self as v, Variable};
use domain::backup::schedule::Schedule;

/// Whether Odoo is stopped while it is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupMode {
    /// No stop.
    Online,
    /// Stopped.
    Offline,
}

/// Backups, purges and extra mails.
#[derive(Clone, Debug)]
pub struct LifecycleSettings {
    /// How backups are taken.
    pub backup_mode: BackupMode,
    /// How many are kept; none keeps all.
    pub backup_retention_count: Option<u32>,
    /// For how many days; none keeps all.
    pub backup_retention_days: Option<u32>,
    /// When instances without a schedule of their own are backed up.
    pub backup_schedule: Schedule,
    /// How long a proof that an instance can be restored is good for, in days; none: no proofs are made.
    pub backup_proof_days: Option<u32>,
    /// When terminated instances are deleted; none keeps them for ever.
    pub purge_after_days: Option<u32>,
    /// Whether a delete takes a last backup.
    pub purge_final_backup: bool,
    /// How long that backup is kept, in days.
    pub purged_backup_days: u32,
    /// How long an export can be fetched, in hours.
    pub export_keep_hours: u32,
    /// How long a replaced database is kept, in hours.
    pub restore_keep_old_hours: u32,
    /// Whether the extra mails are sent.
    pub notify_extras: bool,
}

impl LifecycleSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let backup_mode = reader.parsed(&v::BACKUP_MODE, "one of online, offline", |text| match text {
            "online" => Some(BackupMode::Online),
            "offline" => Some(BackupMode::Offline),
            _ => None,
        });
        let backup_retention_count = whole(reader, &v::BACKUP_RETENTION_COUNT);
        let backup_retention_days = whole(reader, &v::BACKUP_RETENTION_DAYS);
        let backup_schedule = backups::schedule(reader);
        let backup_proof_days = reader.number(&v::BACKUP_PROOF_DAYS, 0..=3_650);
        let purge_after_days = whole(reader, &v::PURGE_AFTER_DAYS);
        let purge_final_backup = reader.switch(&v::PURGE_FINAL_BACKUP);
        let purged_backup_days = reader.number(&v::PURGED_BACKUP_DAYS, 0..=36_500);
        let export_keep_hours = reader.number(&v::BACKUP_EXPORT_KEEP_HOURS, 1..=720);
        let restore_keep_old_hours = reader.number(&v::RESTORE_KEEP_OLD_HOURS, 0..=8_760);
        let notify_extras = reader.switch(&v::NOTIFY_LIFECYCLE_EXTRAS);
        Some(Self {
            backup_mode: backup_mode?,
            backup_retention_count: backup_retention_count?,
            backup_retention_days: backup_retention_days?,
            backup_schedule: backup_schedule?,
            backup_proof_days: backup_proof_days.map(|days| (days > 0).then_some(days))?,
            purge_after_days: purge_after_days?,
            purge_final_backup: purge_final_backup?,
            purged_backup_days: purged_backup_days?,
            export_keep_hours: export_keep_hours?,
            restore_keep_old_hours: restore_keep_old_hours?,
            notify_extras: notify_extras?,
        })
    }
}

fn whole(reader: &mut Reader<'_>, variable: &Variable) -> Option<Option<u32>> {
    reader.parsed_optional(variable, "a whole number from 1 on", |text| text.parse().ok().filter(|n| *n > 0))
}
