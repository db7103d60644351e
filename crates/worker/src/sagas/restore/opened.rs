//! A backup that is read: one of our own, or one of the earlier service.

use backup::legacy::LegacyBackup;
use backup::store::Key;
use backup::tools::{ClientTools, Target};
use backup::{Backup, BackupError, BackupResult, Verified};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::Path;

pub(in crate::sagas) enum Opened {
    Own(Box<Backup>),
    /// With Odoo's version, which only the catalogue knows.
    Legacy(LegacyBackup, String),
}

impl Opened {
    pub(in crate::sagas) fn odoo_version(&self) -> &str {
        match self {
            Self::Own(backup) => &backup.manifest().facts.odoo_version,
            Self::Legacy(_, version) => version,
        }
    }

    /// Major version of the server that was dumped; 0 if nobody knows it.
    pub(in crate::sagas) fn postgres_version(&self) -> u32 {
        match self {
            Self::Own(backup) => backup.manifest().facts.postgres_version,
            Self::Legacy(backup, _) => backup.content().postgres_version.unwrap_or_default(),
        }
    }

    /// What it needs on a disk: its files, and its dump while that is loaded, which is seldom larger than the database was.
    pub(super) fn unpacked_bytes(&self) -> u64 {
        let (files, data, dump) = match self {
            Self::Own(backup) => {
                let manifest = backup.manifest();
                (manifest.files.bytes, manifest.data_bytes, manifest.facts.database_bytes)
            }
            Self::Legacy(backup, _) => (backup.content().files_bytes, backup.content().data_bytes, 0),
        };
        files.saturating_add(data).saturating_add(dump)
    }

    /// What must be in the database; of one without a manifest only that it is Odoo's, and not empty.
    pub(in crate::sagas) fn rows(&self) -> BTreeMap<String, u64> {
        match self {
            Self::Own(backup) => backup.manifest().facts.rows.iter().map(|row| (row.table.clone(), row.count)).collect(),
            Self::Legacy(..) => BTreeMap::new(),
        }
    }

    /// Compares what only this backup has with its sums; with `contents` the contents of its files, too.
    pub(in crate::sagas) async fn verify(&self, contents: bool) -> BackupResult<Verified> {
        match self {
            Self::Own(backup) => backup.verify(contents).await,
            Self::Legacy(backup, _) => backup.verify().await,
        }
    }

    /// Compares all of it, and says what of it is wrong in the pool. One bad read is none of the store's: our own objects are read twice then.
    pub(in crate::sagas) async fn examine(&self) -> BackupResult<(Verified, Vec<Key>)> {
        match self {
            Self::Own(backup) => backup.examine(true).await,
            Self::Legacy(backup, _) => match backup.verify().await {
                Err(error @ BackupError::Damaged { .. }) => {
                    tracing::warn!(%error, "what was read is wrong, and is read again");
                    Ok((backup.verify().await?, Vec::new()))
                }
                verified => Ok((verified?, Vec::new())),
            },
        }
    }

    /// Loads its dump into an empty database; `spool` is a directory with room for it.
    pub(in crate::sagas) async fn load(&self, client: &ClientTools, into: &Target, spool: &Path) -> BackupResult<()> {
        match self {
            Self::Own(backup) => client.restore(into, backup.dump(), spool).await,
            Self::Legacy(backup, _) => client.load_plain(into, backup.dump()?).await,
        }
    }

    /// Writes its files into new directories.
    pub(in crate::sagas) async fn unpack(&self, data: OwnedFd, filestore: OwnedFd) -> BackupResult<Verified> {
        match self {
            Self::Own(backup) => {
                backup.restore_data(data).await?;
                backup.restore_files(filestore).await
            }
            Self::Legacy(backup, _) => backup.restore(data, filestore).await,
        }
    }
}
