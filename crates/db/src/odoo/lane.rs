//! The lane of one Odoo server (engine 10): its breaker, and how many databases are made on it at once.
//!
//! The breaker is this process's: a server that does not answer costs a few attempts, not one for each operation that wants
//! it. The places for making databases are locks in the database of the fences: they count over all workers, and are free
//! again with the connection of whoever held one.

use super::error::{OdooError, OdooResult};
use super::fence::Fence;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many failures in a row open the breaker.
const FAILURES: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Longest time that one attempt takes: then the next may try.
const ATTEMPT: Duration = Duration::from_secs(6);
/// Those who are told to come back do not come all at once.
const SPREAD: Duration = Duration::from_millis(100);
const SPREAD_OVER: u32 = 20;

/// How many databases are made on one server at a time. Making one is copying files: more of them only share the same disk,
/// and each ends later.
const PLACES: i32 = 4;
/// Class of the locks that are such places, in the two-integer form; fences use the other form.
const PLACE: i32 = 2;
/// How long a free place is waited for.
const PATIENCE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(50);

/// The breaker.
#[derive(Debug, Default)]
pub(super) struct Lane {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Failing(u32),
    Open(Open),
}

#[derive(Debug)]
struct Open {
    until: Instant,
    pause: Duration,
    /// Somebody tries whether the server is back.
    trying: bool,
    refused: u32,
}

impl Lane {
    /// Whether the server may be tried now; else after which time to come back. When the pause is over, one may try.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Duration> {
        self.with(|state| match state {
            State::Closed | State::Failing(_) => Ok(()),
            State::Open(open) if open.until <= now => {
                open.trying = true;
                open.until = now + ATTEMPT;
                Ok(())
            }
            State::Open(open) => {
                open.refused = (open.refused + 1) % SPREAD_OVER;
                Err(open.until.duration_since(now) + SPREAD * open.refused)
            }
        })
    }

    /// It answered, with whatever.
    pub(super) fn answered(&self) {
        self.with(|state| *state = State::Closed);
    }

    /// It did not.
    pub(super) fn failed(&self, now: Instant) {
        self.with(|state| match state {
            State::Closed => *state = State::Failing(1),
            State::Failing(before) if *before + 1 < FAILURES => *before += 1,
            State::Failing(_) => {
                *state = State::Open(Open { until: now + FIRST_PAUSE, pause: FIRST_PAUSE, trying: false, refused: 0 });
            }
            State::Open(open) if open.trying => {
                open.pause = (open.pause * 2).min(LONGEST_PAUSE);
                open.until = now + open.pause;
                open.trying = false;
            }
            // Begun before it opened.
            State::Open(_) => {}
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Fence {
    /// Takes one of the places for making a database.
    pub(super) async fn take_place(&mut self) -> OdooResult<i32> {
        let start = Instant::now();
        loop {
            let (server, conn) = self.catalogue().parts();
            let free = sqlx::query_scalar("SELECT n FROM generate_series(1, $1) n WHERE pg_try_advisory_lock($2, n) LIMIT 1");
            let place: Option<i32> = server.answer(free.bind(PLACES).bind(PLACE).fetch_optional(conn)).await?;
            if let Some(place) = place {
                return Ok(place);
            }
            if start.elapsed() > PATIENCE {
                return Err(OdooError::Busy { holder: format!("{PLACES} databases that are being made on {}", server.name()) });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Gives it back.
    pub(super) async fn free_place(&mut self, place: i32) -> OdooResult<()> {
        let (server, conn) = self.catalogue().parts();
        let unlock = sqlx::query("SELECT pg_advisory_unlock($1, $2)").bind(PLACE).bind(place);
        server.answer(unlock.execute(conn)).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(now: Instant) -> Lane {
        let lane = Lane::default();
        for _ in 0..FAILURES {
            assert_eq!(lane.admit(now), Ok(()));
            lane.failed(now);
        }
        lane
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let (lane, now) = (Lane::default(), Instant::now());
        for _ in 0..FAILURES {
            lane.failed(now);
            lane.failed(now);
            lane.answered();
        }
        assert_eq!(lane.admit(now), Ok(()));
        assert!(open(now).admit(now).is_err());
    }

    #[test]
    fn while_open_it_refuses_at_once_and_spreads_the_returns() {
        let now = Instant::now();
        let lane = open(now);
        let (first, second) = (lane.admit(now).unwrap_err(), lane.admit(now).unwrap_err());
        assert!(first >= FIRST_PAUSE && second > first, "{first:?} {second:?}");
    }

    #[test]
    fn when_the_pause_is_over_one_tries_and_the_pause_doubles_up_to_its_limit() {
        let mut now = Instant::now();
        let lane = open(now);
        let mut pause = FIRST_PAUSE;
        for _ in 0..5 {
            now += pause;
            assert_eq!(lane.admit(now), Ok(()));
            assert!(lane.admit(now).is_err(), "one at a time");
            lane.failed(now);
            lane.failed(now);
            pause = (pause * 2).min(LONGEST_PAUSE);
            assert!(lane.admit(now + pause - SPREAD).is_err());
        }
        assert_eq!(lane.admit(now + pause), Ok(()));
        // An attempt that never ended does not keep it closed to others.
        assert_eq!(lane.admit(now + pause + ATTEMPT), Ok(()));
        lane.answered();
        assert_eq!(lane.admit(now), Ok(()));
    }
}
