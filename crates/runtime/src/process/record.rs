//! What the driver knows of a service across restarts of any worker: one small file per service in `<root>/.services`.
//!
//! It holds no secret. Whether the service runs is not in it: that is read from the lock and the process table each time.

use crate::directory::{plain, private};
use crate::error::{RuntimeError, RuntimeResult};
use crate::workload::{Image, Owner, Service};
use domain::ids::OperationId;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What was last asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Wanted {
    Running,
    Stopped,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) owner: Owner,
    pub(super) operation: OperationId,
    pub(super) image: Image,
    pub(super) directory: PathBuf,
    /// None for a service that was only ever made for a one-off run.
    pub(super) port: Option<u16>,
    pub(super) wanted: Wanted,
    /// Digest of everything the process was started with; another one means a restart.
    pub(super) fingerprint: String,
}

/// All records.
#[derive(Clone, Debug)]
pub(super) struct Records {
    area: PathBuf,
}

impl Records {
    /// Opens the records below a root, making the place for them at first use.
    pub(super) fn open(root: &Path) -> RuntimeResult<Self> {
        let area = root.join(".services");
        private(&area)?;
        Ok(Self { area })
    }

    fn path(&self, name: &str) -> RuntimeResult<PathBuf> {
        if plain(name) {
            Ok(self.area.join(format!("{name}.json")))
        } else {
            Err(RuntimeError::Permanent(format!("{name:?} is no service name")))
        }
    }

    /// The record of a service; another owner's is `Foreign`.
    pub(super) fn load(&self, service: &Service) -> RuntimeResult<Option<Record>> {
        let record = self.read(&self.path(&service.name)?)?;
        match &record {
            Some(found) if found.owner != service.owner => {
                Err(RuntimeError::Foreign(format!("service {} belongs to {}", service.name, found.owner)))
            }
            _ => Ok(record),
        }
    }

    fn read(&self, path: &Path) -> RuntimeResult<Option<Record>> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|e| RuntimeError::Permanent(format!("record {}: {e}", path.display()))),
            // Without the area nothing is known: the file system below may be missing. That is not "no such service".
            Err(e) if e.kind() == io::ErrorKind::NotFound && self.area.is_dir() => Ok(None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(RuntimeError::Unreachable(format!("{} is gone", self.area.display())))
            }
            Err(e) => Err(RuntimeError::io(format!("read {}", path.display()), &e)),
        }
    }

    /// Replaces the record, whole. Call it in a turn of the service only: what a killed worker left half written is overwritten.
    pub(super) fn save(&self, name: &str, record: &Record) -> RuntimeResult<()> {
        let path = self.path(name)?;
        let text = serde_json::to_vec(record).map_err(|e| RuntimeError::Permanent(format!("record of {name}: {e}")))?;
        let next = self.area.join(format!("{name}.new"));
        let work = || -> io::Result<()> {
            let mut file = File::create(&next)?;
            file.write_all(&text)?;
            // Else a power failure could leave an empty record, which says less than none.
            file.sync_all()?;
            fs::rename(&next, &path)
        };
        work().map_err(|e| RuntimeError::io(format!("write {}", path.display()), &e))
    }

    /// Forgets a service; one that is not known is done.
    pub(super) fn delete(&self, name: &str) -> RuntimeResult<()> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(RuntimeError::io(format!("remove {}", path.display()), &e)),
            _ => Ok(()),
        }
    }

    /// Every service, by name.
    pub(super) fn all(&self) -> RuntimeResult<Vec<(String, Record)>> {
        let unreadable = |e: io::Error| RuntimeError::Unreachable(format!("read {}: {e}", self.area.display()));
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.area).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let is_record = path.extension().is_some_and(|ending| ending == "json");
            let Some(name) = path.file_stem().and_then(|name| name.to_str()).filter(|_| is_record) else { continue };
            if let Some(record) = self.read(&path)? {
                found.push((name.to_owned(), record));
            }
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(found)
    }
}
