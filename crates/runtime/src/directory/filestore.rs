//! The filestore of one database: `data/filestore/<database>`. The directory carries the database's name.

use super::copy::copy;
use super::tree::{make_directory, open_directory};
use super::{DataDirectories, Place, foreign};
use crate::error::{RuntimeError, RuntimeResult, blocking};
use crate::workload::Owner;
use domain::ids::OperationId;
use domain::names::PhysicalName;
use rustix::fs::{AtFlags, CWD, renameat, statat};
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// The filestore of a database in a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filestore {
    /// The data directory.
    pub directory: PathBuf,
    /// Whose it must be.
    pub owner: Owner,
    /// The database.
    pub database: PhysicalName,
}

/// What a copy brought over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Number of files.
    pub files: u64,
    /// Their length together.
    pub bytes: u64,
}

impl DataDirectories {
    /// Copies a template's filestore to an instance: real copies, since Odoo of one tenant must never share a file with another.
    /// It becomes visible whole or not at all. If the target has one already, nothing happens and the answer is `None`.
    pub async fn copy_filestore(
        &self,
        from: &Filestore,
        to: &Filestore,
        operation: OperationId,
    ) -> RuntimeResult<Option<Copied>> {
        let (this, from, to) = (self.clone(), from.clone(), to.clone());
        blocking(move || this.copy_now(&from, &to, operation)).await
    }

    fn copy_now(&self, from: &Filestore, to: &Filestore, operation: OperationId) -> RuntimeResult<Option<Copied>> {
        let source_area = self.area(from)?;
        let target_area = self.area(to)?;
        let (source_name, target_name) = (file_name(from)?, file_name(to)?);
        if exists(&target_area, target_name).map_err(|e| failed(to, &e))? {
            return Ok(None);
        }
        let staged = self.staged(&to.directory, operation, "filestore")?;
        let work = || -> io::Result<Copied> {
            let source = open_directory(&source_area, source_name)?;
            let staging = open_directory(CWD, staged.parent().unwrap_or(&staged))?;
            let name = staged.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let target = make_directory(&staging, name, 0o700)?;
            let (files, bytes) = copy(&source, target, self.account)?;
            renameat(&staging, name, &target_area, target_name)?;
            rustix::fs::fsync(&target_area)?;
            Ok(Copied { files, bytes })
        };
        work().map(Some).map_err(|e| failed(to, &e))
    }

    /// Opens `data/filestore` of a directory that must be there and be its owner's.
    fn area(&self, filestore: &Filestore) -> RuntimeResult<OwnedFd> {
        match self.check_now(&filestore.directory, filestore.owner)? {
            Place::Ours(_) => {}
            Place::Foreign => return Err(foreign(&filestore.directory)),
            Place::Absent => return Err(RuntimeError::Permanent(format!("{} is missing", filestore.directory.display()))),
        }
        let open = || -> io::Result<OwnedFd> {
            let top = open_directory(CWD, &filestore.directory)?;
            open_directory(open_directory(top, "data")?, "filestore")
        };
        open().map_err(|e| failed(filestore, &e))
    }
}

fn exists(area: &OwnedFd, name: &str) -> io::Result<bool> {
    match statat(area, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(rustix::io::Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The database's name as one path component. Adopted names may be any text, but no path.
fn file_name(filestore: &Filestore) -> RuntimeResult<&str> {
    let name = filestore.database.as_str();
    match name {
        "." | ".." => Err(RuntimeError::Permanent(format!("{name:?} names no filestore"))),
        _ if name.contains('/') => Err(RuntimeError::Permanent(format!("{name:?} names no filestore"))),
        _ => Ok(name),
    }
}

fn failed(filestore: &Filestore, error: &io::Error) -> RuntimeError {
    let what = format!("filestore {} in {}", filestore.database.as_str(), filestore.directory.display());
    match error.kind() {
        io::ErrorKind::InvalidData => RuntimeError::Permanent(format!("{what}: {error}")),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => RuntimeError::Permanent(format!("{what}: {error}")),
        _ => RuntimeError::io(what, error),
    }
}
