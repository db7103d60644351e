//! What is between us and a bucket fails, in every way it can; and the bucket is not what it should be.

use crate::rig::{Kind, PAGE, ROOT, Rig, backup_id, contents, noise, s3_settings};
use backup::store::{BackupStore, Key, PIECE, S3Settings, S3Store};
use backup::{BackupError, BackupResult, Backups, Class};
use bytes::Bytes;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use testkit::s3::{Fault, Proxy};

/// A server, a proxy before it, and a store that is reached through both.
struct Line {
    rig: Rig,
    proxy: Proxy,
    settings: S3Settings,
    store: S3Store,
}

impl Line {
    async fn new() -> Self {
        let rig = Rig::new(Kind::S3, 3).await;
        let proxy = Proxy::before(rig.server().address()).await.unwrap();
        let mut settings = s3_settings(rig.place.path(), proxy.address());
        settings.request_timeout = Duration::from_secs(2);
        let store = S3Store::new(&settings, ROOT).unwrap();
        Self { rig, proxy, settings, store }
    }

    /// Each kind of call once.
    async fn every_call(&self) -> Vec<(&'static str, BackupResult<()>)> {
        let object = key("active/0/1/manifest.json");
        let content = Bytes::from(noise(1, 100_000));
        vec![
            ("settle", self.store.settle().await),
            ("put", self.store.put(&object, content).await),
            ("get", self.store.get(&object).await.map(|_| ())),
            ("list", self.store.list(&key("active")).await.map(|_| ())),
            ("delete", self.store.delete(&key("active/1/1/manifest.json")).await),
        ]
    }

    async fn every_call_works(&self) {
        for (call, done) in self.every_call().await {
            done.unwrap_or_else(|e| panic!("{call}: {e}"));
        }
    }
}

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

#[tokio::test]
async fn every_failure_has_its_class_and_is_over_when_it_is_over() {
    let line = Line::new().await;
    line.every_call_works().await;
    let cases = [
        (Fault::Answer(500, "InternalError"), Class::Unreachable),
        (Fault::Answer(503, "SlowDown"), Class::Unreachable),
        (Fault::Answer(429, "TooManyRequests"), Class::Unreachable),
        (Fault::Answer(404, "NoSuchBucket"), Class::Unreachable),
        (Fault::Answer(404, ""), Class::Unreachable),
        (Fault::Answer(307, "TemporaryRedirect"), Class::Unreachable),
        (Fault::Answer(403, "AccessDenied"), Class::Permanent),
        (Fault::Answer(401, "Unauthorized"), Class::Permanent),
        (Fault::Answer(507, "XMinioStorageFull"), Class::Full),
        (Fault::Answer(403, "QuotaExceeded"), Class::Full),
        (Fault::HangUp, Class::Unreachable),
        (Fault::CutRequest, Class::Unreachable),
        (Fault::CutAnswer, Class::Unreachable),
    ];
    for (fault, class) in cases {
        line.proxy.spoil(fault);
        for (call, failed) in line.every_call().await {
            let error = failed.expect_err(call);
            assert_eq!(error.class(), class, "{call} with {fault:?}: {error}");
            assert!(!matches!(error, BackupError::Missing(_)), "{call} with {fault:?}: {error}");
            assert!(!error.to_string().contains("words"), "{error}");
        }
        line.proxy.heal();
        line.every_call_works().await;
    }
}

/// The look at the bucket is passed, and the request itself is spoilt.
#[tokio::test]
async fn each_call_by_itself_fails_and_works_again() {
    let line = Line::new().await;
    let object = key("active/0/1/manifest.json");
    let content = Bytes::from(noise(1, 300_000));
    for (fault, class) in [
        (Fault::Answer(503, "SlowDown"), Class::Unreachable),
        (Fault::Answer(403, "AccessDenied"), Class::Permanent),
        (Fault::Answer(507, ""), Class::Full),
        (Fault::Answer(404, ""), Class::Unreachable),
        (Fault::Answer(404, "NoSuchBucket"), Class::Unreachable),
        (Fault::HangUp, Class::Unreachable),
        (Fault::CutRequest, Class::Unreachable),
        (Fault::CutAnswer, Class::Unreachable),
    ] {
        for call in 0..4 {
            line.store.settle().await.unwrap();
            line.store.put(&object, content.clone()).await.unwrap();
            line.proxy.spoil(fault);
            let failed = match call {
                0 => line.store.put(&object, content.clone()).await,
                1 => line.store.get(&object).await.map(|_| ()),
                2 => line.store.list(&key("active")).await.map(|_| ()),
                _ => line.store.delete(&object).await,
            };
            let error = failed.expect_err("spoilt");
            assert_eq!(error.class(), class, "call {call} with {fault:?}: {error}");
            line.proxy.heal();
            match line.store.get(&object).await {
                Ok(there) => assert!(there == content, "call {call} with {fault:?}"),
                // It was done, and we were not told.
                Err(BackupError::Missing(_)) if call == 3 && matches!(fault, Fault::CutAnswer) => {}
                Err(error) => panic!("call {call} with {fault:?}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn what_passes_is_not_noticed_and_what_lasts_is_asked_a_few_times() {
    let line = Line::new().await;
    let (object, content) = (key("active/0/1/manifest.json"), Bytes::from(noise(1, 300_000)));
    line.store.put(&object, content.clone()).await.unwrap();
    for fault in [Fault::Answer(503, "SlowDown"), Fault::HangUp, Fault::CutRequest, Fault::CutAnswer] {
        line.proxy.spoil_next(1, fault);
        assert!(line.store.get(&object).await.unwrap() == content, "{fault:?}");
        line.proxy.spoil_next(1, fault);
        line.store.put(&object, content.clone()).await.unwrap_or_else(|e| panic!("{fault:?}: {e}"));
    }
    line.proxy.seen();
    for (fault, requests) in [(Fault::Answer(503, "SlowDown"), 3), (Fault::HangUp, 3), (Fault::Answer(403, "AccessDenied"), 1)] {
        line.proxy.spoil(fault);
        line.store.put(&object, content.clone()).await.unwrap_err();
        assert_eq!(line.proxy.seen().len(), requests, "{fault:?}");
        line.proxy.heal();
        line.store.settle().await.unwrap();
        line.proxy.seen();
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_only_so_long() {
    let mut line = Line::new().await;
    line.settings.request_timeout = Duration::from_millis(300);
    line.store = S3Store::new(&line.settings, ROOT).unwrap();
    line.proxy.spoil(Fault::Silence);
    let all = tokio::time::timeout(Duration::from_secs(20), line.every_call()).await.unwrap();
    for (call, failed) in all {
        let error = failed.expect_err(call);
        assert!(matches!(error, BackupError::Unreachable(_)), "{call}: {error}");
    }
    line.proxy.heal();
    line.settings.request_timeout = Duration::from_secs(10);
    line.store = S3Store::new(&line.settings, ROOT).unwrap();
    line.every_call_works().await;
}

#[tokio::test]
async fn a_page_of_somebody_else_is_no_store() {
    let line = Line::new().await;
    line.proxy.spoil(Fault::Page);
    for (call, failed) in line.every_call().await {
        let error = failed.expect_err(call);
        assert!(matches!(error, BackupError::Unreachable(_)), "{call}: {error}");
    }
    line.proxy.heal();
    line.store.settle().await.unwrap();
    line.proxy.spoil(Fault::Page);
    let error = line.store.list(&key("active")).await.unwrap_err();
    assert!(matches!(error, BackupError::Unreachable(_)), "{error}");
    // One that says 404 does not say that an object is missing, though the bucket is ours.
    line.proxy.heal();
    line.store.settle().await.unwrap();
    line.proxy.spoil_next(1, Fault::Answer(404, ""));
    let error = line.store.get(&key("active/0/1/manifest.json")).await.unwrap_err();
    assert!(matches!(error, BackupError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_listing_that_ends_in_its_middle_is_none() {
    let line = Line::new().await;
    for n in 0..2 * PAGE {
        line.store.put(&key(&format!("pool/a/{n}")), Bytes::from_static(b"x")).await.unwrap();
    }
    for fault in
        [Fault::Page, Fault::Answer(403, "AccessDenied"), Fault::Answer(404, "NoSuchKey"), Fault::Answer(200, "InternalError")]
    {
        line.store.settle().await.unwrap();
        line.proxy.spoil_after(1, fault);
        let error = line.store.list(&key("pool")).await.expect_err("half of a listing");
        assert!(matches!(error, BackupError::Unreachable(_) | BackupError::Denied(_)), "{fault:?}: {error}");
        line.proxy.heal();
        assert_eq!(line.store.list(&key("pool")).await.unwrap().len(), 2 * PAGE as usize);
    }
}

#[tokio::test]
async fn the_bucket_is_looked_at_once_and_again_when_something_is_not_there() {
    let line = Line::new().await;
    let looks = |seen: &[String]| seen.iter().filter(|line| line.as_str() == "GET /store/.root").count();
    for n in 0..10 {
        line.store.put(&key(&format!("pool/a/{n}")), Bytes::from_static(b"x")).await.unwrap();
        line.store.get(&key(&format!("pool/a/{n}"))).await.unwrap();
    }
    line.store.list(&key("pool/a")).await.unwrap();
    let seen = line.proxy.seen();
    assert_eq!((looks(&seen), seen.len()), (1, 1 + 20 + 10_usize.div_ceil(PAGE as usize)), "{seen:?}");
    line.store.get(&key("pool/a/10")).await.unwrap_err();
    assert_eq!(line.proxy.seen(), ["GET /store/pool/a/10", "GET /store/.root"]);
    line.store.list(&key("pool/b")).await.unwrap();
    assert_eq!(looks(&line.proxy.seen()), 1);
    line.store.settle().await.unwrap();
    assert_eq!(line.proxy.seen(), ["GET /store/.root"]);
    // After a failure nothing is believed any more.
    line.proxy.spoil_next(1, Fault::Answer(403, "AccessDenied"));
    line.store.get(&key("pool/a/1")).await.unwrap_err();
    line.proxy.seen();
    line.store.get(&key("pool/a/1")).await.unwrap();
    assert_eq!(line.proxy.seen(), ["GET /store/.root", "GET /store/pool/a/1"]);
}

#[tokio::test]
async fn a_whole_backup_survives_a_line_that_fails_now_and_then() {
    let line = Line::new().await;
    let backups = Backups::new(Arc::new(line.store.clone()));
    line.proxy.spoil_next(1, Fault::Answer(503, "SlowDown"));
    let stored = line.rig.back_up_into(&backups, backup_id(1)).await.unwrap();
    line.proxy.spoil_next(1, Fault::CutAnswer);
    let backup = backups.open(backup_id(1), 1, &stored.manifest_sha256).await.unwrap();
    line.proxy.spoil_next(2, Fault::HangUp);
    let restored = contents(&line.rig.restore(&backup, "restored").await.unwrap());
    let mut before = contents(&line.rig.path("data"));
    before.retain(|path, _| !path.starts_with("sessions/"));
    assert!(restored == before);
    // No request that begins an upload in parts, or anything else than what is known.
    let known = |line: &String| ["GET /store", "PUT /store/", "DELETE /store/"].iter().any(|known| line.starts_with(known));
    let seen = line.proxy.seen();
    assert!(seen.len() > 30 && seen.iter().all(|line| known(line) && !line.contains("upload")), "{seen:?}");
}

#[test]
fn who_is_killed_in_the_middle_of_a_put_leaves_nothing() {
    let server = tokio::runtime::Runtime::new().unwrap();
    let line = server.block_on(Line::new());
    let client = tokio::runtime::Runtime::new().unwrap();
    line.proxy.spoil(Fault::HoldRequest);
    let store = S3Store::new(&line.settings, ROOT).unwrap();
    let object = key("active/0/1/manifest.json");
    let other = object.clone();
    client.spawn(async move { store.put(&other, Bytes::from(noise(1, PIECE))).await });
    server.block_on(async {
        line.proxy.until_held(1).await.unwrap();
        until_drafts(&line, 1).await;
    });
    // Nothing of that runtime goes on, and its sockets are closed.
    client.shutdown_background();
    server.block_on(async {
        line.proxy.until_held(0).await.unwrap();
        line.proxy.heal();
        until_drafts(&line, 0).await;
        assert_eq!(line.rig.objects(""), [".root"]);
        assert_eq!(line.store.list(&key("active")).await.unwrap(), []);
        line.store.put(&object, Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(line.store.get(&object).await.unwrap(), "x");
    });
}

/// Waits until the server has begun to write so many objects.
async fn until_drafts(line: &Line, number: usize) {
    let drafts = || {
        let names = fs::read_dir(line.rig.place.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with(".tmp.")).count()
    };
    let gone = async {
        while drafts() != number {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
}

#[tokio::test]
async fn a_key_is_read_from_its_files_and_never_shown() {
    let line = Line::new().await;
    let secret = line.settings.secret_access_key_file.clone();
    let right = fs::read_to_string(&secret).unwrap();
    line.store.settle().await.unwrap();
    assert!(!format!("{:?}", line.store).contains(right.trim()));
    fs::write(&secret, "another-secret").unwrap();
    let store = S3Store::new(&line.settings, ROOT).unwrap();
    let error = store.settle().await.unwrap_err();
    assert!(matches!(&error, BackupError::Denied(text) if text.contains("403 SignatureDoesNotMatch")), "{error}");
    assert!(!format!("{error} {error:?}").contains("another-secret"));
    // One that was refused is read again at once.
    fs::write(&secret, &right).unwrap();
    store.settle().await.unwrap();
    for spoil in [|path| fs::write(path, "\n"), |path| fs::remove_file(path)] {
        let store = S3Store::new(&line.settings, ROOT).unwrap();
        spoil(&secret).unwrap();
        let error = store.settle().await.unwrap_err();
        assert!(matches!(error, BackupError::Local { .. }) && error.class() == Class::Transient, "{error}");
    }
    // What is in use is believed for a while.
    line.store.settle().await.unwrap();
}

#[tokio::test]
async fn two_stores_in_one_bucket_know_nothing_of_each_other() {
    let line = Line::new().await;
    let under = |prefix: &str| S3Settings { prefix: Some(prefix.to_owned()), ..line.settings.clone() };
    let (first, second) = (S3Store::new(&under("one"), "1").unwrap(), S3Store::new(&under("one/two"), "2").unwrap());
    let object = key("pool/a/1");
    assert!(matches!(first.list(&key("pool")).await, Err(BackupError::Unreachable(_))), "it has no .root");
    fs::create_dir_all(line.rig.path("store/one/two")).unwrap();
    fs::write(line.rig.path("store/one/.root"), "1\n").unwrap();
    fs::write(line.rig.path("store/one/two/.root"), "2\n").unwrap();
    first.put(&object, Bytes::from_static(b"first")).await.unwrap();
    second.put(&object, Bytes::from_static(b"second")).await.unwrap();
    for (store, content) in [(&first, "first"), (&second, "second")] {
        assert_eq!(store.get(&object).await.unwrap(), content);
        assert_eq!(store.list(&key("pool")).await.unwrap().len(), 1);
    }
    assert_eq!(line.rig.objects("").into_iter().filter(|path| path.ends_with("pool/a/1")).count(), 2);
}

#[tokio::test]
async fn settings_that_cannot_be_meant_are_refused() {
    let line = Line::new().await;
    let no_tls = S3Settings { allow_http: false, ..line.settings.clone() };
    assert!(matches!(S3Store::new(&no_tls, ROOT), Err(BackupError::Refused(_))));
    let path = line.rig.path("ca.pem");
    let with_ca = S3Settings { ca_file: Some(path.clone()), ..line.settings.clone() };
    assert!(matches!(S3Store::new(&with_ca, ROOT), Err(BackupError::Local { .. })));
    fs::write(&path, "no certificate").unwrap();
    assert!(matches!(S3Store::new(&with_ca, ROOT), Err(BackupError::Refused(_))));
}

/// One without an id, with nothing in it.
async fn unclaimed() -> (Line, S3Settings) {
    let line = Line::new().await;
    let settings = S3Settings { prefix: Some("new/place".to_owned()), ..line.settings.clone() };
    fs::create_dir_all(line.rig.path("store/new/places")).unwrap();
    fs::write(line.rig.path("store/new/places/neighbour"), "of another").unwrap();
    (line, settings)
}

#[tokio::test]
async fn a_new_prefix_gets_the_id_of_whoever_comes_first() {
    let (line, settings) = unclaimed().await;
    assert_eq!(S3Store::root_id(&settings).await.unwrap(), None);
    let claims = (0..8).map(|n| {
        let settings = settings.clone();
        async move { S3Store::claim(&settings, &format!("id-{n}")).await.unwrap() }
    });
    let told = futures::future::join_all(claims).await;
    let id = S3Store::root_id(&settings).await.unwrap().unwrap();
    assert!(told.iter().all(|told| *told == id), "{told:?}");
    let store = S3Store::new(&settings, id.as_str()).unwrap();
    let object = key("pool/a/1");
    store.put(&object, Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(S3Store::claim(&settings, "late").await.unwrap(), id);
    assert_eq!(store.get(&object).await.unwrap(), "1");

    // The `.root` is lost: what lies there is somebody's.
    fs::remove_file(line.rig.path("store/new/place/.root")).unwrap();
    let error = S3Store::claim(&settings, "late").await.unwrap_err();
    assert!(matches!(&error, BackupError::Refused(why) if why.contains("has no `.root`")), "{error}");
    fs::write(line.rig.path("store/new/place/.root"), " \n").unwrap();
    assert!(matches!(S3Store::claim(&settings, "late").await, Err(BackupError::Refused(_))));
    assert_eq!(line.rig.objects("new").len(), 3);
}

/// The two requests before look for an id and for anything else.
#[tokio::test]
async fn a_server_without_conditional_puts_can_be_claimed_and_one_that_fails_is_not() {
    let (line, settings) = unclaimed().await;
    for fault in [Fault::Answer(403, "AccessDenied"), Fault::Answer(400, "InvalidRequest")] {
        line.proxy.spoil_after(2, fault);
        S3Store::claim(&settings, "id").await.unwrap_err();
        assert_eq!(S3Store::root_id(&settings).await.unwrap(), None, "{fault:?}");
    }
    line.proxy.spoil_after(2, Fault::Answer(501, "NotImplemented"));
    assert_eq!(S3Store::claim(&settings, "id").await.unwrap(), "id");
    line.proxy.spoil(Fault::Answer(404, "NoSuchBucket"));
    for error in [S3Store::root_id(&settings).await.map(drop), S3Store::claim(&settings, "id").await.map(drop)] {
        assert!(matches!(error, Err(BackupError::Unreachable(_))), "{error:?}");
    }
}
