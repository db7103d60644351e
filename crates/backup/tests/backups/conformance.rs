//! What every store does, whatever is behind it.

use crate::over_every_store;
use crate::rig::{Kind, ROOT, Rig};
use backup::store::{BackupStore, Key, PIECE};
use backup::{BackupError, Class};
use bytes::Bytes;
use std::fs;
use std::task::Poll;

over_every_store!(
    what_was_put_is_what_is_got,
    a_listing_is_complete_and_in_order,
    whatever_is_not_there_is_missing,
    an_object_that_is_too_large_is_neither_put_nor_got,
    what_is_not_ours_is_not_listed,
    nothing_is_said_of_a_root_that_is_another,
    a_put_that_nobody_waits_for_is_over_before_the_next_listing,
);

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

async fn listed(store: &dyn BackupStore, prefix: &str) -> Vec<(Key, u64)> {
    store.list(&key(prefix)).await.unwrap().into_iter().map(|object| (object.key, object.bytes)).collect()
}

async fn what_was_put_is_what_is_got(kind: Kind) {
    let rig = Rig::new(kind, 0).await;
    let store = rig.store();
    let object = key("active/0/1/manifest.json");
    for length in [0, 1, PIECE] {
        let content = Bytes::from(crate::rig::noise(length as u64, length));
        store.put(&object, content.clone()).await.unwrap();
        assert!(store.get(&object).await.unwrap() == content, "{length} bytes");
        assert_eq!(rig.objects("active"), [object.as_str()]);
    }
    store.settle().await.unwrap();
}

async fn a_listing_is_complete_and_in_order(kind: Kind) {
    let rig = Rig::new(kind, 0).await;
    let store = rig.store();
    let mut expected = Vec::new();
    for n in [7_u64, 3, 11, 0, 5, 2, 9, 1, 10, 4, 8, 6] {
        let object = (key(&format!("pool/a/{:02}/{}", n % 3, n * 77)), n);
        store.put(&object.0, Bytes::from(vec![b'x'; n as usize])).await.unwrap();
        expected.push(object);
    }
    // Beside it, and with its name as a beginning.
    store.put(&key("pool/ab/00/1"), Bytes::from_static(b"other")).await.unwrap();
    store.put(&key("pool/a.b/1"), Bytes::from_static(b"other")).await.unwrap();
    expected.sort();
    assert_eq!(listed(&*store, "pool/a").await, expected);
    expected.retain(|(key, _)| key.as_str().starts_with("pool/a/01/"));
    assert_eq!(listed(&*store, "pool/a/01").await, expected);
    assert_eq!(Vec::from_iter(store.below(&key("pool")).await.unwrap()), ["a", "a.b", "ab"]);
    assert_eq!(Vec::from_iter(store.below(&key("pool/a")).await.unwrap()), ["00", "01", "02"]);
    assert!(store.below(&key("pool/a/00")).await.unwrap().is_empty() && store.below(&key("poo")).await.unwrap().is_empty());
    assert_eq!(store.list(&key("pool")).await.unwrap().len(), 14);
    assert_eq!(store.list(&key("poo")).await.unwrap(), []);
}

async fn whatever_is_not_there_is_missing(kind: Kind) {
    let rig = Rig::new(kind, 0).await;
    let store = rig.store();
    let object = key("active/0/1/files.zst/000000");
    assert_eq!(store.list(&key("active")).await.unwrap(), []);
    assert!(matches!(store.get(&object).await, Err(BackupError::Missing(_))));
    store.delete(&object).await.unwrap();
    store.put(&object, Bytes::from_static(b"something")).await.unwrap();
    store.delete(&object).await.unwrap();
    store.delete(&object).await.unwrap();
    assert!(matches!(store.get(&object).await, Err(BackupError::Missing(what)) if what == object.as_str()));
    assert_eq!(store.list(&key("active")).await.unwrap(), []);
}

async fn an_object_that_is_too_large_is_neither_put_nor_got(kind: Kind) {
    let rig = Rig::new(kind, 0).await;
    let store = rig.store();
    let object = key("active/0/1/files.zst/000000");
    let error = store.put(&object, Bytes::from(vec![0; PIECE + 1])).await.unwrap_err();
    assert!(matches!(error, BackupError::Refused(_)), "{error}");
    assert_eq!(rig.objects("active"), Vec::<String>::new());
    // One that grew afterwards costs no more memory than it must to be seen as another one.
    store.put(&object, Bytes::from_static(b"x")).await.unwrap();
    fs::write(rig.path("store").join(object.as_str()), vec![0; 2 * PIECE]).unwrap();
    assert_eq!(store.get(&object).await.unwrap().len(), PIECE + 1);
}

async fn what_is_not_ours_is_not_listed(kind: Kind) {
    let rig = Rig::new(kind, 0).await;
    let store = rig.store();
    store.put(&key("pool/a/1"), Bytes::from_static(b"x")).await.unwrap();
    for name in [".hidden", "with space", "ä"] {
        fs::write(rig.path("store/pool/a").join(name), "not ours").unwrap();
    }
    assert_eq!(listed(&*store, "pool/a").await, [(key("pool/a/1"), 1)]);
}

async fn nothing_is_said_of_a_root_that_is_another(kind: Kind) {
    let rig = Rig::new(kind, 0).await;
    let store = rig.store();
    let (there, absent) = (key("active/0/1/manifest.json"), key("active/1/1/manifest.json"));
    store.put(&there, Bytes::from_static(b"x")).await.unwrap();
    let root = rig.path("store/.root");
    for spoiled in [Some("root of another"), Some(""), None] {
        match spoiled {
            Some(text) => fs::write(&root, text).unwrap(),
            None => fs::remove_file(&root).unwrap(),
        }
        // That something is not there is never believed; and from then on, nothing else.
        let mut errors = vec![store.get(&absent).await.unwrap_err()];
        errors.push(store.list(&key("pool")).await.unwrap_err());
        errors.push(store.get(&there).await.unwrap_err());
        errors.push(store.put(&absent, Bytes::from_static(b"x")).await.unwrap_err());
        errors.push(store.delete(&there).await.unwrap_err());
        errors.push(store.settle().await.unwrap_err());
        for error in errors {
            assert!(matches!(error, BackupError::Unreachable(_)), "{spoiled:?}: {error}");
            assert_eq!(error.class(), Class::Unreachable);
        }
        assert_eq!(rig.objects("active"), [there.as_str()]);
        fs::write(&root, ROOT).unwrap();
        assert!(matches!(store.get(&absent).await, Err(BackupError::Missing(_))));
        assert_eq!(store.get(&there).await.unwrap(), "x");
    }
}

async fn a_put_that_nobody_waits_for_is_over_before_the_next_listing(kind: Kind) {
    let rig = Rig::new(kind, 0).await;
    let store = rig.store();
    // The bucket or directory is known, so that a put begins at once.
    store.settle().await.unwrap();
    let under_way = key("pool/a/1");
    let content = Bytes::from(vec![1; PIECE]);
    for _ in 0..20 {
        let mut put = store.put(&under_way, content.clone());
        if let Poll::Ready(done) = futures::poll!(put.as_mut()) {
            done.unwrap();
        }
        drop(put);
        let listed = store.list(&key("pool")).await.unwrap();
        assert_eq!(store.list(&key("pool")).await.unwrap(), listed);
        store.delete(&under_way).await.unwrap();
        assert_eq!(store.list(&key("pool")).await.unwrap(), []);
    }
}
