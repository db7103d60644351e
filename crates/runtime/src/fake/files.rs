//! The few filestore files that the fake Odoo stores. Named, as Odoo does, by the SHA-1 of their content.

use super::wire::Order;
use crate::account::Account;
use crate::directory::{DATA, incoming};
use crate::error::{RuntimeError, RuntimeResult};
use crate::workload::Files;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

pub(super) struct Stored {
    pub(super) sha1: &'static str,
    pub(super) content: &'static [u8],
    name: &'static str,
    url: Option<&'static str>,
    mimetype: &'static str,
}

/// What an initialisation stores.
pub(super) const INITIAL: &[Stored] = &[
    Stored {
        sha1: "2396d0f9b011a39df55d6fab906efc7027fc60f5",
        content: b"a flag\n",
        name: "flag_image",
        url: None,
        mimetype: "text/plain",
    },
    Stored {
        sha1: "0cd870a3041d5b8be978b1973b1bc008b443ef69",
        content: b"a portrait\n",
        name: "image_1920",
        url: None,
        mimetype: "text/plain",
    },
];

/// What an update adds.
pub(super) const UPDATED: &[Stored] = &[Stored {
    sha1: "282af5e42ba1a8781367069b02c4ef9634d7fc9a",
    content: b"a new icon\n",
    name: "icon_image",
    url: None,
    mimetype: "text/plain",
}];

/// What a visit to login page and web client adds.
pub(super) const ASSETS: &[Stored] = &[
    Stored {
        sha1: "77997c842cb4f7ad2157d88e4eec37040853c888",
        content: b"body { color: black }\n",
        name: "web.assets_frontend.min.css",
        url: Some("/web/assets/1/0a1b2c3/web.assets_frontend.min.css"),
        mimetype: "text/css",
    },
    Stored {
        sha1: "d79366a47c3556f6d567cf1af9133036652c8728",
        content: b"odoo = {};\n",
        name: "web.assets_web.min.js",
        url: Some("/web/assets/1/4d5e6f7/web.assets_web.min.js"),
        mimetype: "application/javascript",
    },
];

/// The part of a data directory that a run works on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seat {
    part: String,
    /// The filestore there, if it is not the database's.
    filestore: Option<String>,
}

impl Seat {
    pub(super) fn live() -> Self {
        Self { part: DATA.to_owned(), filestore: None }
    }

    /// Staged files must be there, as for any driver.
    pub(super) fn of(order: &Order, files: &Files) -> RuntimeResult<Self> {
        let Files::Staged { number, filestore } = files else { return Ok(Self::live()) };
        let part = incoming(*number);
        match fs::symlink_metadata(order.directory.join(&part)) {
            Ok(found) if found.is_dir() => Ok(Self { part, filestore: Some(filestore.as_str().to_owned()) }),
            _ => Err(RuntimeError::Permanent(format!("there is no {part} in {}", order.directory.display()))),
        }
    }
}

/// Writes the files into the database's filestore; those that are there stay.
pub(super) fn store(order: &Order, seat: &Seat, files: &[Stored], account: Account) -> RuntimeResult<()> {
    let database = seat.filestore.as_ref().unwrap_or(&order.database);
    let top = order.directory.join(&seat.part).join("filestore").join(database);
    let write = || -> io::Result<()> {
        make(&top, account)?;
        for file in files {
            let place = top.join(&file.sha1[..2]);
            make(&place, account)?;
            write_new(&place.join(file.sha1), file.content, account)?;
        }
        Ok(())
    };
    write().map_err(|e| RuntimeError::io(format!("filestore {}", top.display()), &e))
}

fn make(path: &Path, account: Account) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.and_then(|()| account.own(fs::File::open(path)?)),
    }
}

fn write_new(path: &PathBuf, content: &[u8], account: Account) -> io::Result<()> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    account.own(&file)
}

/// SQL that records the files as attachments, once.
pub(super) fn attachments(files: &[Stored]) -> RuntimeResult<String> {
    let mut sql = String::new();
    for Stored { sha1, content, name, url, mimetype } in files {
        let url = url.map_or("NULL".into(), |url| format!("'{url}'"));
        writeln!(
            sql,
            "INSERT INTO ir_attachment (name, type, url, store_fname, checksum, mimetype, file_size, public)
             SELECT '{name}', 'binary', {url}, '{}/{sha1}', '{sha1}', '{mimetype}', {}, true
              WHERE NOT EXISTS (SELECT FROM ir_attachment WHERE checksum = '{sha1}');",
            &sha1[..2],
            content.len()
        )
        .map_err(|e| RuntimeError::Permanent(e.to_string()))?;
    }
    Ok(sql)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn files_are_named_by_their_content() {
        for file in INITIAL.iter().chain(ASSETS).chain(UPDATED) {
            let mut sum = Command::new("sha1sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            sum.stdin.take().unwrap().write_all(file.content).unwrap();
            let output = sum.wait_with_output().unwrap().stdout;
            assert_eq!(&String::from_utf8(output).unwrap()[..40], file.sha1);
        }
    }
}
