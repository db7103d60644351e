//! The list of a filestore: one line a file, `<sha1> <bytes>`, sorted, as a zstd stream.

use crate::error::{BackupError, BackupResult};
use std::fmt;

/// The name of a file in Odoo's filestore: the SHA-1 of its content, in 40 lower-case hexadecimal digits. Odoo stores it below its first
/// two digits (`ir_attachment.store_fname`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentName(String);

impl ContentName {
    /// From 40 digits; `None` for anything else.
    pub fn parse(sha1: &str) -> Option<Self> {
        let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (sha1.len() == 40 && sha1.bytes().all(is_digit)).then(|| Self(sha1.to_owned()))
    }

    /// From `ab/abcd...`, as rows of `ir_attachment` have it.
    pub fn of_store_fname(text: &str) -> Option<Self> {
        let (directory, name) = text.split_once('/')?;
        Self::parse(name).filter(|name| name.directory() == directory)
    }

    /// The 40 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first two of them.
    pub fn directory(&self) -> &str {
        &self.0[..2]
    }
}

impl fmt::Display for ContentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ContentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A file that a backup must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: ContentName,
    /// Its length, if the database says; the file's own counts.
    pub bytes: Option<u64>,
}

/// A file of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: ContentName,
    pub(crate) bytes: u64,
}

impl Entry {
    pub(crate) fn line(&self) -> String {
        format!("{} {}\n", self.name, self.bytes)
    }

    pub(crate) fn of_line(line: &str) -> BackupResult<Self> {
        let entry = line
            .split_once(' ')
            .and_then(|(name, bytes)| Some(Self { name: ContentName::parse(name)?, bytes: bytes.parse().ok()? }));
        entry.ok_or_else(|| BackupError::damaged("list of files", "a line is none of a list"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sums_and_nothing_else() {
        let sum = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
        assert!(ContentName::of_store_fname(&format!("da/{sum}")).is_some());
        for bad in [
            format!("db/{sum}"),
            format!("da/../{sum}"),
            sum.to_owned(),
            format!("da/{}", sum.to_uppercase()),
            "../../etc".into(),
        ] {
            assert_eq!(ContentName::of_store_fname(&bad), None, "{bad}");
        }
    }

    #[test]
    fn a_line_reads_as_it_was_written() {
        let entry = Entry { name: ContentName::parse("da39a3ee5e6b4b0d3255bfef95601890afd80709").unwrap(), bytes: 7 };
        assert_eq!(Entry::of_line(entry.line().trim_end()).unwrap(), entry);
        for bad in ["", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "da39 1", "da39a3ee5e6b4b0d3255bfef95601890afd80709 -1"] {
            assert!(Entry::of_line(bad).is_err(), "{bad:?}");
        }
    }
}
