//! The filestore of one database: `data/filestore/<database>`. The directory carries the database's name.

use super::copy::copy;
use super::tree::{make_directory, open_directory};
use super::{DataDirectories, Place, clear, foreign};
use crate::error::{RuntimeError, RuntimeResult};
use crate::turn::{Asked, in_turn};
use crate::workload::{Owner, Turn};
use domain::names::PhysicalName;
use rustix::fs::{AtFlags, CWD, renameat, statat};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

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
    pub async fn copy_filestore(&self, from: &Filestore, to: &Filestore, turn: Turn) -> RuntimeResult<Option<Copied>> {
        let (this, from, to) = (self.clone(), from.clone(), to.clone());
        in_turn(turn, move |asked| this.copy_now(&from, &to, asked)).await
    }

    fn copy_now(&self, from: &Filestore, to: &Filestore, asked: &Asked) -> RuntimeResult<Option<Copied>> {
        let source_area = self.area(from)?;
        let (source_name, target_name) = (file_name(from)?, file_name(to)?);
        if self.is_filled(to, target_name, asked)? {
            return Ok(None);
        }
        let staged = self.staged(&to.directory, asked.turn(), "filestore")?;
        let source = open_directory(&source_area, source_name).map_err(|e| failed(to, &e))?;
        let work = || -> io::Result<Copied> {
            let target = make_directory(CWD, &staged, 0o700)?;
            let (files, bytes) = copy(&source, target, self.account)?;
            Ok(Copied { files, bytes })
        };
        let placed = work().map_err(|e| failed(to, &e)).and_then(|copied| self.put_copy(&staged, to, target_name, asked, copied));
        // What did not get to its place is of no use to anybody.
        if !matches!(placed, Ok(Some(_))) {
            clear(&staged)?;
        }
        placed
    }

    /// Whether the database has a filestore there already.
    fn is_filled(&self, to: &Filestore, name: &str, asked: &Asked) -> RuntimeResult<bool> {
        let _entered = self.enter(&to.directory, to.owner, asked)?;
        exists(&self.area(to)?, name).map_err(|e| failed(to, &e))
    }

    /// Puts a whole copy in its place, in a directory that is looked up only now: the one before may be gone.
    fn put_copy(
        &self,
        staged: &Path,
        to: &Filestore,
        name: &str,
        asked: &Asked,
        copied: Copied,
    ) -> RuntimeResult<Option<Copied>> {
        let _entered = self.enter(&to.directory, to.owner, asked)?;
        let area = self.area(to)?;
        let work = || -> io::Result<Option<Copied>> {
            if exists(&area, name)? {
                return Ok(None);
            }
            renameat(CWD, staged, &area, name)?;
            rustix::fs::fsync(&area)?;
            Ok(Some(copied))
        };
        work().map_err(|e| failed(to, &e))
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

pub(super) fn exists(area: &OwnedFd, name: &str) -> io::Result<bool> {
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
