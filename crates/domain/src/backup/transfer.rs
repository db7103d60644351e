//! Names in the directory in which API and workers hand each other archives: what customers fetch, and what they bring.
//!
//! ```text
//! exports/<operation>-<try>.zip    made by a worker, fetched from the API
//! imports/<operation>.zip          received by the API, read by a worker
//! ```
//!
//! While one is written its name ends in `.part`. A try is the fencing token of the worker that made it: one that was overtaken, and
//! wakes up, changes nothing of the one that counts. No name comes from outside.

use crate::ids::OperationId;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Directory of what is fetched.
pub const EXPORTS: &str = "exports";
/// Directory of what is brought.
pub const IMPORTS: &str = "imports";
/// Below the root of the backups, where no other place is configured.
pub const DIRECTORY: &str = "transfer";
/// Says of which deployment the directory is.
pub const ROOT: &str = ".root";

const WHOLE: &str = ".zip";
const UNFINISHED: &str = ".part";

/// Whose a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archive {
    /// The operation that makes it or reads it.
    pub operation: OperationId,
    /// Which try made it; none of what was brought.
    pub attempt: Option<i64>,
}

impl Archive {
    /// What a try of an export makes.
    pub const fn exported(operation: OperationId, attempt: i64) -> Self {
        Self { operation, attempt: Some(attempt) }
    }

    /// What an import reads.
    pub const fn imported(operation: OperationId) -> Self {
        Self { operation, attempt: None }
    }

    /// Its name once it is whole.
    pub fn whole(&self) -> String {
        format!("{}{WHOLE}", self.stem())
    }

    /// Its name while it is written.
    pub fn unfinished(&self) -> String {
        format!("{}{UNFINISHED}", self.stem())
    }

    /// Where it lies below `root` once it is whole.
    pub fn path(&self, root: &Path) -> PathBuf {
        self.directory(root).join(self.whole())
    }

    /// The directory of its kind below `root`.
    pub fn directory(&self, root: &Path) -> PathBuf {
        root.join(if self.attempt.is_some() { EXPORTS } else { IMPORTS })
    }

    fn stem(&self) -> String {
        match self.attempt {
            Some(attempt) => format!("{}-{attempt}", self.operation),
            None => self.operation.to_string(),
        }
    }

    /// Whose a file of this name is, and whether it is whole; none for names that we do not make.
    pub fn of(name: &str) -> Option<(Self, bool)> {
        let whole = name.strip_suffix(WHOLE);
        let stem = whole.or_else(|| name.strip_suffix(UNFINISHED))?;
        // A UUID has 36 characters.
        let (id, attempt) = stem.split_at_checked(36)?;
        let attempt = match attempt.strip_prefix('-') {
            Some(number) => Some(number.parse().ok()?),
            None => None,
        };
        let found = Self { operation: OperationId::from_str(id).ok()?, attempt };
        (found.stem() == stem).then_some((found, whole.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn names_are_read_as_they_are_made_and_no_others() {
        let id = OperationId::from_uuid(Uuid::from_u128(7));
        for archive in [Archive::exported(id, 12), Archive::imported(id)] {
            assert_eq!(Archive::of(&archive.whole()), Some((archive, true)));
            assert_eq!(Archive::of(&archive.unfinished()), Some((archive, false)));
        }
        let upper = id.to_string().replace("00000007", "0000000A");
        for name in [
            "",
            ".root",
            ".zip",
            "x.zip",
            &format!("{id}"),
            &format!("{id}.zip.part.x"),
            &format!("{id}-.zip"),
            &format!("{id}-07.zip"),
            &format!("{id}7.zip"),
            &format!("{upper}.zip"),
            &format!("../{id}.zip"),
        ] {
            assert_eq!(Archive::of(name), None, "{name}");
        }
    }
}
