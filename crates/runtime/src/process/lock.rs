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

/// Names of the locks of what is staged: this, a number, and the ending.
const STAGED: &str = "incoming-";
const ENDING: &str = ".lock";

/// The lock of a directory's live data.
pub(crate) fn path(directory: &Path) -> PathBuf {
    directory.join("run.lock")
}

/// The lock of what is staged beside it.
pub(crate) fn staged_path(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{STAGED}{number}{ENDING}"))
}

/// Numbers of what was ever worked on beside the live data.
pub(crate) fn staged_numbers(directory: &Path) -> RuntimeResult<Vec<u32>> {
    let entries = match fs::read_dir(directory) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        other => other.map_err(|e| failed(directory, &e))?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| failed(directory, &e))?.file_name();
        let number: Option<u32> = name.to_str().and_then(|name| name.strip_prefix(STAGED)?.strip_suffix(ENDING)?.parse().ok());
        numbers.extend(number);
    }
    Ok(numbers)
}

/// Whether nothing works on a directory, neither on its live data nor on what is staged beside it.
pub(crate) fn all_free(directory: &Path) -> RuntimeResult<bool> {
    if !is_free(&path(directory))? {
        return Ok(false);
    }
    for number in staged_numbers(directory)? {
        if !is_free(&staged_path(directory, number))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn failed(lock: &Path, error: &io::Error) -> RuntimeError {
    RuntimeError::io(format!("lock {}", lock.display()), error)
}

/// Which file the lock is; `None` if nothing was ever started here.
pub(super) fn id(lock: &Path) -> RuntimeResult<Option<FileId>> {
    match fs::symlink_metadata(lock) {
        Ok(found) => Ok(Some((found.dev(), found.ino()))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(lock, &e)),
    }
}

/// Takes the lock, or returns `None` if somebody has it.
pub(super) fn try_take(lock: &Path) -> RuntimeResult<Option<File>> {
    // Read-only, so that Odoo cannot write to what it gets.
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(CWD, lock, flags, Mode::from_raw_mode(0o600)).map_err(|e| failed(lock, &e.into()))?;
    let file = File::from(file);
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(e)) => return Err(failed(lock, &e)),
    }
    // The directory may have been removed and made anew meanwhile; a lock on a file that is gone protects nothing.
    let mine = file.metadata().map_err(|e| failed(lock, &e))?;
    Ok((id(lock)? == Some((mine.dev(), mine.ino()))).then_some(file))
}

/// Whether nobody has the lock. It looks with a shared lock, so that lookers do not disturb each other.
pub(crate) fn is_free(lock: &Path) -> RuntimeResult<bool> {
    let file = match File::open(lock) {
        Ok(file) => file,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(true),
        Err(e) => return Err(failed(lock, &e)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(e)) => Err(failed(lock, &e)),
    }
}
