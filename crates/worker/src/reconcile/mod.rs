//! The loops that compare what should be with what is (engine 13, contract 12.14 and 17): one file each.
//!
//! Owns: how a loop is run — woken by its period, one runner at a time over all workers, last report kept where every API
//! replica can read it — and what each loop looks at.
//! Leaves to others: repairs. A loop writes what it observed through the transition table, and never touches the runtime.
//!
//! To add a loop: implement [`Round`] in a file of its own and add it to the list in `startup`. A round takes no input, does
//! not retry within, works in bounded batches, and holds no pooled connection while it waits for anything but postgres1.

pub mod backups;
pub mod billing;
pub mod drift;
mod findings;
pub mod health;
mod instances;
mod judge;
pub mod retention;
pub mod servers;
mod settle;
mod troubles;
pub use findings::Findings;
pub use instances::{Comparison, LookError};
pub(crate) use instances::{NAME as LOOP, sight};
pub(crate) use settle::{Settled, settle};
use troubles::{Incomplete, Troubles};

use db::platform::monitoring::Effective;
use db::platform::turn::Turn;
use db::platform::{PlatformDb, monitor};
use metrics::{counter, histogram};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The pause after a round that failed; its period, if that is shorter.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// A round younger than this share of the period counts as just done: workers do not tick together.
const RECENT: f64 = 0.8;

/// Nothing that a round waits for may take for ever: no other worker would have a turn.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// How many rows a round reads at a time.
const BATCH: i64 = 200;

/// What one loop does each time.
#[async_trait::async_trait]
pub trait Round: Send + Sync {
    /// Name of the loop: of its lock, its report and its metrics.
    fn name(&self) -> &'static str;

    /// How often, over all workers together.
    fn period(&self) -> Duration;

    /// For the loops of the monitoring: whether they shall run, and how often, which operators change.
    fn setup(&self) -> Option<watch::Receiver<Effective>> {
        None
    }

    /// What every worker does each time, also one that finds the round done by another.
    ///
    /// # Errors
    /// As a round.
    async fn prepare(&self) -> anyhow::Result<()> {
        Ok(())
    }

    /// One round. The returned report is kept.
    ///
    /// # Errors
    /// When the round could not look at all, or could not deal with single items ([`Troubles`]) after it has dealt with all others.
    async fn round(&self) -> anyhow::Result<Value>;
}

/// Runs a loop, beginning at once, until `stop`.
pub async fn keep(db: PlatformDb, round: Arc<dyn Round>, stop: CancellationToken) {
    let (mut first, mut setup) = (true, round.setup());
    while !stop.is_cancelled() {
        let shall_run = setup.as_mut().is_none_or(|setup| setup.borrow_and_update().run);
        let outcome = if shall_run {
            tokio::select! {
                outcome = due_turn(&db, round.as_ref(), first) => outcome,
                () = ended(setup.clone()) => Ok(false),
            }
        } else {
            Ok(false)
        };
        first &= !shall_run;
        let pause = match outcome {
            Ok(_) => round.period(),
            Err(error) => {
                tracing::warn!(round = round.name(), error = format!("{error:#}"), "round failed");
                // What one item fails of is not over in a moment, and all the others would be looked at again.
                if error.is::<Incomplete>() { round.period() } else { round.period().min(PAUSE_AFTER_FAILURE) }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
            () = changed(setup.as_mut()) => {}
        }
    }
}

/// Returns when the monitoring shall not run any more.
async fn ended(setup: Option<watch::Receiver<Effective>>) {
    if let Some(mut setup) = setup
        && setup.wait_for(|setup| !setup.run).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Returns when the monitoring is set up anew.
async fn changed(setup: Option<&mut watch::Receiver<Effective>>) {
    let told = match setup {
        Some(setup) => setup.changed().await.is_ok(),
        None => false,
    };
    if !told {
        std::future::pending().await
    }
}

/// A turn at the start of this process; later only when nobody has had one lately.
async fn due_turn(db: &PlatformDb, round: &dyn Round, first: bool) -> anyhow::Result<bool> {
    round.prepare().await?;
    let recent = |last: monitor::Report| last.value["ok"] == true && last.age < round.period().mul_f64(RECENT);
    if !first && monitor::read(db, round.name()).await?.is_some_and(recent) {
        return Ok(false);
    }
    turn(db, round).await
}

/// One round, if no other worker is at it. Says whether it was done here.
///
/// # Errors
/// Those of the round, or postgres1 does not answer. The failure is kept as the loop's report where that is possible.
pub async fn turn(db: &PlatformDb, round: &dyn Round) -> anyhow::Result<bool> {
    let Some(mut turn) = Turn::try_take(db, round.name()).await? else { return Ok(false) };
    let begin = Instant::now();
    let outcome = match turn.hold(tokio::time::timeout(LONGEST, round.round())).await? {
        Ok(outcome) => outcome,
        Err(_) => Err(anyhow::anyhow!("it was given up after {} s", LONGEST.as_secs())),
    };
    let took = begin.elapsed();
    histogram!("round_seconds", "round" => round.name()).record(took.as_secs_f64());
    let report = match &outcome {
        Ok(report) => json!({"ok": true, "took_ms": took.as_millis() as u64, "report": report}),
        Err(error) => {
            counter!("round_failures_total", "round" => round.name()).increment(1);
            // What the last round found still holds: some of it counts over rounds.
            let report = monitor::read(db, round.name()).await?.map(|last| last.value["report"].clone());
            json!({"ok": false, "took_ms": took.as_millis() as u64, "error": format!("{error:#}"), "report": report})
        }
    };
    monitor::write(db, round.name(), &report).await?;
    turn.end().await;
    outcome.map(|_| true)
}
