//! A directory. An object is a file that appears by a rename; all of them reach the disk together, by syncfs(2), before a backup counts.

use super::under_way::UnderWay;
use super::{BackupStore, Key, Object, PIECE, not_stored};
use crate::buffers::Buffer;
use crate::error::{BackupError, BackupResult, blocking, is_full};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Says which root this is; the same file as that of the instances' root.
const ROOT_ID: &str = ".root";
/// Files on their way to their place. It lies on the same file system, so that a rename is enough.
const STAGING: &str = ".staging";
const TRIES: usize = 8;
/// How much is compared at once.
const COMPARED: usize = 64 * 1024;
/// Nobody writes an object for so long: a draft that is older was left by somebody who was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);

/// A store in a directory that only we can enter.
#[derive(Clone, Debug)]
pub struct LocalStore {
    root: PathBuf,
    id: String,
    /// Whose future is dropped may still have a put under way on another thread; whoever looks what there is waits for it.
    under_way: UnderWay,
}

impl LocalStore {
    /// The store below `root`, whose file `.root` must hold `id`: a file system that is not mounted holds nothing, and must not
    /// look like a store that holds nothing. While it is not so, every call is [`BackupError::Unreachable`].
    pub fn new(root: impl Into<PathBuf>, id: impl Into<String>) -> Self {
        Self { root: root.into(), id: id.into(), under_way: UnderWay::default() }
    }

    fn present(&self) -> BackupResult<()> {
        match fs::read_to_string(self.root.join(ROOT_ID)) {
            Ok(text) if text.trim() == self.id => Ok(()),
            Ok(_) => Err(BackupError::Unreachable(format!("{} is another root", self.root.display()))),
            Err(e) => Err(BackupError::Unreachable(format!("root {}: {e}", self.root.display()))),
        }
    }

    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn put_now(&self, key: &Key, content: &[u8]) -> BackupResult<()> {
        self.present()?;
        if content.len() > PIECE {
            return Err(BackupError::Refused(format!("{key}: {} bytes in one object", content.len())));
        }
        let staging = self.root.join(STAGING);
        let draft = staging.join(draft_name()?);
        let target = self.path(key);
        let write = || -> io::Result<()> {
            make_directories(&staging)?;
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
            file.write_all(content)?;
            drop(file);
            // Somebody who deletes may take an empty directory away again.
            for _ in 0..TRIES {
                match fs::rename(&draft, &target) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => target.parent().map_or(Ok(()), make_directories)?,
                    other => return other,
                }
            }
            fs::rename(&draft, &target)
        };
        write().map_err(|e| {
            if let Err(left) = fs::remove_file(&draft)
                && left.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(draft = %draft.display(), error = %left, "a draft is left in the backup store");
            }
            failed(format!("put {key}"), e)
        })
    }

    fn get_now(&self, key: &Key) -> BackupResult<Bytes> {
        self.present()?;
        let read = || -> io::Result<Bytes> {
            let mut file = File::open(self.path(key))?;
            // One byte more than there may be: a file that has grown is seen to be another one.
            let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX).min(PIECE + 1);
            let mut content = Buffer::of(length);
            file.read_exact(&mut content)?;
            Ok(content.filled(length))
        };
        match read() {
            Ok(content) => Ok(content),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // It may have been unmounted since.
                self.present()?;
                Err(BackupError::Missing(key.to_string()))
            }
            Err(e) => Err(failed(format!("get {key}"), e)),
        }
    }

    /// Compares an object with what it must be.
    fn compare_now(&self, key: &Key, content: &[u8]) -> BackupResult<()> {
        self.present()?;
        let is_same = || -> io::Result<bool> {
            let mut file = File::open(self.path(key))?;
            let mut buffer = vec![0; COMPARED.min(content.len() + 1)];
            for expected in content.chunks(COMPARED) {
                let stored = &mut buffer[..expected.len()];
                file.read_exact(stored)?;
                if stored != expected {
                    return Ok(false);
                }
            }
            Ok(file.read(&mut buffer[..1])? == 0)
        };
        match is_same() {
            Ok(true) => Ok(()),
            Ok(false) => Err(not_stored(key)),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(not_stored(key)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(BackupError::damaged(key.as_str(), "it is missing")),
            Err(e) => Err(failed(format!("get {key}"), e)),
        }
    }

    fn list_now(&self, prefix: &Key) -> BackupResult<Vec<Object>> {
        self.present()?;
        let mut objects = Vec::new();
        let mut left = vec![prefix.clone()];
        while let Some(directory) = left.pop() {
            let entries = match fs::read_dir(self.path(&directory)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|e| failed(format!("list {directory}"), e))?,
            };
            for entry in entries {
                let entry = entry.map_err(|e| failed(format!("list {directory}"), e))?;
                let found = entry.metadata().map_err(|e| failed(format!("list {directory}"), e))?;
                let key = entry.file_name().to_str().and_then(|name| Key::parse(&format!("{directory}/{name}")));
                match key {
                    Some(key) if found.is_dir() => left.push(key),
                    Some(key) if found.is_file() => {
                        let put_at = found.modified().map_err(|e| failed(format!("list {directory}"), e))?;
                        objects.push(Object { key, bytes: found.len(), put_at });
                    }
                    _ => {
                        tracing::warn!(directory = %directory, name = ?entry.file_name(), "something in the backup store is not ours")
                    }
                }
            }
        }
        self.present()?;
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    fn below_now(&self, prefix: &Key) -> BackupResult<BTreeSet<String>> {
        self.present()?;
        let names = || -> io::Result<BTreeSet<String>> {
            let mut names = BTreeSet::new();
            for entry in fs::read_dir(self.path(prefix))? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    names.extend(entry.file_name().into_string());
                }
            }
            Ok(names)
        };
        let names = match names() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            other => other.map_err(|e| failed(format!("list {prefix}"), e))?,
        };
        self.present()?;
        Ok(names)
    }

    fn delete_now(&self, key: &Key) -> BackupResult<()> {
        self.present()?;
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(format!("delete {key}"), e)),
            _ => {}
        }
        // Directories that are empty now go as well, up to the first component.
        let above = path.ancestors().skip(1).take_while(|above| above.parent() != Some(&self.root) && *above != self.root);
        for directory in above {
            if fs::remove_dir(directory).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn tidy_now(&self) -> BackupResult<()> {
        self.present()?;
        let tidy = || -> io::Result<()> {
            let drafts = match fs::read_dir(self.root.join(STAGING)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other?,
            };
            for draft in drafts {
                let draft = draft?;
                let age = SystemTime::now().duration_since(draft.metadata()?.modified()?).unwrap_or_default();
                if age > LEFT_BEHIND {
                    fs::remove_file(draft.path())?;
                }
            }
            Ok(())
        };
        tidy().map_err(|e| failed("tidy up".to_owned(), e))
    }

    fn settle_now(&self) -> BackupResult<()> {
        self.present()?;
        let sync = || -> io::Result<()> { Ok(rustix::fs::syncfs(File::open(&self.root)?)?) };
        sync().map_err(|e| failed(format!("flush {}", self.root.display()), e))
    }

    async fn on_disk<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> BackupResult<T> + Send + 'static) -> BackupResult<T> {
        let this = self.clone();
        blocking(move || work(&this)).await
    }
}

#[async_trait]
impl BackupStore for LocalStore {
    fn name(&self) -> &'static str {
        "local"
    }

    async fn put(&self, key: &Key, content: Bytes) -> BackupResult<()> {
        let (key, under_way) = (key.clone(), self.under_way.begin());
        self.on_disk(move |this| {
            let _under_way = under_way;
            this.put_now(&key, &content)
        })
        .await
    }

    async fn put_checked(&self, key: &Key, content: Bytes) -> BackupResult<()> {
        let (key, under_way) = (key.clone(), self.under_way.begin());
        self.on_disk(move |this| {
            let _under_way = under_way;
            this.put_now(&key, &content)?;
            this.compare_now(&key, &content)
        })
        .await
    }

    async fn get(&self, key: &Key) -> BackupResult<Bytes> {
        let key = key.clone();
        self.on_disk(move |this| this.get_now(&key)).await
    }

    async fn list(&self, prefix: &Key) -> BackupResult<Vec<Object>> {
        self.under_way.ended().await;
        let prefix = prefix.clone();
        self.on_disk(move |this| this.list_now(&prefix)).await
    }

    async fn below(&self, prefix: &Key) -> BackupResult<BTreeSet<String>> {
        let prefix = prefix.clone();
        self.on_disk(move |this| this.below_now(&prefix)).await
    }

    async fn delete(&self, key: &Key) -> BackupResult<()> {
        let key = key.clone();
        self.on_disk(move |this| this.delete_now(&key)).await
    }

    async fn settle(&self) -> BackupResult<()> {
        self.on_disk(Self::settle_now).await
    }

    async fn tidy(&self) -> BackupResult<()> {
        self.on_disk(Self::tidy_now).await
    }
}

/// Random, so that workers that know nothing of each other never write the same draft.
fn draft_name() -> BackupResult<String> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| BackupError::local("draw a name", io::Error::other("no randomness")))?;
    Ok(hex::encode(bytes))
}

fn make_directories(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path)
}

fn failed(doing: String, cause: io::Error) -> BackupError {
    match cause.kind() {
        _ if is_full(&cause) => BackupError::Full(format!("{doing}: {cause}")),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => BackupError::Denied(format!("{doing}: {cause}")),
        _ => BackupError::Unreachable(format!("{doing}: {cause}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_compared_to_the_last_byte() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join(ROOT_ID), "id").unwrap();
        let store = LocalStore::new(root.path(), "id");
        let key = Key::known("pool/a".to_owned());
        for length in [0, 1, COMPARED - 1, COMPARED, COMPARED + 1, 3 * COMPARED + 7] {
            let content = vec![7; length];
            store.put_now(&key, &content).unwrap();
            store.compare_now(&key, &content).unwrap();
            let is_another = |stored: &[u8]| {
                fs::write(store.path(&key), stored).unwrap();
                assert!(
                    matches!(store.compare_now(&key, &content), Err(BackupError::Damaged { .. })),
                    "{length}: {}",
                    stored.len()
                );
            };
            is_another(&vec![7; length + 1]);
            if let Some((last, before)) = content.split_last() {
                is_another(before);
                is_another(&[before, &[last ^ 1]].concat());
            }
            fs::remove_file(store.path(&key)).unwrap();
            assert!(matches!(store.compare_now(&key, &content), Err(BackupError::Damaged { .. })), "{length}: missing");
        }
    }
}
