//! File tree work below the root, always through open directories, so that no symbolic link is followed.

use super::{MARK, Mark};
use crate::account::Account;
use crate::error::{RuntimeError, RuntimeResult};
use rustix::fs::{CWD, Mode, OFlags, fchmod, mkdirat, openat};
use rustix::path::Arg;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Builds a complete instance directory at a staging path and puts it on disk.
pub(super) fn build(staged: &Path, mark: &Mark, account: Account) -> RuntimeResult<()> {
    let text = serde_json::to_vec(mark).map_err(|e| RuntimeError::Permanent(format!("mark: {e}")))?;
    let work = || -> io::Result<()> {
        DirBuilder::new().mode(0o750).create(staged)?;
        let top = open_directory(CWD, staged)?;
        fchmod(&top, Mode::from_raw_mode(0o750))?;
        account.share(&top)?;
        let file =
            openat(&top, MARK, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC, Mode::from_raw_mode(0o600))?;
        let mut file = File::from(file);
        file.write_all(&text)?;
        file.sync_all()?;
        for shared in ["conf", "addons", "log"] {
            account.share(make_directory(&top, shared, 0o750)?)?;
        }
        let data = make_directory(&top, "data", 0o700)?;
        account.own(make_directory(&data, "filestore", 0o700)?)?;
        account.own(&data)?;
        Ok(rustix::fs::fsync(&top)?)
    };
    work().map_err(|e| RuntimeError::io(format!("build {}", staged.display()), &e))
}

/// Opens a directory that must be one, not a link to one.
pub(super) fn open_directory(parent: impl AsFd, name: impl Arg) -> io::Result<OwnedFd> {
    Ok(openat(parent, name, DIRECTORY, Mode::empty())?)
}

/// Makes a new directory with exactly these permissions, whatever the umask, and opens it.
pub(super) fn make_directory(parent: impl AsFd, name: impl Arg + Copy, mode: u32) -> io::Result<OwnedFd> {
    mkdirat(&parent, name, Mode::from_raw_mode(0o700))?;
    let made = open_directory(parent, name)?;
    fchmod(&made, Mode::from_raw_mode(mode))?;
    Ok(made)
}

/// Makes sure that a directory exists which only we can enter.
pub(crate) fn private(path: &Path) -> RuntimeResult<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err(RuntimeError::Unreachable(format!("there is no place for {}", path.display())))
        }
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(RuntimeError::io(format!("make {}", path.display()), &e)),
        _ => Ok(()),
    }
}

/// Puts the entries of a directory on disk.
pub(crate) fn flush(directory: &Path) -> RuntimeResult<()> {
    let sync = || File::open(directory)?.sync_all();
    sync().map_err(|e| RuntimeError::io(format!("flush {}", directory.display()), &e))
}

/// Bytes on disk below a directory. Files that vanish while it looks do not count.
pub(super) fn size(directory: &Path) -> RuntimeResult<u64> {
    let mut total = 0;
    let mut left = vec![directory.to_owned()];
    while let Some(path) = left.pop() {
        let entries = match fs::read_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && path != directory => continue,
            other => other.map_err(|e| RuntimeError::io(format!("read {}", path.display()), &e))?,
        };
        for entry in entries {
            let entry = entry.map_err(|e| RuntimeError::io(format!("read {}", path.display()), &e))?;
            match fs::symlink_metadata(entry.path()) {
                Ok(found) if found.is_dir() => left.push(entry.path()),
                Ok(found) => total += found.blocks() * 512,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(RuntimeError::io(format!("look at {}", entry.path().display()), &e)),
            }
        }
    }
    Ok(total)
}
