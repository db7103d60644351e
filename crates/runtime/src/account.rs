//! The operating system account that Odoo runs as.

use crate::error::{RuntimeError, RuntimeResult};
use rustix::fs::{AtFlags, Gid, Uid};
use std::fs;
use std::os::fd::AsFd;

/// Who owns the files of an instance and runs its Odoo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// The account this process runs as; nothing changes hands.
    Own,
    /// Another one. Only root can give files and processes to it.
    Other {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
    },
}

impl Account {
    /// The account named `user`, by `/etc/passwd`. A process that is not root gets [`Account::Own`], whatever the name: Odoo, and with it
    /// what a tenant runs in it, can then read everything that this process can.
    pub fn named(user: &str) -> RuntimeResult<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Own);
        }
        let table = fs::read_to_string("/etc/passwd").map_err(|e| RuntimeError::io("read /etc/passwd", &e))?;
        Self::find(&table, user).ok_or_else(|| RuntimeError::Permanent(format!("there is no user {user:?} on this machine")))
    }

    fn find(table: &str, user: &str) -> Option<Self> {
        table.lines().find_map(|line| {
            let mut fields = line.split(':');
            if fields.next()? != user {
                return None;
            }
            let uid = fields.nth(1)?.parse().ok()?;
            let gid = fields.next()?.parse().ok()?;
            Some(Self::Other { uid, gid })
        })
    }

    /// Gives an open file or directory to this account.
    pub(crate) fn own(self, file: impl AsFd) -> std::io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => Ok(rustix::fs::fchown(file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?),
        }
    }

    /// Gives a symbolic link itself to this account.
    pub(crate) fn own_link(self, place: impl AsFd, name: &std::ffi::CStr) -> std::io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { uid, gid } => {
                let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
                Ok(rustix::fs::chownat(place, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?)
            }
        }
    }

    /// Lets this account's group reach an open file or directory that stays ours.
    pub(crate) fn share(self, file: impl AsFd) -> std::io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Other { gid, .. } => Ok(rustix::fs::fchown(file, None, Some(Gid::from_raw(gid)))?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_an_account_in_the_password_file() {
        let table = "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nodoo:x:999:995::/home/odoo:/bin/sh\nodoo2:x:1000:1000::/:/bin/sh\nshort:x\n";
        assert_eq!(Account::find(table, "odoo"), Some(Account::Other { uid: 999, gid: 995 }));
        assert_eq!(Account::find(table, "short"), None);
        assert_eq!(Account::find(table, "nobody"), None);
    }
}
