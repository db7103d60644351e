//! Where the backups of a test are kept: a directory, or a bucket behind a line that a test can disturb.

use backup::store::{BackupStore, LocalStore, S3Settings, S3Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use testkit::s3::{ACCESS_KEY_ID, Proxy, SECRET_ACCESS_KEY, Server};
use url::Url;

/// Id of the store.
pub(crate) const STORE: &str = "store of the rig";

/// Where backups are kept; its objects are files.
pub(crate) struct Store {
    path: PathBuf,
    opened: Arc<dyn BackupStore>,
    line: Option<(Server, Proxy)>,
    _place: tempfile::TempDir,
}

impl Store {
    pub(crate) fn local() -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().to_owned();
        std::fs::write(path.join(".root"), STORE).unwrap();
        Self { opened: Arc::new(LocalStore::new(&path, STORE)), path, line: None, _place: place }
    }

    pub(crate) async fn bucket() -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("bucket");
        std::fs::create_dir(&path).unwrap();
        let server = Server::start(place.path(), 100).await.unwrap();
        let proxy = Proxy::before(server.address()).await.unwrap();
        let file = |name: &str, content: &str| {
            let path = place.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let settings = S3Settings {
            endpoint: Some(Url::parse(&format!("http://{}", proxy.address())).unwrap()),
            region: "us-east-1".to_owned(),
            bucket: "bucket".to_owned(),
            prefix: None,
            path_style: true,
            allow_http: true,
            access_key_id_file: file("key-id", ACCESS_KEY_ID),
            secret_access_key_file: file("key-secret", SECRET_ACCESS_KEY),
            session_token_file: None,
            ca_file: None,
            request_timeout: Duration::from_secs(2),
        };
        assert_eq!(S3Store::claim(&settings, STORE).await.unwrap(), STORE);
        let opened = Arc::new(S3Store::new(&settings, STORE).unwrap());
        Self { opened, path, line: Some((server, proxy)), _place: place }
    }

    pub(crate) fn opened(&self) -> Arc<dyn BackupStore> {
        self.opened.clone()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What stands before the bucket.
    pub(crate) fn proxy(&self) -> &Proxy {
        &self.line.as_ref().unwrap().1
    }
}
