//! A bucket of an object store that speaks S3. An object is put whole, in one request; nothing is ever uploaded in parts.

mod answers;
mod credentials;
mod settings;

use super::under_way::UnderWay;
use super::{BackupStore, Key, Object, PIECE};
use crate::error::{BackupError, BackupResult};
use answers::{Answer, Connector, words};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use credentials::KeyFiles;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, Checksum};
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, RetryConfig};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use settings::S3Settings;

/// Says which store this is. No key of ours begins with a dot.
const ROOT_ID: &str = ".root";
/// More than any id has.
const LONGEST_ID: usize = 200;
/// How long a bucket that was ours is believed to be ours, unless anything fails, or it says that something is not there.
const BELIEVED: Duration = Duration::from_secs(30);
/// How often a request is repeated here. Who calls us has patience of his own.
const REPETITIONS: usize = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A store in a bucket.
#[derive(Clone)]
pub struct S3Store(Arc<Inner>);

struct Inner {
    bucket: AmazonS3,
    keys: Arc<KeyFiles>,
    /// Where we are in the bucket: empty, or with a slash at its end.
    prefix: String,
    /// Bucket and prefix, for people.
    place: String,
    id: String,
    /// When the bucket was last seen to be ours.
    seen: Mutex<Option<Instant>>,
    /// Whose future is dropped still has a put under way; whoever looks what there is waits for it.
    under_way: UnderWay,
}

impl S3Store {
    /// The store in a bucket whose object `.root`, below the prefix, holds `id`: another bucket, or one that somebody has emptied, must
    /// not look like a store that holds nothing. While it is not so, calls are [`BackupError::Unreachable`]. Asks nobody yet.
    ///
    /// # Errors
    /// [`BackupError::Refused`] for settings that cannot be meant; the file of certificates cannot be read.
    pub fn new(settings: &S3Settings, id: impl Into<String>) -> BackupResult<Self> {
        settings.check()?;
        let keys = Arc::new(KeyFiles::new(settings));
        let mut bucket = AmazonS3Builder::new()
            .with_region(&settings.region)
            .with_bucket_name(&settings.bucket)
            .with_virtual_hosted_style_request(!settings.path_style)
            .with_allow_http(settings.allow_http)
            .with_credentials(keys.clone())
            .with_http_connector(Connector::new(settings)?)
            // The server compares it with what has arrived, and keeps it.
            .with_checksum_algorithm(Checksum::SHA256)
            // One object by one: servers differ in what they make of deleting many at once.
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig {
                backoff: BackoffConfig { init_backoff: FIRST_PAUSE, max_backoff: LONGEST_PAUSE, base: 2.0 },
                max_retries: REPETITIONS,
                retry_timeout: settings.request_timeout,
            });
        if let Some(url) = settings.base_url()? {
            bucket = bucket.with_endpoint(url);
        }
        let bucket = bucket.build().map_err(|e| BackupError::Refused(format!("S3: {}", words(&e))))?;
        let prefix = settings.prefix.as_ref().map(|prefix| format!("{prefix}/")).unwrap_or_default();
        let place = format!("{}/{prefix}", settings.bucket);
        let (id, seen, under_way) = (id.into(), Mutex::default(), UnderWay::default());
        Ok(Self(Arc::new(Inner { bucket, keys, prefix, place, id, seen, under_way })))
    }

    /// The id in a bucket's `.root`; `None` only if the server says that the bucket has none.
    ///
    /// # Errors
    /// As [`Self::new`]; those of the server.
    pub async fn root_id(settings: &S3Settings) -> BackupResult<Option<String>> {
        Self::new(settings, "")?.0.root_id().await
    }

    /// Gives a bucket that has nothing below its prefix this id, and returns the one that it has then: whoever came first is heeded, where the
    /// server knows conditional puts (`If-None-Match`, RFC 9110, 13.1.2). One that does not keeps the id that came last.
    ///
    /// # Errors
    /// As [`Self::new`]; [`BackupError::Refused`] if the bucket holds something and has no id; those of the server.
    pub async fn claim(settings: &S3Settings, id: &str) -> BackupResult<String> {
        let inner = Self::new(settings, "")?.0;
        if let Some(there) = inner.root_id().await? {
            return Ok(there);
        }
        inner.must_be_empty().await?;
        inner.put_root(id).await?;
        let there = inner.root_id().await?;
        there.ok_or_else(|| BackupError::Unreachable(format!("{} does not keep what is put", inner.place)))
    }
}

impl Inner {
    fn seen(&self) -> MutexGuard<'_, Option<Instant>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, key: &Key) -> Path {
        Path::from(format!("{}{key}", self.prefix))
    }

    fn root(&self) -> Path {
        Path::from(format!("{}{ROOT_ID}", self.prefix))
    }

    async fn root_id(&self) -> BackupResult<Option<String>> {
        let text = match self.fetch(&self.root()).await {
            Err(e) if Answer::of(&e).is_some_and(Answer::is_missing_object) => return Ok(None),
            found => found.map_err(|e| self.failed(&format!("look at {}", self.place), e))?,
        };
        let id = std::str::from_utf8(&text).map(str::trim).ok().filter(|id| !id.is_empty() && id.len() <= LONGEST_ID);
        match id {
            Some(id) => Ok(Some(id.to_owned())),
            None => Err(BackupError::Refused(format!("{ROOT_ID} in {} is no id of a store", self.place))),
        }
    }

    async fn must_be_empty(&self) -> BackupResult<()> {
        let below = Path::from(self.prefix.as_str());
        let mut listed = self.bucket.list(Some(&below).filter(|_| !self.prefix.is_empty()));
        while let Some(found) = listed.try_next().await.map_err(|e| self.failed(&format!("list {}", self.place), e))? {
            // Some consoles make an empty object for what they show as a directory.
            if found.location != below {
                let what = "holds something and has no `.root`: name an empty prefix, or put back the `.root` of this store";
                return Err(BackupError::Refused(format!("{} {what}", self.place)));
            }
        }
        Ok(())
    }

    async fn put_root(&self, id: &str) -> BackupResult<()> {
        let root = self.root();
        let put = |mode| self.bucket.put_opts(&root, format!("{id}\n").into(), PutMode::into(mode));
        let mut done = put(PutMode::Create).await;
        if done.as_ref().is_err_and(|e| Answer::of(e).is_some_and(Answer::is_unknown)) {
            done = put(PutMode::Overwrite).await;
        }
        match done {
            Err(e) if Answer::of(&e).is_some_and(Answer::is_taken) => Ok(()),
            done => done.map(drop).map_err(|e| self.failed(&format!("put {ROOT_ID} into {}", self.place), e)),
        }
    }

    /// The bucket is ours, or was a moment ago: one more request for each of the thousands of a backup would be too many.
    async fn present(&self) -> BackupResult<()> {
        let believed = self.seen().is_some_and(|at| at.elapsed() < BELIEVED);
        if believed { Ok(()) } else { self.look().await }
    }

    /// The bucket is ours, now.
    async fn look(&self) -> BackupResult<()> {
        let began = Instant::now();
        *self.seen() = None;
        match self.fetch(&self.root()).await {
            Ok(text) if text.trim_ascii() == self.id.trim().as_bytes() => {
                *self.seen() = Some(began);
                Ok(())
            }
            Ok(_) => Err(BackupError::Unreachable(format!("{} is another store", self.place))),
            Err(e) if Answer::of(&e).is_some_and(Answer::is_missing) => {
                Err(BackupError::Unreachable(format!("{} is no store of ours: {}", self.place, words(&e))))
            }
            Err(e) => Err(self.failed(&format!("look at {}", self.place), e)),
        }
    }

    /// Whatever fails, what was known of the bucket is no longer known, nor is the key if it is refused.
    fn failed(&self, doing: &str, error: object_store::Error) -> BackupError {
        *self.seen() = None;
        let error = match error {
            object_store::Error::Generic { store, source } => match source.downcast::<BackupError>() {
                Ok(own) => return *own,
                Err(source) => object_store::Error::Generic { store, source },
            },
            other => other,
        };
        let class = Answer::of(&error).map(|answer| answer.class(doing.to_owned()));
        if matches!(class, Some(BackupError::Denied(_))) {
            self.keys.forget();
        }
        class.unwrap_or_else(|| BackupError::Unreachable(format!("{doing}: {}", words(&error))))
    }

    async fn fetch(&self, path: &Path) -> object_store::Result<Bytes> {
        let found = self.bucket.get(path).await?;
        let mut content = BytesMut::with_capacity(usize::try_from(found.meta.size).unwrap_or(PIECE).min(PIECE));
        let mut parts = found.into_stream();
        while let Some(part) = parts.try_next().await? {
            // One byte more than there may be: an object that has grown is seen to be another one.
            let room = PIECE + 1 - content.len();
            content.extend_from_slice(&part[..part.len().min(room)]);
            if content.len() > PIECE {
                break;
            }
        }
        Ok(content.freeze())
    }

    fn object(&self, found: &ObjectMeta) -> Option<Object> {
        let key = found.location.as_ref().strip_prefix(&self.prefix).and_then(Key::parse);
        if key.is_none() {
            tracing::warn!(key = %found.location, "something in the backup store is not ours");
        }
        Some(Object { key: key?, bytes: found.size, put_at: found.last_modified.into() })
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("place", &self.0.place).field("id", &self.0.id).finish_non_exhaustive()
    }
}

#[async_trait]
impl BackupStore for S3Store {
    fn name(&self) -> &'static str {
        "s3"
    }

    async fn put(&self, key: &Key, content: Bytes) -> BackupResult<()> {
        if content.len() > PIECE {
            return Err(BackupError::Refused(format!("{key}: {} bytes in one object", content.len())));
        }
        self.0.present().await?;
        let (inner, key, under_way) = (self.0.clone(), key.clone(), self.0.under_way.begin());
        // On a task of its own, so that it comes to its end, and can be waited for, when nobody wants it any more.
        let put = tokio::spawn(async move {
            let _under_way = under_way;
            let put = inner.bucket.put(&inner.path(&key), content.into()).await;
            put.map(|_| ()).map_err(|e| inner.failed(&format!("put {key}"), e))
        });
        put.await.unwrap_or_else(|stopped| Err(BackupError::local("put an object", io::Error::other(stopped))))
    }

    async fn get(&self, key: &Key) -> BackupResult<Bytes> {
        self.0.present().await?;
        match self.0.fetch(&self.0.path(key)).await {
            Ok(content) => Ok(content),
            Err(e) if Answer::of(&e).is_some_and(Answer::is_missing_object) => {
                self.0.look().await?;
                Err(BackupError::Missing(key.to_string()))
            }
            Err(e) => Err(self.0.failed(&format!("get {key}"), e)),
        }
    }

    async fn list(&self, prefix: &Key) -> BackupResult<Vec<Object>> {
        self.0.under_way.ended().await;
        self.0.present().await?;
        let listed: object_store::Result<Vec<ObjectMeta>> = self.0.bucket.list(Some(&self.0.path(prefix))).try_collect().await;
        let listed = listed.map_err(|e| self.0.failed(&format!("list {prefix}"), e))?;
        if listed.is_empty() {
            self.0.look().await?;
        }
        let mut objects: Vec<Object> = listed.iter().filter_map(|found| self.0.object(found)).collect();
        objects.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(objects)
    }

    async fn below(&self, prefix: &Key) -> BackupResult<BTreeSet<String>> {
        self.0.present().await?;
        let listed = self.0.bucket.list_with_delimiter(Some(&self.0.path(prefix))).await;
        let listed = listed.map_err(|e| self.0.failed(&format!("list {prefix}"), e))?;
        if listed.common_prefixes.is_empty() {
            self.0.look().await?;
        }
        Ok(listed.common_prefixes.iter().filter_map(|path| path.filename().map(str::to_owned)).collect())
    }

    async fn delete(&self, key: &Key) -> BackupResult<()> {
        self.0.present().await?;
        match self.0.bucket.delete(&self.0.path(key)).await {
            Err(e) if !Answer::of(&e).is_some_and(Answer::is_missing_object) => Err(self.0.failed(&format!("delete {key}"), e)),
            _ => Ok(()),
        }
    }

    /// A server answers a put when it has it for good, so there is nothing to wait for. But whatever was put since the last look is in the
    /// right bucket only if this is still the right one.
    async fn settle(&self) -> BackupResult<()> {
        self.0.look().await
    }
}
