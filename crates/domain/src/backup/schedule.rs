//! When an instance is backed up by itself, and how long what was taken is kept.

use super::retention::Policy;
use chrono::{DateTime, Days, Duration, LocalResult, NaiveDate, TimeZone as _, Utc};
pub use chrono_tz::Tz;

/// Most backups of one rule that anybody may keep.
pub const MOST_KEPT: u32 = 1000;
/// A backup that came to nothing is tried again after this time.
pub const AGAIN_AFTER: Duration = Duration::hours(1);
/// Instances of one hour begin at different minutes of it.
const MINUTES: u128 = 60;

/// When, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Whether backups are taken at all.
    pub enabled: bool,
    /// The hour of the day in which one begins, 0 to 23.
    pub hour: u32,
    /// Whose hour it is.
    pub timezone: Tz,
    /// What is kept of them.
    pub keep: Keep,
}

/// Grandfather, father and son: the newest backup of each of so many days, ISO weeks and months that have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Days.
    pub daily: u32,
    /// Weeks.
    pub weekly: u32,
    /// Months.
    pub monthly: u32,
}

impl Keep {
    /// As a policy.
    pub fn policy(self) -> Policy {
        Policy { daily: Some(self.daily), weekly: Some(self.weekly), monthly: Some(self.monthly), ..Policy::default() }
    }
}

/// What was taken by the schedule last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// When it was begun.
    pub begun: DateTime<Utc>,
    /// Whether it came to nothing.
    pub failed: bool,
}

impl Schedule {
    /// Whether one is due. `spread` is a number of the instance, by which the minute is chosen.
    pub fn is_due(&self, now: DateTime<Utc>, last: Option<Last>, spread: u128) -> bool {
        if !self.enabled {
            return false;
        }
        let (today, slot) = (now.with_timezone(&self.timezone).date_naive(), |date| self.at(date, spread));
        let has_come = |turn: &DateTime<Utc>| *turn <= now;
        let turn = slot(today).filter(has_come).or_else(|| today.pred_opt().and_then(slot).filter(has_come));
        let Some(turn) = turn else { return false };
        match last {
            None => true,
            Some(last) if last.failed => last.begun < turn || now.signed_duration_since(last.begun) >= AGAIN_AFTER,
            Some(last) => last.begun < turn,
        }
    }

    /// When the next one begins, if none is due.
    pub fn next(&self, now: DateTime<Utc>, spread: u128) -> Option<DateTime<Utc>> {
        let today = now.with_timezone(&self.timezone).date_naive();
        let days = (0..=2).filter_map(|day| today.checked_add_days(Days::new(day)));
        days.filter_map(|date| self.at(date, spread)).find(|turn| self.enabled && *turn > now)
    }

    /// Its moment of a day. An hour that the clocks leave out on that day is the one after it, one that comes twice is the first.
    fn at(&self, date: NaiveDate, spread: u128) -> Option<DateTime<Utc>> {
        let minute = u32::try_from(spread % MINUTES).unwrap_or_default();
        let local = date.and_hms_opt(self.hour, minute, 0)?;
        let later = |hours| self.timezone.from_local_datetime(&(local + Duration::hours(hours))).earliest();
        let moment = match self.timezone.from_local_datetime(&local) {
            LocalResult::Single(moment) | LocalResult::Ambiguous(moment, _) => Some(moment),
            LocalResult::None => (1..=24).find_map(later),
        };
        moment.map(|moment| moment.with_timezone(&Utc))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(hour: u32, timezone: Tz) -> Schedule {
        Schedule { enabled: true, hour, timezone, keep: Keep { daily: 7, weekly: 4, monthly: 6 } }
    }

    fn utc(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn whole(begun: &str) -> Option<Last> {
        Some(Last { begun: utc(begun), failed: false })
    }

    #[test]
    fn one_a_day_at_the_hour_of_the_zone() {
        let berlin = schedule(3, Tz::Europe__Berlin);
        // 03:07 there is 02:07 UTC in winter.
        let due = |now: &str, last| berlin.is_due(utc(now), last, 7);
        assert!(!due("2026-01-10T02:06:59Z", whole("2026-01-09T02:07:00Z")));
        assert!(due("2026-01-10T02:07:00Z", whole("2026-01-09T02:07:00Z")));
        assert!(!due("2026-01-10T23:00:00Z", whole("2026-01-10T02:07:30Z")));
        // What was missed is made up for, and a new instance does not wait for its first night.
        assert!(due("2026-01-10T01:00:00Z", whole("2026-01-08T02:07:30Z")));
        assert!(due("2026-01-10T01:00:00Z", None));
        assert!(!Schedule { enabled: false, ..berlin }.is_due(utc("2026-01-10T02:07:00Z"), None, 7));
        assert_eq!(berlin.next(utc("2026-01-10T02:07:00Z"), 7), Some(utc("2026-01-11T02:07:00Z")));
    }

    #[test]
    fn one_that_failed_is_tried_again_after_an_hour() {
        let failed = Some(Last { begun: utc("2026-01-10T03:00:00Z"), failed: true });
        let due = |now: &str| schedule(3, Tz::UTC).is_due(utc(now), failed, 0);
        assert!(!due("2026-01-10T03:59:59Z"));
        assert!(due("2026-01-10T04:00:00Z"));
    }

    #[test]
    fn days_on_which_the_clocks_change_have_one_turn_each() {
        let berlin = schedule(2, Tz::Europe__Berlin);
        // 02:30 does not exist on 29 March 2026 and comes twice on 25 October.
        assert_eq!(berlin.at("2026-03-29".parse().unwrap(), 30), Some(utc("2026-03-29T01:30:00Z")));
        assert_eq!(berlin.at("2026-10-25".parse().unwrap(), 30), Some(utc("2026-10-25T00:30:00Z")));
        // A whole day that a zone leaves out: Samoa had no 30 December 2011.
        assert!(schedule(2, Tz::Pacific__Apia).at("2011-12-30".parse().unwrap(), 0).is_some());
    }

    proptest! {
        #[test]
        fn whoever_is_backed_up_when_due_is_so_once_a_day(
            start in 1_700_000_000_i64..1_900_000_000, hour in 0_u32..24, spread in any::<u128>(), zone in 0..chrono_tz::TZ_VARIANTS.len(),
        ) {
            let schedule = schedule(hour, chrono_tz::TZ_VARIANTS[zone]);
            let (mut now, mut last, mut taken) = (DateTime::from_timestamp(start, 0).unwrap(), None, 0);
            for _ in 0..(10 * 24 * 6) {
                if schedule.is_due(now, last, spread) {
                    (last, taken) = (Some(Last { begun: now, failed: false }), taken + 1);
                }
                let next = schedule.next(now, spread).unwrap();
                prop_assert!(next > now && next.signed_duration_since(now) <= Duration::hours(50));
                now += Duration::minutes(10);
            }
            prop_assert!((10..=12).contains(&taken), "{taken}");
        }
    }
}
