//! Backup and restore against what PostgreSQL's own programs, tar and zstd need for the same, in memory, and a second backup of what has not changed.
//!
//! Two instances: one with books (a database with indexes, and some files), one with a filestore of 50 KiB a file. All that is compared is
//! measured in turn, in each round in the other order, and ends on the disk.

mod bare;
mod memory;
mod ours;
mod shop;

use crate::figures::{Figures, goal_in};
use anyhow::Result;
use bare::Bare;
use ours::Ours;
use shop::{Content, Shop};
use std::time::Duration;
use stories::{Stack, StackOptions};

const BOOKS: Content = Content { moves: 100_000, files: 2_000 };
const ROUNDS: usize = 5;
/// By default a tenth of the filestore that the goal is about.
const FILES: u32 = 10_000;
const ALL_FILES: u32 = 100_000;
/// Of the filestore, for each of them a backup and a second one.
const LONG_ROUNDS: usize = 3;

pub(crate) fn run(full: bool) -> Result<bool> {
    let settings = vec![("log_statement".to_owned(), "none".to_owned())];
    let stack = Stack::start(&StackOptions { durable: true, settings, ..StackOptions::default() })?;
    let bare = Bare::new(&stack)?;
    bare.describe(&stack)?;
    let idle = memory::most(&stack)?;
    let mut met = books(&stack, &bare)?;
    met &= files(&stack, &bare, if full { ALL_FILES } else { FILES })?;
    println!("resident memory of the worker: {idle:.1} MB when it had done nothing");
    met &= goal_in("MB", "resident memory of the worker, at most", memory::most(&stack)?, 64.0);
    println!("load of the machine at the end: {}", load()?);
    Ok(met)
}

#[derive(Default)]
struct Measured {
    bare_backup: Figures,
    backup: Figures,
    second: Figures,
    /// Bytes that the second one sent, of 100 that the first one sent.
    sent_again: Figures,
    sequential: Figures,
    parallel: Figures,
    restore: Figures,
    whole_restore: Figures,
    renames: Figures,
    exchange: Figures,
}

/// The kernel's mean of the last minute, five and fifteen: figures of a busy machine are noise.
fn load() -> Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').take(3).collect::<Vec<_>>().join(" "))
}

fn books(stack: &Stack, bare: &Bare) -> Result<bool> {
    let shop = Shop::make(stack, "books", &BOOKS)?;
    let ours = Ours { stack, shop: &shop };
    let mut measured = Measured::default();
    for round in 0..ROUNDS {
        let backup = measured.backups(bare, &ours, round)?;
        measured.restores(bare, &ours, &backup, round)?;
    }
    println!("\n{}; load {}", shop.describe()?, load()?);
    measured.print_backups();
    measured.sequential.print("pg_restore -j1, files, flushed");
    measured.parallel.print("pg_restore -j2 of a file, files, flushed");
    measured.restore.print("our restore, without the safety copy");
    measured.whole_restore.print("our restore, all of it");
    measured.renames.print("two renames of databases");
    measured.exchange.print("from cut sessions to both exchanged");
    let mut met = ratio("backup of books to bare", &measured.backup, &measured.bare_backup, 1.1);
    let fastest =
        if measured.parallel.median() < measured.sequential.median() { &measured.parallel } else { &measured.sequential };
    met &= ratio("restore of books to the fastest bare one", &measured.restore, fastest, 1.15);
    met &= goal_in("ms", "exchange of data after sessions are cut", measured.exchange.median(), 100.0);
    Ok(met)
}

fn files(stack: &Stack, bare: &Bare, files: u32) -> Result<bool> {
    let shop = Shop::make(stack, "files", &Content { moves: 0, files })?;
    let ours = Ours { stack, shop: &shop };
    let mut measured = Measured::default();
    for round in 0..LONG_ROUNDS {
        measured.backups(bare, &ours, round)?;
    }
    println!("\n{}; load {}", shop.describe()?, load()?);
    measured.print_backups();
    let mut met = ratio("backup of files to bare", &measured.backup, &measured.bare_backup, 1.1);
    met &= ratio("second backup of unchanged files to the first, time", &measured.second, &measured.backup, 0.1);
    met &= goal_in("%", "second backup of unchanged files, bytes sent", measured.sent_again.median(), 1.0);
    Ok(met)
}

/// One of the medians to the other.
fn ratio(what: &str, one: &Figures, other: &Figures, limit: f64) -> bool {
    let ratio = one.median() / other.median();
    let met = ratio <= limit;
    println!("{} {what}: {ratio:.2}, goal {limit:.2}", if met { "met   " } else { "MISSED" });
    met
}

impl Measured {
    /// Bare and ours, and ours once more; answers our backup.
    fn backups(&mut self, bare: &Bare, ours: &Ours<'_>, round: usize) -> Result<String> {
        if round.is_multiple_of(2) {
            self.bare_backup.add(bare.back_up(ours.shop)?);
        }
        ours.forget_files()?;
        let first = ours.back_up()?;
        self.backup.add(first.took);
        let second = ours.back_up()?;
        self.second.add(second.took);
        self.sent_again.add_value(100.0 * second.sent / first.sent);
        if !round.is_multiple_of(2) {
            self.bare_backup.add(bare.back_up(ours.shop)?);
        }
        Ok(second.id)
    }

    fn print_backups(&self) {
        self.bare_backup.print("pg_dump | zstd, tar, flushed, read back and hashed");
        self.backup.print("our backup into an empty pool");
        self.second.print("our backup of the same again");
    }

    /// In each round another one begins.
    fn restores(&mut self, bare: &Bare, ours: &Ours<'_>, backup: &str, round: usize) -> Result<()> {
        bare.back_up(ours.shop).map(drop)?;
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => self.sequential.add(bare.restore(ours.shop, 1)?),
                1 => self.parallel.add(bare.restore(ours.shop, 2)?),
                _ => {
                    let restored = ours.restore(backup)?;
                    self.restore.add(restored.own);
                    self.whole_restore.add(restored.whole);
                    self.renames.add(restored.renames);
                    self.exchange.add(restored.exchange);
                }
            }
        }
        Ok(())
    }
}

/// Milliseconds.
fn millis(value: f64) -> Duration {
    Duration::from_secs_f64(value.max(0.0) / 1000.0)
}
