//! What follows from a failure: engine 8 as one pure function.

use crate::engine::settings::EngineSettings;
use crate::engine::{StepError, Verdict};
use db::platform::operations::Fault;
use domain::operation::Direction;
use std::time::Duration;

/// Where the operation stands when a step fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    /// Which way it walks.
    pub(crate) direction: Direction,
    /// It never turns back.
    pub(crate) forward_only: bool,
    /// Failed tries of this step so far, this one not counted.
    pub(crate) tries: i32,
    /// Whole attempts used so far.
    pub(crate) attempts: i32,
    /// Whole attempts it has.
    pub(crate) max_attempts: i32,
    /// Time until the deadline, if it has one.
    pub(crate) time_left: Option<Duration>,
}

/// What to write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    /// Wait; with the counts as they are afterwards.
    Wait { after: Duration, unreachable: bool, tries: i32, attempts: i32, alert: bool },
    /// Undo; with the reason, unless it was cancelled.
    TurnBack(Option<Fault>),
    /// Stop with everything kept.
    Attention(Fault),
    /// Write nothing more.
    Abandon,
    /// Hand over to whoever comes next.
    Release,
}

impl From<&StepError> for Fault {
    fn from(error: &StepError) -> Self {
        Self { code: error.code.to_owned(), message: error.public.clone(), cause: error.cause.clone() }
    }
}

/// Decides. `jitter` is between 0 and 1.
pub(crate) fn decide(error: &StepError, at: &Situation, settings: &EngineSettings, jitter: f64) -> Decision {
    let turns = at.direction == Direction::Forward && !at.forward_only;
    match error.verdict {
        Verdict::LeaseLost => Decision::Abandon,
        Verdict::Shutdown => Decision::Release,
        Verdict::NeedsAttention => Decision::Attention(error.into()),
        Verdict::Cancelled if turns => Decision::TurnBack(None),
        // Nobody obeys a cancel on the way back or in a forward-only saga; a step that says so is tried again.
        Verdict::Cancelled | Verdict::Retry => retry(error, at, settings, jitter, turns),
        Verdict::Permanent if turns => Decision::TurnBack(Some(error.into())),
        Verdict::Permanent => Decision::Attention(error.into()),
        Verdict::Snooze { after, unreachable } => snooze(error, at, after, unreachable, turns),
    }
}

fn snooze(error: &StepError, at: &Situation, after: Duration, unreachable: bool, turns: bool) -> Decision {
    let late = turns && !unreachable && at.time_left.is_some_and(|left| after > left);
    if late {
        return Decision::TurnBack(Some(timed_out(error)));
    }
    Decision::Wait { after, unreachable, tries: at.tries, attempts: at.attempts, alert: false }
}

/// The fault of an operation whose time is up, with what it was waiting for.
pub(crate) fn timed_out(last: &dyn std::fmt::Display) -> Fault {
    Fault {
        code: "timed_out".to_owned(),
        message: "The operation did not end in time.".to_owned(),
        cause: format!("deadline passed; last word: {last}"),
    }
}

fn retry(error: &StepError, at: &Situation, settings: &EngineSettings, jitter: f64, turns: bool) -> Decision {
    let tries = at.tries + 1;
    let used_up = tries % settings.tries_per_attempt == 0;
    let attempts = at.attempts + i32::from(used_up && turns);
    if turns && used_up && attempts >= at.max_attempts {
        return Decision::TurnBack(Some(error.into()));
    }
    let undo_exhausted = at.direction == Direction::Undo && tries >= settings.tries_per_attempt * at.max_attempts;
    if undo_exhausted {
        return Decision::Attention(error.into());
    }
    let after = backoff(at.tries % settings.tries_per_attempt.max(1), used_up, settings, jitter);
    if turns && at.time_left.is_some_and(|left| after > left) {
        return Decision::TurnBack(Some(timed_out(error)));
    }
    Decision::Wait { after, unreachable: false, tries, attempts, alert: used_up && !turns }
}

/// Doubling from the first pause to the longest, up to a quarter less at random, so that many do not come back at once.
fn backoff(failed_before: i32, used_up: bool, settings: &EngineSettings, jitter: f64) -> Duration {
    let doublings = u32::try_from(failed_before).unwrap_or(0).min(16);
    let grown = settings.backoff_first.saturating_mul(1 << doublings).min(settings.backoff_longest);
    let pause = if used_up { settings.backoff_longest } else { grown };
    pause.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::settings::Slots;

    fn settings() -> EngineSettings {
        EngineSettings::new("test", Slots::split(4))
    }

    const AT: Situation =
        Situation { direction: Direction::Forward, forward_only: false, tries: 0, attempts: 0, max_attempts: 3, time_left: None };

    fn of(verdict: Verdict, at: Situation) -> Decision {
        decide(&StepError::new(verdict, "code", "public", "cause"), &at, &settings(), 0.0)
    }

    #[test]
    fn a_step_has_five_tries_in_each_of_three_attempts() {
        let mut at = AT;
        let mut pauses = Vec::new();
        for _ in 0..14 {
            let Decision::Wait { after, tries, attempts, .. } = of(Verdict::Retry, at) else { panic!("{at:?}") };
            pauses.push(after.as_secs());
            (at.tries, at.attempts) = (tries, attempts);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 30, 1, 2, 4, 8, 30, 1, 2, 4, 8]);
        assert!(matches!(of(Verdict::Retry, at), Decision::TurnBack(Some(_))));
    }

    #[test]
    fn a_snooze_costs_nothing_and_keeps_its_time() {
        let after = Duration::from_secs(7);
        let at = Situation { tries: 3, attempts: 2, ..AT };
        let expected = Decision::Wait { after, unreachable: false, tries: 3, attempts: 2, alert: false };
        assert_eq!(of(Verdict::Snooze { after, unreachable: false }, at), expected);
    }

    #[test]
    fn a_snooze_past_the_deadline_turns_back_unless_a_server_is_away() {
        let after = Duration::from_secs(7);
        let at = Situation { time_left: Some(Duration::from_secs(6)), ..AT };
        let Decision::TurnBack(Some(fault)) = of(Verdict::Snooze { after, unreachable: false }, at) else { panic!() };
        assert_eq!(fault.code, "timed_out");
        assert!(matches!(of(Verdict::Snooze { after, unreachable: true }, at), Decision::Wait { .. }));
    }

    #[test]
    fn a_forward_only_saga_never_turns_back() {
        let at = Situation { forward_only: true, tries: 4_999, attempts: 0, time_left: Some(Duration::ZERO), ..AT };
        assert!(matches!(of(Verdict::Retry, at), Decision::Wait { alert: true, attempts: 0, .. }));
        assert!(matches!(of(Verdict::Cancelled, at), Decision::Wait { .. }));
        assert!(matches!(of(Verdict::Permanent, at), Decision::Attention(_)));
    }

    #[test]
    fn an_exhausted_undo_needs_attention() {
        let at = Situation { direction: Direction::Undo, tries: 13, attempts: 3, ..AT };
        assert!(matches!(of(Verdict::Retry, at), Decision::Wait { tries: 14, .. }));
        assert!(matches!(of(Verdict::Retry, Situation { tries: 14, ..at }), Decision::Attention(_)));
        assert!(matches!(of(Verdict::Permanent, at), Decision::Attention(_)));
    }

    #[test]
    fn a_lost_lease_and_a_stop_write_no_failure() {
        assert_eq!(of(Verdict::LeaseLost, AT), Decision::Abandon);
        assert_eq!(of(Verdict::Shutdown, AT), Decision::Release);
        assert_eq!(of(Verdict::Cancelled, AT), Decision::TurnBack(None));
    }

    #[test]
    fn jitter_only_shortens() {
        for tries in 0..12 {
            let long = backoff(tries, false, &settings(), 0.0);
            let short = backoff(tries, false, &settings(), 1.0);
            assert!(short >= long.mul_f64(0.74) && short < long);
        }
    }
}
