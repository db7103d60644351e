//! Giving a tree of ours to Odoo's account, through open directories, so that no symbolic link is followed.

use super::tree::{make_directory, open_directory};
use crate::account::Account;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fchmod, fstat, openat, statat};
use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;

/// Deeper trees are nobody's data; each level keeps a file open.
const DEEPEST: usize = 100;

/// Hands over everything below `top`, and in the end `top` itself: until then the account cannot enter it. What every data
/// directory has is made.
pub(super) fn hand_over(top: &OwnedFd, account: Account) -> io::Result<()> {
    match make_directory(top, "filestore", 0o700) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    directory(top, account, 0)
}

fn directory(open: &OwnedFd, account: Account, depth: usize) -> io::Result<()> {
    if depth > DEEPEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("there are more than {DEEPEST} directories in each other"),
        ));
    }
    for entry in Dir::read_from(open)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match FileType::from_raw_mode(statat(open, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) {
            FileType::Directory => directory(&open_directory(open, name)?, account, depth + 1)?,
            FileType::RegularFile => file(open, name, account)?,
            FileType::Symlink => account.own_link(open, name)?,
            other => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("{name:?} is a {other:?}"))),
        }
    }
    account.own(open)?;
    Ok(fchmod(open, Mode::from_raw_mode(0o700))?)
}

fn file(place: &OwnedFd, name: &CStr, account: Account) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(place, name, flags, Mode::empty())?;
    let mode = Mode::from_raw_mode(fstat(&file)?.st_mode);
    account.own(&file)?;
    // What may be executed stays so, for its owner. A change of hands takes set-id bits away, and so does this.
    Ok(fchmod(&file, (mode & Mode::RWXU) | Mode::RUSR | Mode::WUSR)?)
}
