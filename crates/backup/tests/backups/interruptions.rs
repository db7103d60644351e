//! A store that fails, and a writer that is ended, at every point.

use crate::over_every_store;
use crate::rig::{Kind, Rig, backup_id, facts, prune};
use async_trait::async_trait;
use backup::store::{BackupStore, Key, Object};
use backup::{BackupError, BackupResult, Backups, Class};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Notify;

over_every_store!(
    a_store_that_fails_once_never_yields_a_backup,
    a_try_that_was_overtaken_changes_nothing_of_the_one_that_counts,
    a_writer_that_is_ended_anywhere_leaves_nothing_that_cannot_be_taken_back,
    a_backup_whose_contents_were_removed_meanwhile_does_not_count,
    what_is_read_badly_once_is_not_damaged,
);

/// A store in which the n-th call fails, or never returns.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn BackupStore>,
    left: AtomicI64,
    /// Told when the call that never returns has come.
    hangs: Option<Arc<Notify>>,
}

impl Faulty {
    async fn turn(&self) -> BackupResult<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) != 0 {
            return Ok(());
        }
        if let Some(hangs) = &self.hangs {
            hangs.notify_one();
            std::future::pending::<()>().await;
        }
        Err(BackupError::Unreachable("on purpose".to_owned()))
    }
}

#[async_trait]
impl BackupStore for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    async fn put(&self, key: &Key, content: Bytes) -> BackupResult<()> {
        self.turn().await?;
        self.inner.put(key, content).await
    }

    async fn get(&self, key: &Key) -> BackupResult<Bytes> {
        self.turn().await?;
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &Key) -> BackupResult<Vec<Object>> {
        self.turn().await?;
        self.inner.list(prefix).await
    }

    async fn delete(&self, key: &Key) -> BackupResult<()> {
        self.turn().await?;
        self.inner.delete(key).await
    }

    async fn settle(&self) -> BackupResult<()> {
        self.turn().await?;
        self.inner.settle().await
    }
}

fn faulty(rig: &Rig, at: i64, hangs: Option<Arc<Notify>>) -> Backups {
    Backups::new(Arc::new(Faulty { inner: rig.store(), left: AtomicI64::new(at), hangs }))
}

/// Nothing is left of a backup that was taken back, and nothing of its contents when nobody else has them.
async fn take_back(rig: &Rig) {
    let backups = rig.backups();
    backups.remove(backup_id(1), 1).await.unwrap();
    assert_eq!(rig.objects("active"), Vec::<String>::new());
    prune(&backups, rig.instance, &[]).await.unwrap();
    assert_eq!(rig.objects("pool"), Vec::<String>::new());
}

async fn a_store_that_fails_once_never_yields_a_backup(kind: Kind) {
    let mut rig = Rig::new(kind, 4).await;
    rig.dump.truncate(1000);
    for at in 0.. {
        match rig.back_up_into(&faulty(&rig, at, None), backup_id(1)).await {
            Err(error) => assert!(matches!(error, BackupError::Unreachable(_)), "call {at}: {error}"),
            Ok(stored) => {
                assert!(at > 15, "{at}");
                rig.backups().open(backup_id(1), 1, &stored.manifest_sha256).await.unwrap().verify(true).await.unwrap();
                return;
            }
        }
        if at % 7 == 0 {
            take_back(&rig).await;
        }
    }
}

async fn a_try_that_was_overtaken_changes_nothing_of_the_one_that_counts(kind: Kind) {
    let mut rig = Rig::new(kind, 4).await;
    rig.dump.truncate(1000);
    let backups = rig.backups();
    let mut overtaken = backups.writer(backup_id(1), rig.instance, 1);
    rig.write(&mut overtaken).await.unwrap();
    let mut counts = backups.writer(backup_id(1), rig.instance, 2);
    counts.begin().await.unwrap();
    rig.write(&mut counts).await.unwrap();
    let stored = counts.finish(facts()).await.unwrap();
    // It wakes up, begins anew with another dump, and even comes to its end.
    rig.dump.extend(b"of another moment");
    overtaken.begin().await.unwrap();
    rig.write(&mut overtaken).await.unwrap();
    overtaken.finish(facts()).await.unwrap();
    backups.remove(backup_id(1), 1).await.unwrap();
    assert!(rig.objects(&format!("active/{}/1", backup_id(1))).is_empty());
    backups.open(backup_id(1), 2, &stored.manifest_sha256).await.unwrap().verify(true).await.unwrap();
}

async fn a_backup_whose_contents_were_removed_meanwhile_does_not_count(kind: Kind) {
    let mut rig = Rig::new(kind, 4).await;
    rig.dump.truncate(1000);
    let backups = rig.backups();
    let mut writer = backups.writer(backup_id(1), rig.instance, 1);
    rig.write(&mut writer).await.unwrap();
    // Somebody who was overtaken long ago wakes up.
    prune(&backups, rig.instance, &[]).await.unwrap();
    let error = writer.finish(facts()).await.unwrap_err();
    assert_eq!(error.class(), Class::Transient, "{error}");
    assert!(!rig.objects("active").iter().any(|object| object.contains("manifest")));
    rig.back_up(backup_id(1)).await.unwrap();
}

/// A store of which the n-th object that is got is another one, once.
#[derive(Debug)]
struct Misread {
    inner: Arc<dyn BackupStore>,
    left: AtomicI64,
}

#[async_trait]
impl BackupStore for Misread {
    fn name(&self) -> &'static str {
        "misread"
    }

    async fn put(&self, key: &Key, content: Bytes) -> BackupResult<()> {
        self.inner.put(key, content).await
    }

    async fn get(&self, key: &Key) -> BackupResult<Bytes> {
        let mut content = self.inner.get(key).await?.to_vec();
        if self.left.fetch_sub(1, Ordering::Relaxed) == 0 {
            content.push(b'x');
        }
        Ok(content.into())
    }

    async fn list(&self, prefix: &Key) -> BackupResult<Vec<Object>> {
        self.inner.list(prefix).await
    }

    async fn delete(&self, key: &Key) -> BackupResult<()> {
        self.inner.delete(key).await
    }

    async fn settle(&self) -> BackupResult<()> {
        self.inner.settle().await
    }
}

async fn what_is_read_badly_once_is_not_damaged(kind: Kind) {
    let mut rig = Rig::new(kind, 4).await;
    rig.dump.truncate(1000);
    let stored = rig.back_up(backup_id(1)).await.unwrap();
    for at in (0..).step_by(kind.part()) {
        let store = Arc::new(Misread { inner: rig.store(), left: AtomicI64::new(at) });
        let opened = Backups::new(store.clone()).open(backup_id(1), 1, &stored.manifest_sha256).await.unwrap();
        opened.verify(true).await.unwrap_or_else(|error| panic!("object {at}: {error}"));
        if store.left.load(Ordering::Relaxed) >= 0 {
            assert!(at > 10, "{at}");
            break;
        }
    }
}

async fn a_writer_that_is_ended_anywhere_leaves_nothing_that_cannot_be_taken_back(kind: Kind) {
    let mut rig = Rig::new(kind, 4).await;
    rig.dump.truncate(1000);
    for at in (0..).step_by(kind.part()) {
        let hangs = Arc::new(Notify::new());
        let backups = faulty(&rig, at, Some(hangs.clone()));
        let writing = rig.back_up_into(&backups, backup_id(1));
        // It is dropped with whatever it has under way.
        let ended = tokio::select! {
            done = writing => Some(done),
            () = hangs.notified() => None,
        };
        match ended {
            None => take_back(&rig).await,
            Some(Ok(_)) => {
                assert!(at > 30, "{at}");
                break;
            }
            Some(Err(error)) => panic!("call {at}: {error}"),
        }
    }
    take_back(&rig).await;
}
