//! Where backups are kept, and that it is where they were kept before.
//!
//! The first store that a deployment sees gets an id, which lies in it (`.root`) and is remembered. A file system that is not mounted, or another
//! bucket, holds nothing, and must not look like a store that has lost everything.

use super::Refusal;
use backup::BackupError;
use backup::store::{BackupStore, LocalStore};
use bootstrap::OsEntropy;
use bootstrap::settings::WorkerSettings;
use db::platform::PlatformDb;
use db::platform::settings::{self, BackupsRoot};
use db::platform::turn::Turn;
use domain::sources::random_uuid;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
#[cfg(feature = "s3")]
use {
    backup::store::{S3Settings, S3Store},
    bootstrap::settings::BucketSettings,
};

/// One worker at a time decides which store it is.
const TURN: &str = "backups_root";
const PAUSE: Duration = Duration::from_millis(200);

/// Where the settings say that backups are kept.
pub(super) enum Place {
    Directory(PathBuf),
    #[cfg(feature = "s3")]
    Bucket(Box<S3Settings>),
}

impl Place {
    pub(super) fn of(settings: &WorkerSettings) -> anyhow::Result<Self> {
        match &settings.bucket {
            None => Ok(Self::Directory(settings.runtime.backups_path.clone())),
            #[cfg(feature = "s3")]
            Some(bucket) => Ok(Self::Bucket(Box::new(bucket_of(bucket)))),
            #[cfg(not(feature = "s3"))]
            Some(_) => anyhow::bail!("buckets are not built in"),
        }
    }

    /// The store with this id. Asks nobody yet.
    pub(super) fn open(&self, id: &str) -> anyhow::Result<Arc<dyn BackupStore>> {
        Ok(match self {
            Self::Directory(path) => Arc::new(LocalStore::new(path, id)),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => Arc::new(S3Store::new(bucket, id).map_err(|e| self.refused(&e.to_string()))?),
        })
    }

    /// Id and store, once it is known to be the deployment's, or has become it.
    ///
    /// # Errors
    /// [`Refusal`] if it is another one; it cannot be asked and nobody knows its id yet.
    pub(super) async fn opened(&self, db: &PlatformDb) -> anyhow::Result<(String, Arc<dyn BackupStore>)> {
        let mut turn = loop {
            match Turn::try_take(db, TURN).await? {
                Some(turn) => break turn,
                None => tokio::time::sleep(PAUSE).await,
            }
        };
        let id = turn.hold(self.id(db)).await?;
        turn.end().await;
        let id = id?;
        let store = self.open(&id)?;
        Ok((id, store))
    }

    async fn id(&self, db: &PlatformDb) -> anyhow::Result<String> {
        let known = settings::backups_root(db).await?;
        // As long as nothing is catalogued, backups may go elsewhere.
        let known = known.filter(|known| known.is_used || known.kind == self.kind());
        let here = match (self.root_id().await, &known) {
            (Ok(here), _) => here,
            (Err(e @ (BackupError::Unreachable(_) | BackupError::Denied(_))), Some(known)) => {
                tracing::error!(error = %e, "the backup store cannot be used; backups wait until it can");
                return Ok(known.id.clone());
            }
            (Err(e @ BackupError::Unreachable(_)), None) => return Err(e.into()),
            (Err(e), _) => return Err(self.refused(&e.to_string()).into()),
        };
        let id = match (known, here) {
            (Some(known), Some(here)) if known.id == here => here,
            (Some(known), here) => return Err(self.another(&known, here.is_some()).into()),
            (None, Some(here)) => here,
            (None, None) => self.claim(&random_uuid(&OsEntropy).to_string()).await?,
        };
        settings::keep_backups_root(db, self.kind(), &id).await?;
        Ok(id)
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Directory(_) => settings::LOCAL,
            #[cfg(feature = "s3")]
            Self::Bucket(_) => settings::S3,
        }
    }

    async fn root_id(&self) -> Result<Option<String>, BackupError> {
        match self {
            Self::Directory(path) if !path.is_dir() => {
                Err(BackupError::Refused("it is no directory: make it, or mount its file system".to_owned()))
            }
            Self::Directory(path) => runtime::directory::root_id(path).map_err(|e| BackupError::Refused(e.to_string())),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => S3Store::root_id(bucket).await,
        }
    }

    async fn claim(&self, id: &str) -> anyhow::Result<String> {
        match self {
            Self::Directory(path) => Ok(runtime::directory::name_root(path, id)?),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => S3Store::claim(bucket, id).await.map_err(|e| match e {
                BackupError::Unreachable(_) => e.into(),
                _ => self.refused(&e.to_string()).into(),
            }),
        }
    }

    fn another(&self, known: &BackupsRoot, is_named: bool) -> Refusal {
        let it = if is_named { "it is another one" } else { "it has no id (`.root`)" };
        let elsewhere = if known.kind == self.kind() {
            String::new()
        } else {
            format!("; they are in the store of kind `{}`: copy it with its `.root`", known.kind)
        };
        self.refused(&format!("it is not where the backups are: {it}{elsewhere}"))
    }

    fn refused(&self, what: &str) -> Refusal {
        match self {
            Self::Directory(path) => Refusal(format!("CEPHFS_BACKUPS_PATH {}: {what}", path.display())),
            #[cfg(feature = "s3")]
            Self::Bucket(bucket) => {
                let prefix = bucket.prefix.as_deref().unwrap_or_default();
                Refusal(format!("BACKUP_S3_BUCKET {}/{prefix}: {what}", bucket.bucket))
            }
        }
    }
}

#[cfg(feature = "s3")]
fn bucket_of(settings: &BucketSettings) -> S3Settings {
    let from = settings.clone();
    S3Settings {
        endpoint: from.endpoint,
        region: from.region,
        bucket: from.bucket,
        prefix: from.prefix,
        path_style: from.path_style,
        allow_http: from.allow_http,
        access_key_id_file: from.access_key_id_file,
        secret_access_key_file: from.secret_access_key_file,
        session_token_file: from.session_token_file,
        ca_file: from.ca_file,
        request_timeout: from.timeout,
    }
}
