//! A store, an instance's directory, and what to put into them.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use backup::store::{BackupStore, LocalStore};
#[cfg(feature = "s3")]
use backup::store::{S3Settings, S3Store};
use backup::{Attachments, Backup, BackupResult, Backups, ContentName, Facts, Row, Stored, Wanted, Writer};
use chrono::DateTime;
use domain::ids::{BackupId, CustomerId, InstanceId};
use std::collections::BTreeMap;
use std::fs::{self, File};
#[cfg(feature = "s3")]
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
#[cfg(feature = "s3")]
use std::time::Duration;
use tempfile::TempDir;
#[cfg(feature = "s3")]
use testkit::s3::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Server};
use uuid::Uuid;

pub(crate) const ROOT: &str = "root of this test";
/// How many objects the server lists at once: so few that every listing of some length has several pages.
#[cfg(feature = "s3")]
pub(crate) const PAGE: i32 = 3;

/// Runs tests that take a kind of store over each of them.
#[macro_export]
macro_rules! over_every_store {
    ($($test:ident),+ $(,)?) => {
        mod local {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::rig::Kind::Local).await;
            })+
        }

        #[cfg(feature = "s3")]
        mod s3 {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::rig::Kind::S3).await;
            })+
        }
    };
}

/// What is behind the store. Of each, the objects are files below `store`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Local,
    #[cfg(feature = "s3")]
    S3,
}

impl Kind {
    /// Where a store is slow, a part of many equal cases has to do.
    pub(crate) const fn part(self) -> usize {
        match self {
            Self::Local => 1,
            #[cfg(feature = "s3")]
            Self::S3 => 4,
        }
    }
}

pub(crate) struct Rig {
    pub(crate) place: TempDir,
    pub(crate) instance: InstanceId,
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) dump: Vec<u8>,
    store: Arc<dyn BackupStore>,
    #[cfg(feature = "s3")]
    server: Option<Server>,
}

pub(crate) fn backup_id(n: u128) -> BackupId {
    BackupId::from_uuid(Uuid::from_u128(n))
}

/// Bytes that do not compress, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

impl Rig {
    /// A filestore with `files` small files, an empty one, and one of several pieces; a dump of several pieces.
    pub(crate) async fn new(kind: Kind, files: u64) -> Self {
        let place = tempfile::tempdir().unwrap();
        for directory in ["store", "data/filestore/db", "data/addons/19.0/shop", "data/sessions"] {
            fs::create_dir_all(place.path().join(directory)).unwrap();
        }
        fs::write(place.path().join("store/.root"), ROOT).unwrap();
        fs::write(place.path().join("data/addons/19.0/shop/__init__.py"), "import models\n").unwrap();
        fs::write(place.path().join("data/sessions/secret"), "a login").unwrap();
        let dump = [b"PGDMP".as_slice(), &noise(7, 9 << 20)].concat();
        #[cfg(feature = "s3")]
        let mut server = None;
        let store: Arc<dyn BackupStore> = match kind {
            Kind::Local => Arc::new(LocalStore::new(place.path().join("store"), ROOT)),
            #[cfg(feature = "s3")]
            Kind::S3 => {
                let address = server.insert(Server::start(place.path(), PAGE).await.unwrap()).address();
                Arc::new(S3Store::new(&s3_settings(place.path(), address), ROOT).unwrap())
            }
        };
        let mut rig = Self {
            place,
            instance: InstanceId::from_uuid(Uuid::from_u128(1)),
            wanted: Vec::new(),
            dump,
            store,
            #[cfg(feature = "s3")]
            server,
        };
        for n in 0..files {
            rig.add_file(&noise(n + 100, 10 + (n as usize * 37) % 3000));
        }
        rig.add_file(b"");
        rig.add_file(&noise(99, (9 << 20) + 17));
        rig
    }

    /// Puts a file where Odoo would.
    pub(crate) fn add_file(&mut self, content: &[u8]) -> ContentName {
        let name = ContentName::parse(&hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, content))).unwrap();
        let directory = self.filestore().join(name.directory());
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(name.as_str()), content).unwrap();
        self.wanted.push(Wanted { name: name.clone(), bytes: Some(content.len() as u64) });
        self.wanted.sort_by(|a, b| a.name.cmp(&b.name));
        name
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    pub(crate) fn filestore(&self) -> PathBuf {
        self.path("data/filestore/db")
    }

    #[cfg(feature = "s3")]
    pub(crate) fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn store(&self) -> Arc<dyn BackupStore> {
        self.store.clone()
    }

    pub(crate) fn backups(&self) -> Backups {
        Backups::new(self.store())
    }

    pub(crate) async fn back_up(&self, id: BackupId) -> BackupResult<Stored> {
        self.back_up_into(&self.backups(), id).await
    }

    pub(crate) async fn back_up_into(&self, backups: &Backups, id: BackupId) -> BackupResult<Stored> {
        let mut writer = backups.writer(id, self.instance, 1);
        writer.begin().await?;
        self.write(&mut writer).await?;
        writer.finish(facts()).await
    }

    pub(crate) async fn write(&self, writer: &mut Writer) -> BackupResult<()> {
        writer.dump(self.dump.as_slice()).await?;
        writer.files(open(&self.filestore()), futures::stream::iter(self.wanted.clone().into_iter().map(Ok))).await?;
        writer.data(open(&self.path("data"))).await
    }

    /// Restores into a new directory and returns it.
    pub(crate) async fn restore(&self, backup: &Backup, name: &str) -> BackupResult<PathBuf> {
        let target = self.path(name);
        fs::create_dir(&target).unwrap();
        let data = open(&target);
        let mut dump = Vec::new();
        if let Err(e) = tokio::io::copy(&mut backup.dump(), &mut dump).await {
            return Err(e.downcast().expect("an error of ours"));
        }
        assert_eq!(dump, self.dump);
        backup.restore_files(Backup::make_filestore(&data, "db").unwrap()).await?;
        backup.restore_data(data).await?;
        Ok(target)
    }

    /// Objects of the store below a prefix, by their paths in it.
    pub(crate) fn objects(&self, prefix: &str) -> Vec<String> {
        let root = self.path("store");
        let mut found = Vec::new();
        let mut left = vec![root.join(prefix)];
        while let Some(directory) = left.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { left.push(path) } else { found.push(path.strip_prefix(&root).unwrap().display().to_string()) }
            }
        }
        found.sort();
        found
    }
}

/// Those of the bucket `store` of a server at this address. The key lies in files at `place`.
#[cfg(feature = "s3")]
pub(crate) fn s3_settings(place: &Path, address: SocketAddr) -> S3Settings {
    let file = |name: &str, content: &str| {
        let path = place.join(name);
        fs::write(&path, format!("{content}\n")).unwrap();
        path
    };
    S3Settings {
        endpoint: Some(url::Url::parse(&format!("http://{address}")).unwrap()),
        region: "us-east-1".to_owned(),
        bucket: "store".to_owned(),
        prefix: None,
        path_style: true,
        allow_http: true,
        access_key_id_file: file("key-id", ACCESS_KEY_ID),
        secret_access_key_file: file("key-secret", SECRET_ACCESS_KEY),
        session_token_file: None,
        ca_file: None,
        request_timeout: Duration::from_secs(30),
    }
}

pub(crate) fn open(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

pub(crate) fn facts() -> Facts {
    Facts {
        customer: CustomerId::from_uuid(Uuid::from_u128(2)),
        taken_at: DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        odoo_version: "19".to_owned(),
        postgres_version: 15,
        dump_tool: "pg_dump (PostgreSQL) 15.18".to_owned(),
        database: "db".to_owned(),
        database_bytes: 1,
        attachments: Attachments::Files,
        unusable_attachments: 0,
        modules: BTreeMap::from([("base".to_owned(), "19.0.1.3".to_owned())]),
        rows: vec![Row { table: "res_users".to_owned(), count: 5 }],
    }
}

/// Every file below a directory with its content.
pub(crate) fn contents(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![root.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path);
            } else {
                found.insert(path.strip_prefix(root).unwrap().display().to_string(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// Removes what no kept backup needs; how many objects went.
pub(crate) async fn prune(backups: &Backups, instance: InstanceId, kept: &[Backup]) -> BackupResult<u64> {
    let mut pruning = backups.pruning(instance);
    for backup in kept {
        pruning.keep(backup).await?;
    }
    let mut removed = 0;
    while let Some(objects) = pruning.step().await? {
        backups.remove_objects(&objects).await?;
        removed += objects.len() as u64;
    }
    Ok(removed)
}
