//! The key to a bucket, from files that may be exchanged while we run.

use super::S3Settings;
use crate::error::{BackupError, BackupResult, blocking};
use async_trait::async_trait;
use object_store::aws::AwsCredential;
use object_store::{CredentialProvider, Error};
use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the files are not looked at again. A key that is refused is read again at once.
const KEPT: Duration = Duration::from_secs(60);

/// The files, and what they held.
pub(super) struct KeyFiles {
    id: PathBuf,
    secret: PathBuf,
    token: Option<PathBuf>,
    read: Mutex<Option<(Instant, Arc<AwsCredential>)>>,
}

impl KeyFiles {
    pub(super) fn new(settings: &S3Settings) -> Self {
        Self {
            id: settings.access_key_id_file.clone(),
            secret: settings.secret_access_key_file.clone(),
            token: settings.session_token_file.clone(),
            read: Mutex::default(),
        }
    }

    fn read(&self) -> MutexGuard<'_, Option<(Instant, Arc<AwsCredential>)>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files are read again at the next request.
    pub(super) fn forget(&self) {
        *self.read() = None;
    }

    async fn current(&self) -> BackupResult<Arc<AwsCredential>> {
        if let Some((at, credential)) = &*self.read()
            && at.elapsed() < KEPT
        {
            return Ok(credential.clone());
        }
        let (at, id, secret, token) = (Instant::now(), self.id.clone(), self.secret.clone(), self.token.clone());
        let read = move || Ok((content(&id)?, content(&secret)?, token.as_deref().map(content).transpose()?));
        let (id, secret, token) = blocking(read).await?;
        let plain = |text: SecretString| text.expose_secret().trim().to_owned();
        let credential = Arc::new(AwsCredential { key_id: plain(id), secret_key: plain(secret), token: token.map(plain) });
        *self.read() = Some((at, credential.clone()));
        Ok(credential)
    }
}

fn content(path: &Path) -> BackupResult<SecretString> {
    let unreadable = |cause: io::Error| BackupError::local(format!("read {}", path.display()), cause);
    let text = SecretString::from(fs::read_to_string(path).map_err(unreadable)?);
    if text.expose_secret().trim().is_empty() {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is empty")));
    }
    Ok(text)
}

impl fmt::Debug for KeyFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFiles").field("id", &self.id).field("secret", &self.secret).finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for KeyFiles {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.current().await.map_err(|e| Error::Generic { store: "S3", source: Box::new(e) })
    }
}
