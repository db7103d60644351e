//! The worker's side of the directory in which it and the API hand each other archives (`domain::backup::transfer` has the names).
//!
//! Owns: making, keeping and removing files there. Leaves to others: what is needed of them (`db::platform::exports`).
//! A directory that is not there, or not this deployment's, is an error and never reads as one without files.

use domain::backup::transfer::{Archive, EXPORTS, IMPORTS};
use domain::ids::OperationId;
use runtime::directory::{name_root, root_id};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The directory.
#[derive(Clone, Debug)]
pub struct Transfer {
    root: PathBuf,
    id: String,
}

/// A file of ours that lies there.
#[derive(Clone, Debug)]
pub struct Lying {
    /// Whose it is.
    pub archive: Archive,
    /// Whether it is whole.
    pub is_whole: bool,
    /// Since when nobody has written to it.
    pub age: Duration,
    path: PathBuf,
}

impl Transfer {
    /// The directory `root` of the deployment with this id.
    pub fn at(root: &Path, id: &str) -> Self {
        Self { root: root.to_owned(), id: id.to_owned() }
    }

    /// Makes it where it is missing; its parent must be there.
    ///
    /// # Errors
    /// It cannot be made, or is another deployment's.
    pub fn set_up(&self) -> io::Result<()> {
        for directory in [self.root.clone(), self.root.join(EXPORTS), self.root.join(IMPORTS)] {
            match DirBuilder::new().mode(0o700).create(&directory) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        if name_root(&self.root, &self.id).map_err(io::Error::other)? != self.id {
            return Err(io::Error::other("it is another deployment's"));
        }
        Ok(())
    }

    /// Begins an archive; what earlier tries of its operation left is removed.
    ///
    /// # Errors
    /// The directory is not there, or cannot be written.
    pub async fn begin(&self, archive: Archive) -> io::Result<File> {
        self.clear(archive).await?;
        self.in_directory(move |root| {
            let path = archive.directory(root).join(archive.unfinished());
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)
        })
        .await
    }

    /// What was begun is whole now, and on disk.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub async fn keep(&self, archive: Archive, written: File) -> io::Result<()> {
        self.in_directory(move |root| {
            written.sync_all()?;
            let directory = archive.directory(root);
            fs::rename(directory.join(archive.unfinished()), archive.path(root))?;
            File::open(directory)?.sync_all()
        })
        .await
    }

    /// Opens an archive; `None` if there is none.
    ///
    /// # Errors
    /// The directory is not there, or the file cannot be opened.
    pub async fn open(&self, archive: Archive) -> io::Result<Option<File>> {
        self.in_directory(move |root| match File::open(archive.path(root)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        })
        .await
    }

    /// Removes what this try of the operation made, and earlier ones; whole or not.
    ///
    /// # Errors
    /// The directory is not there, or does not let the file go.
    pub async fn clear(&self, archive: Archive) -> io::Result<()> {
        let is_its = |lying: &Lying| {
            let (found, wanted) = (lying.archive, archive);
            found.operation == wanted.operation
                && found.attempt.is_some() == wanted.attempt.is_some()
                && found.attempt <= wanted.attempt
        };
        for lying in self.lying().await?.into_iter().filter(is_its) {
            self.remove(lying).await?;
        }
        Ok(())
    }

    /// All files of ours.
    ///
    /// # Errors
    /// The directory is not there, or cannot be read.
    pub async fn lying(&self) -> io::Result<Vec<Lying>> {
        self.in_directory(|root| {
            let mut lying = Vec::new();
            for (directory, is_export) in [(EXPORTS, true), (IMPORTS, false)] {
                for entry in fs::read_dir(root.join(directory))? {
                    let entry = entry?;
                    let Some((archive, is_whole)) = entry.file_name().to_str().and_then(Archive::of) else { continue };
                    if archive.attempt.is_some() != is_export {
                        continue;
                    }
                    let written = match entry.metadata() {
                        // Somebody else has removed it.
                        Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                        facts => facts?.modified()?,
                    };
                    let age = SystemTime::now().duration_since(written).unwrap_or_default();
                    lying.push(Lying { archive, is_whole, age, path: entry.path() });
                }
            }
            Ok(lying)
        })
        .await
    }

    /// Removes a file; one that is gone is removed.
    ///
    /// # Errors
    /// The directory is not there, or does not let it go.
    pub async fn remove(&self, lying: Lying) -> io::Result<()> {
        self.in_directory(move |_| match fs::remove_file(&lying.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        })
        .await
    }

    /// Works in the directory, on a thread that may block, after a look whether it is still ours.
    async fn in_directory<T: Send + 'static>(&self, work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let Self { root, id } = self.clone();
        let done = tokio::task::spawn_blocking(move || match root_id(&root) {
            Ok(Some(here)) if here == id => work(&root),
            other => Err(io::Error::new(io::ErrorKind::NotConnected, format!("{} is not mounted: {other:?}", root.display()))),
        });
        done.await.map_err(io::Error::other)?
    }
}

/// The operations of files.
pub fn operations(lying: &[Lying]) -> Vec<OperationId> {
    lying.iter().map(|lying| lying.archive.operation).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use uuid::Uuid;

    #[tokio::test]
    async fn a_try_replaces_what_earlier_ones_left_and_nothing_of_others() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("transfer");
        let transfer = Transfer::at(&root, "a");
        transfer.set_up().unwrap();
        assert!(Transfer::at(&root, "b").set_up().is_err(), "another deployment's");
        let id = |number| OperationId::from_uuid(Uuid::from_u128(number));
        for (operation, attempt) in [(1, 1), (1, 2), (2, 1), (1, 3)] {
            let archive = Archive::exported(id(operation), attempt);
            let mut file = transfer.begin(archive).await.unwrap();
            file.write_all(b"x").unwrap();
            if attempt != 2 {
                transfer.keep(archive, file).await.unwrap();
            }
        }
        // The second has not ended, and the first wakes up again: it removes nothing of the third's.
        transfer.clear(Archive::exported(id(1), 2)).await.unwrap();
        let mut found: Vec<_> = transfer.lying().await.unwrap().into_iter().map(|l| (l.archive, l.is_whole)).collect();
        found.sort_by_key(|(archive, _)| archive.attempt);
        assert_eq!(found, [(Archive::exported(id(2), 1), true), (Archive::exported(id(1), 3), true)]);
        assert!(transfer.open(Archive::exported(id(1), 2)).await.unwrap().is_none());
        assert!(transfer.open(Archive::exported(id(1), 3)).await.unwrap().is_some());

        fs::write(root.join("exports/keep.zip"), "").unwrap();
        fs::remove_file(root.join(".root")).unwrap();
        let gone = transfer.open(Archive::exported(id(9), 1)).await.unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotConnected, "what is not mounted lacks nothing");
        assert!(root.join("exports/keep.zip").exists(), "not ours");
    }
}
