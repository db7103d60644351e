//! Where backups are kept: objects under keys, each written whole, whatever is behind it.

mod local;
#[cfg(feature = "s3")]
mod s3;
mod under_way;

use crate::error::{BackupError, BackupResult};
use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::fmt;
use std::time::SystemTime;

pub use local::LocalStore;
#[cfg(feature = "s3")]
pub use s3::{S3Settings, S3Store};

/// Largest object that is ever put: everything longer is stored in pieces. So memory is bounded, an upload that was interrupted leaves
/// no half of an object, and each object can be read back and compared alone.
pub const PIECE: usize = 4 * 1024 * 1024;

/// The name of an object: plain components, separated by slashes. Nothing that anybody sent us is ever part of one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

impl Key {
    /// A key from outside, e.g. from a listing; `None` if it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |part: &str| {
            !part.is_empty() && !part.starts_with('.') && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        text.split('/').all(plain).then(|| Self(text.to_owned()))
    }

    /// One that this crate has made of ids and checksums.
    pub(crate) fn known(text: String) -> Self {
        debug_assert!(Self::parse(&text).is_some(), "{text}");
        Self(text)
    }

    pub(crate) fn child(&self, name: &str) -> Self {
        Self::known(format!("{}/{name}", self.0))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: Key,
    /// Its length.
    pub bytes: u64,
    /// When it was put, by the clock of the store.
    pub put_at: SystemTime,
}

/// A store. Every call may be repeated, by anybody.
#[async_trait]
pub trait BackupStore: Send + Sync + fmt::Debug {
    /// Word for logs and settings.
    fn name(&self) -> &'static str;

    /// Puts an object of at most [`PIECE`] bytes, whole or not at all, in place of what was there.
    async fn put(&self, key: &Key, content: Bytes) -> BackupResult<()>;

    /// Puts an object and compares what the store has then; [`BackupError::Damaged`] if that is something else.
    async fn put_checked(&self, key: &Key, content: Bytes) -> BackupResult<()> {
        self.put(key, content.clone()).await?;
        match self.get(key).await {
            Ok(stored) if stored == content => Ok(()),
            Ok(_) => Err(not_stored(key)),
            Err(BackupError::Missing(what)) => Err(BackupError::damaged(what, "it is missing")),
            Err(other) => Err(other),
        }
    }

    /// The object; [`BackupError::Missing`] if the store says that there is none.
    async fn get(&self, key: &Key) -> BackupResult<Bytes>;

    /// Every object below `prefix`, by key; empty only if the store says so.
    async fn list(&self, prefix: &Key) -> BackupResult<Vec<Object>>;

    /// What lies directly below `prefix` and has something below itself: the names, without `prefix`.
    async fn below(&self, prefix: &Key) -> BackupResult<BTreeSet<String>> {
        let name = |object: Object| {
            let rest = object.key.as_str().strip_prefix(prefix.as_str())?.strip_prefix('/')?;
            Some(rest.split_once('/')?.0.to_owned())
        };
        Ok(self.list(prefix).await?.into_iter().filter_map(name).collect())
    }

    /// Removes an object; one that is not there is done.
    async fn delete(&self, key: &Key) -> BackupResult<()>;

    /// Returns when everything that was put before is where a power failure cannot reach it.
    async fn settle(&self) -> BackupResult<()>;

    /// Removes what writers left that were killed, if this store can have such a thing.
    async fn tidy(&self) -> BackupResult<()> {
        Ok(())
    }
}

fn not_stored(key: &Key) -> BackupError {
    BackupError::damaged(key.as_str(), "it is not what was stored")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_can_neither_leave_the_store_nor_hide() {
        for good in ["a", "active/0f/manifest.json", "pool/x-1/ab/abcd.0"] {
            assert_eq!(Key::parse(good).map(|key| key.to_string()).as_deref(), Some(good));
        }
        for bad in ["", "/", "/a", "a/", "a//b", "../a", "a/..", "a/.b", "a b", "a\0", "ä", "a/./b", "a\\b"] {
            assert_eq!(Key::parse(bad), None, "{bad:?}");
        }
    }
}
