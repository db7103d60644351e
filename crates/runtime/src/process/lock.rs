//! The lock that makes "at most one live Odoo per directory" true even with a stale worker about.
//!
//! A starter locks `run.lock` and hands the open file to Odoo as its standard input. The lock then lives exactly as long as the
//! last process that has the file open: it needs no pid file, survives the worker, and is free the moment the last one is gone.

use crate::error::{RuntimeError, RuntimeResult};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Device and inode of a file: what a process' open file can be compared with.
pub(super) type FileId = (u64, u64);

fn path(directory: &Path) -> PathBuf {
    directory.join("run.lock")
}

fn failed(directory: &Path, error: &io::Error) -> RuntimeError {
    RuntimeError::io(format!("lock of {}", directory.display()), error)
}

/// Which file the lock is; `None` if nothing was ever started here.
pub(super) fn id(directory: &Path) -> RuntimeResult<Option<FileId>> {
    match fs::symlink_metadata(path(directory)) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(directory, &e)),
    }
}

/// Takes the lock, or returns `None` if somebody has it.
pub(super) fn try_take(directory: &Path) -> RuntimeResult<Option<File>> {
    // Read-only, so that Odoo cannot write to what it gets.
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(CWD, path(directory), flags, Mode::from_raw_mode(0o600)).map_err(|e| failed(directory, &e.into()))?;
    let file = File::from(file);
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(e)) => return Err(failed(directory, &e)),
    }
    // The directory may have been removed and made anew meanwhile; a lock on a file that is gone protects nothing.
    let mine = file.metadata().map_err(|e| failed(directory, &e))?;
    Ok((id(directory)? == Some((mine.dev(), mine.ino()))).then_some(file))
}

/// Whether nobody has the lock. It looks with a shared lock, so that lookers do not disturb each other.
pub(crate) fn is_free(directory: &Path) -> RuntimeResult<bool> {
    let file = match File::open(path(directory)) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(true),
        Err(e) => return Err(failed(directory, &e)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(failed(directory, &e)),
    }
}
