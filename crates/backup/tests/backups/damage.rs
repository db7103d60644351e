//! Whatever happens to what is stored is found before anything is said to be restored.

use crate::over_every_store;
use crate::rig::{Kind, Rig, backup_id, noise, prune};
use backup::{BackupError, Stored};
use std::fs;
use std::path::{Path, PathBuf};

over_every_store!(every_damage_is_found, a_root_that_is_not_mounted_is_no_empty_store);

/// In a full run; a part of them otherwise, another one each day.
const CASES: u64 = 1000;
const PART: u64 = 60;

#[derive(Debug)]
enum Damage {
    Flip,
    Truncate,
    Grow,
    Remove,
    Swap(String),
    Empty,
}

struct Case {
    seed: u64,
}

impl Case {
    fn pick(&self, salt: u64, below: usize) -> usize {
        let bytes = noise(self.seed * 31 + salt, 8);
        (u64::from_le_bytes(bytes.try_into().unwrap()) % below as u64) as usize
    }

    fn damage(&self, objects: &[String], at: usize) -> Damage {
        match self.pick(2, 6) {
            0 => Damage::Flip,
            1 => Damage::Truncate,
            2 => Damage::Grow,
            3 => Damage::Remove,
            4 => Damage::Empty,
            _ => Damage::Swap(objects[(at + 1 + self.pick(3, objects.len() - 1)) % objects.len()].clone()),
        }
    }
}

/// Whether the object is not as it was.
fn apply(case: &Case, store: &Path, object: &str, damage: &Damage) -> bool {
    let path = store.join(object);
    let before = fs::read(&path).unwrap();
    let mut content = before.clone();
    match damage {
        Damage::Flip if !content.is_empty() => {
            let at = case.pick(4, content.len());
            content[at] ^= 1 << case.pick(5, 8);
        }
        Damage::Truncate if !content.is_empty() => content.truncate(case.pick(4, content.len())),
        Damage::Flip | Damage::Truncate | Damage::Grow => content.extend(noise(case.seed, 1 + case.pick(4, 50))),
        Damage::Empty => content.clear(),
        Damage::Swap(other) => content = fs::read(store.join(other)).unwrap(),
        Damage::Remove => {
            fs::remove_file(&path).unwrap();
            return true;
        }
    }
    fs::write(&path, &content).unwrap();
    content != before
}

#[allow(clippy::disallowed_methods, reason = "a test reads its own environment")]
async fn every_damage_is_found(kind: Kind) {
    let full = std::env::var_os("INSTANCE_SOAK").is_some();
    let today = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() / 86_400;
    let seeds = if full { 0..CASES } else { today % (CASES / PART) * PART..(today % (CASES / PART) + 1) * PART };
    println!("cases {seeds:?}");
    let mut rig = Rig::new(kind, 30).await;
    rig.dump.truncate(5 << 20);
    let stored: Vec<Stored> = vec![rig.back_up(backup_id(1)).await.unwrap(), rig.back_up(backup_id(2)).await.unwrap()];
    let objects: Vec<String> = rig
        .objects("active")
        .into_iter()
        .chain(rig.objects("pool"))
        .filter(|object| !object.contains(&backup_id(2).to_string()))
        .collect();
    let all = [rig.objects("active"), rig.objects("pool")].concat();
    let backups = rig.backups();
    let whole: Vec<(PathBuf, Vec<u8>)> =
        all.iter().map(|object| rig.path("store").join(object)).map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    for seed in seeds.step_by(kind.part()) {
        let case = Case { seed };
        let at = case.pick(1, objects.len());
        let damage = case.damage(&all, all.iter().position(|object| *object == objects[at]).unwrap());
        let path = rig.path("store").join(&objects[at]);
        if apply(&case, &rig.path("store"), &objects[at], &damage) {
            let what = format!("seed {seed}: {damage:?} of {}", objects[at]);
            let opened = backups.open(backup_id(1), 1, &stored[0].manifest_sha256).await;
            let found = match opened {
                Err(error) => error,
                Ok(backup) => {
                    let restored = rig.restore(&backup, &format!("restored-{seed}")).await;
                    assert!(matches!(restored, Err(BackupError::Damaged { .. })), "restored in spite of {what}: {restored:?}");
                    backup.verify(true).await.expect_err(&what)
                }
            };
            assert!(matches!(found, BackupError::Damaged { .. }), "{what}: {found}");
        }
        // A check has removed contents that are wrong in the pool, with all of their pieces.
        for (path, content) in whole.iter().filter(|(other, _)| *other == path || !other.exists()) {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
    backups.open(backup_id(1), 1, &stored[0].manifest_sha256).await.unwrap().verify(true).await.unwrap();
}

async fn a_root_that_is_not_mounted_is_no_empty_store(kind: Kind) {
    let rig = Rig::new(kind, 3).await;
    let stored = rig.back_up(backup_id(1)).await.unwrap();
    let backups = rig.backups();
    fs::rename(rig.path("store"), rig.path("elsewhere")).unwrap();
    fs::create_dir(rig.path("store")).unwrap();
    let opened = backups.open(backup_id(1), 1, &stored.manifest_sha256).await.unwrap_err();
    let pruned = prune(&backups, rig.instance, &[]).await.unwrap_err();
    let written = rig.back_up_into(&backups, backup_id(2)).await.unwrap_err();
    for error in [opened, pruned, written] {
        assert!(matches!(error, BackupError::Unreachable(_)), "{error}");
    }
    assert_eq!(fs::read_dir(rig.path("store")).unwrap().count(), 0);
}
