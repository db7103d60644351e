//! What is known of the monitoring: what operators wish, what its watcher says, and the worker that it runs in.

use crate::state::AppState;
use chrono::{DateTime, TimeDelta, Utc};
use db::DbResult;
use db::platform::heartbeats::{self, Heartbeat};
use db::platform::monitoring::{self, Effective, Watcher, Watching, Wishes, WorkerDetails};
use std::time::Duration;

/// A worker not heard of for longer counts as gone.
const ALIVE: Duration = Duration::from_secs(20);
/// The watcher renews its report within a look (30 s) and the longest pause after a failure (60 s).
const FRESH: Duration = Duration::from_secs(100);
/// So long a wish may take to come true.
const SOON: TimeDelta = TimeDelta::seconds(30);

/// What is known now.
pub(super) struct Sight {
    pub(super) wishes: Wishes,
    /// What the watcher said last.
    pub(super) watcher: Option<Watcher>,
    /// Whether that may still be true: it was said lately, by a worker that lives.
    is_fresh: bool,
    /// Workers that live.
    workers: Vec<(Heartbeat, WorkerDetails)>,
    now: DateTime<Utc>,
}

impl Sight {
    /// # Errors
    /// Database errors only.
    pub(super) async fn read(state: &AppState) -> DbResult<Self> {
        let db = state.db();
        let wishes = monitoring::wishes(db).await?;
        let (watcher, age) = monitoring::watcher(db).await?.unzip();
        let alive = heartbeats::fresh(db, ALIVE).await?;
        let details = |beat: &Heartbeat| serde_json::from_value(beat.details.clone()).unwrap_or_default();
        let workers: Vec<_> = alive.into_iter().map(|beat| (beat.clone(), details(&beat))).collect();
        let lives = |name: &str| workers.iter().any(|(beat, _): &(Heartbeat, WorkerDetails)| beat.worker == name);
        let is_fresh =
            age.is_some_and(|age| age < FRESH) && watcher.as_ref().is_some_and(|watcher: &Watcher| lives(&watcher.worker));
        Ok(Self { wishes, watcher, is_fresh, workers, now: state.clock().now() })
    }

    /// How it is set up. `None` when no worker says.
    pub(super) fn effective(&self) -> Option<Effective> {
        let configured = self.workers.iter().find_map(|(_, details)| details.monitoring)?;
        Some(configured.with(&self.wishes))
    }

    /// The worker that the watcher runs in.
    pub(super) fn worker(&self) -> Option<&WorkerDetails> {
        let watcher = self.said()?;
        self.workers.iter().find(|(beat, _)| beat.worker == watcher.worker).map(|(_, details)| details)
    }

    /// What the watcher says, if it may still be true.
    pub(super) fn said(&self) -> Option<&Watcher> {
        self.watcher.as_ref().filter(|_| self.is_fresh)
    }

    pub(super) fn has_workers(&self) -> bool {
        !self.workers.is_empty()
    }

    /// `running`, `starting`, `stopping`, `stopped` or `error`.
    pub(super) fn word(&self) -> &'static str {
        let wanted = self.wishes.run.or_else(|| self.effective().map(|setup| setup.run)).unwrap_or(false);
        let watching = self.said().filter(|watcher| watcher.restarts == self.wishes.restarts).map(|watcher| watcher.state);
        match (wanted, watching) {
            (true, Some(Watching::Running)) => "running",
            (true, Some(Watching::Starting)) => "starting",
            (true, Some(Watching::Error)) => "error",
            (true, Some(Watching::Stopped) | None) if self.is_soon() => "starting",
            (true, _) => "error",
            (false, Some(Watching::Running | Watching::Starting)) => "stopping",
            (false, _) => "stopped",
        }
    }

    /// Whether nobody can have begun yet.
    fn is_soon(&self) -> bool {
        let asked = self.wishes.asked_at;
        let begun = self.workers.iter().map(|(beat, _)| beat.started_at).max();
        asked.max(begun).is_some_and(|at| self.now - at < SOON) && self.has_workers()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::sources::Clock as _;
    use serde_json::json;

    fn sight(wished: Option<bool>, asked: i64, watching: Option<Watching>, worker_since: Option<i64>) -> Sight {
        let now = bootstrap::SystemClock.now();
        let ago = |seconds| now - TimeDelta::seconds(seconds);
        let effective = Effective {
            run: true,
            restarts: 0,
            reconcile_interval_seconds: 900,
            health_check_interval_seconds: 60,
            resume_grace_seconds: 60,
        };
        let beat = |since| Heartbeat {
            worker: "w".into(),
            host: "h".into(),
            version: "1".into(),
            started_at: ago(since),
            beat_at: now,
            details: json!({}),
        };
        let details = WorkerDetails { monitoring: Some(effective), ..WorkerDetails::default() };
        Sight {
            wishes: Wishes { run: wished, asked_at: wished.map(|_| ago(asked)), ..Wishes::default() },
            watcher: watching.map(|state| Watcher { state, worker: "w".into(), ..Watcher::default() }),
            is_fresh: true,
            workers: worker_since.map(|since| (beat(since), details)).into_iter().collect(),
            now,
        }
    }

    #[test]
    fn the_word_says_what_is_wished_and_what_is_done_about_it() {
        for (wished, asked, watching, worker_since, word) in [
            (None, 0, Some(Watching::Running), Some(900), "running"),
            (None, 0, None, Some(3), "starting"),
            (None, 0, None, Some(900), "error"),
            (None, 0, None, None, "stopped"),
            (Some(true), 3, None, Some(900), "starting"),
            (Some(true), 3, None, None, "error"),
            (Some(true), 900, Some(Watching::Stopped), Some(900), "error"),
            (Some(true), 3, Some(Watching::Stopped), Some(900), "starting"),
            (Some(true), 900, Some(Watching::Error), Some(900), "error"),
            (Some(false), 3, Some(Watching::Running), Some(900), "stopping"),
            (Some(false), 3, Some(Watching::Stopped), Some(900), "stopped"),
            (Some(false), 900, None, Some(900), "stopped"),
        ] {
            let found = sight(wished, asked, watching, worker_since).word();
            assert_eq!(found, word, "{wished:?} {asked} {watching:?} {worker_since:?}");
        }
    }
}
