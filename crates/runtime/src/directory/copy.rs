//! Copying a tree of files between open directories, and putting the copy on disk.

use super::tree::{make_directory, open_directory};
use crate::account::Account;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

/// So many files are flushed together. The file system then commits them in a few goes instead of one by one, which is five to
/// ten times quicker, and the number of open files stays bounded however large the tree is.
const TOGETHER: usize = 32;

/// A copy under way.
struct Copying {
    account: Account,
    unflushed: Vec<File>,
    files: u64,
    bytes: u64,
}

/// Copies everything below `from` into the empty directory `to`, as new files of `account`, and puts it on disk. Anything but
/// files and directories is refused. Returns count and bytes.
pub(super) fn copy(from: &OwnedFd, to: OwnedFd, account: Account) -> io::Result<(u64, u64)> {
    let mut copy = Copying { account, unflushed: Vec::new(), files: 0, bytes: 0 };
    copy.directory(from, to)?;
    copy.flush()?;
    Ok((copy.files, copy.bytes))
}

impl Copying {
    fn directory(&mut self, from: &OwnedFd, to: OwnedFd) -> io::Result<()> {
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match FileType::from_raw_mode(statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) {
                FileType::Directory => self.directory(&open_directory(from, name)?, make_directory(&to, name, 0o700)?)?,
                FileType::RegularFile => self.file(from, &to, name)?,
                other => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name:?} is a {other:?}"))),
            }
        }
        self.account.own(&to)?;
        self.written(to.into())
    }

    fn file(&mut self, from: &OwnedFd, to: &OwnedFd, name: &CStr) -> io::Result<()> {
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut source = File::from(openat(from, name, read, Mode::empty())?);
        let mut target = File::from(openat(to, name, write, Mode::from_raw_mode(0o600))?);
        self.bytes += io::copy(&mut source, &mut target)?;
        self.files += 1;
        self.account.own(&target)?;
        self.written(target)
    }

    fn written(&mut self, file: File) -> io::Result<()> {
        self.unflushed.push(file);
        if self.unflushed.len() < TOGETHER { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> io::Result<()> {
        let files = std::mem::take(&mut self.unflushed);
        std::thread::scope(|scope| {
            let flushing: Vec<_> = files.iter().map(|file| scope.spawn(|| file.sync_all())).collect();
            let ended = |flush: std::thread::ScopedJoinHandle<'_, io::Result<()>>| {
                flush.join().map_err(|_| io::Error::other("a flush ended early"))?
            };
            flushing.into_iter().try_for_each(ended)
        })
    }
}
