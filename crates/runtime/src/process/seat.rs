//! What a process works on, and what ties it to that: a configuration file, a lock and a part of the data directory.

use super::lock;
use crate::directory::{DATA, conf_path, incoming, staged_conf_path};
use crate::error::RuntimeResult;
use crate::workload::{Files, OneOff};
use std::path::{Path, PathBuf};

/// One place in a data directory where at most one Odoo works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    directory: PathBuf,
    /// Number of the staged files; `None` for the live ones.
    staged: Option<u32>,
}

impl Seat {
    /// That of the service.
    pub(super) fn live(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), staged: None }
    }

    /// That of a run.
    pub(super) fn of(one_off: &OneOff) -> Self {
        let staged = match &one_off.files {
            Files::Live => None,
            Files::Staged { number, .. } => Some(*number),
        };
        Self { directory: one_off.workload.directory.clone(), staged }
    }

    /// All that there are or may have been in a directory.
    pub(super) fn all(directory: &Path) -> RuntimeResult<Vec<Self>> {
        let staged = |number| Self { directory: directory.to_owned(), staged: Some(number) };
        let mut seats = vec![Self::live(directory)];
        seats.extend(lock::staged_numbers(directory)?.into_iter().map(staged));
        Ok(seats)
    }

    pub(super) const fn is_live(&self) -> bool {
        self.staged.is_none()
    }

    pub(super) fn conf(&self) -> PathBuf {
        self.staged.map_or_else(|| conf_path(&self.directory), |number| staged_conf_path(&self.directory, number))
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.staged.map_or_else(|| lock::path(&self.directory), |number| lock::staged_path(&self.directory, number))
    }

    /// The part of the directory, by name.
    pub(super) fn part(&self) -> String {
        self.staged.map_or_else(|| DATA.to_owned(), incoming)
    }

    pub(super) fn data(&self) -> PathBuf {
        self.directory.join(self.part())
    }
}
