//! Which backups of one instance have had their time.

use crate::ids::BackupId;
use chrono::{DateTime, Datelike, Duration, Utc};
use std::collections::BTreeSet;

/// A backup, as far as retention asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which one.
    pub id: BackupId,
    /// When it was taken.
    pub taken_at: DateTime<Utc>,
    /// Whether a restore reads it.
    pub being_read: bool,
}

/// What is kept: whatever any of its rules keeps. A policy without rules keeps everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// So many of the newest.
    pub count: Option<u32>,
    /// What is at most so many days old.
    pub days: Option<u32>,
    /// The newest of each of so many days (of UTC) that have one.
    pub daily: Option<u32>,
    /// The newest of each of so many ISO weeks that have one.
    pub weekly: Option<u32>,
    /// The newest of each of so many months that have one.
    pub monthly: Option<u32>,
}

/// Of `damaged` backups those to delete: what would have had its time if it were whole. They keep no place from the `whole` ones.
pub fn expired_damaged(damaged: &[Entry], whole: &[Entry], policy: &Policy, now: DateTime<Utc>) -> Vec<BackupId> {
    let is_expired = |entry: &&Entry| expired(&[whole, &[**entry]].concat(), policy, now).contains(&entry.id);
    damaged.iter().filter(is_expired).map(|entry| entry.id).collect()
}

/// The backups to delete, of whole ones, newest first. The newest one is never among them, nor one that is being read.
pub fn expired(entries: &[Entry], policy: &Policy, now: DateTime<Utc>) -> Vec<BackupId> {
    if *policy == Policy::default() {
        return Vec::new();
    }
    let mut whole: Vec<&Entry> = entries.iter().collect();
    whole.sort_by_key(|entry| std::cmp::Reverse((entry.taken_at, entry.id)));
    let mut kept: BTreeSet<BackupId> = whole.iter().take(1).map(|entry| entry.id).collect();
    kept.extend(whole.iter().filter(|entry| entry.being_read).map(|entry| entry.id));
    kept.extend(whole.iter().take(places(policy.count)).map(|entry| entry.id));
    if let Some(days) = policy.days {
        let age = Duration::days(i64::from(days));
        kept.extend(whole.iter().filter(|entry| now.signed_duration_since(entry.taken_at) <= age).map(|entry| entry.id));
    }
    kept.extend(newest_of_each(&whole, policy.daily, |at| (at.year(), at.ordinal())));
    kept.extend(newest_of_each(&whole, policy.weekly, |at| (at.iso_week().year(), at.iso_week().week())));
    kept.extend(newest_of_each(&whole, policy.monthly, |at| (at.year(), at.month())));
    whole.iter().map(|entry| entry.id).filter(|id| !kept.contains(id)).collect()
}

/// The newest of each of the latest `periods` that have one; `whole` is sorted, newest first.
fn newest_of_each(whole: &[&Entry], periods: Option<u32>, period: fn(DateTime<Utc>) -> (i32, u32)) -> Vec<BackupId> {
    let mut seen = BTreeSet::new();
    whole.iter().filter(|entry| seen.insert(period(entry.taken_at))).take(places(periods)).map(|entry| entry.id).collect()
}

fn places(rule: Option<u32>) -> usize {
    rule.map_or(0, |many| usize::try_from(many).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    fn entry(number: u128, hours_ago: i64) -> Entry {
        let id = BackupId::from_uuid(Uuid::from_u128(number));
        Entry { id, taken_at: now() - Duration::hours(hours_ago), being_read: false }
    }

    fn numbers(entries: &[Entry], policy: Policy) -> Vec<u128> {
        expired(entries, &policy, now()).into_iter().map(|id| id.as_uuid().as_u128()).collect()
    }

    #[test]
    fn every_rule_keeps_its_own() {
        // 22:13 of a Tuesday: 1 and 2 are of one day, 4 of the week before, 5 of the month before.
        let taken = [entry(1, 1), entry(2, 2), entry(3, 25), entry(4, 24 * 7), entry(5, 24 * 30)];
        let none = Policy::default();
        assert!(numbers(&taken, none).is_empty());
        assert_eq!(numbers(&taken, Policy { count: Some(2), ..none }), [3, 4, 5]);
        assert_eq!(numbers(&taken, Policy { days: Some(7), ..none }), [5]);
        assert_eq!(numbers(&taken, Policy { daily: Some(2), ..none }), [2, 4, 5]);
        assert_eq!(numbers(&taken, Policy { weekly: Some(2), ..none }), [2, 3, 5]);
        assert_eq!(numbers(&taken, Policy { monthly: Some(2), ..none }), [2, 3, 4]);
        assert_eq!(numbers(&taken, Policy { daily: Some(1), monthly: Some(2), ..none }), [2, 3, 4]);
    }

    #[test]
    fn what_is_read_stays_and_so_does_the_newest() {
        let read = Entry { being_read: true, ..entry(4, 99) };
        assert_eq!(numbers(&[entry(2, 50), entry(3, 60), read], Policy { count: Some(0), ..Policy::default() }), [3]);
    }

    #[test]
    fn a_damaged_one_goes_when_it_would_go_if_it_were_whole_and_takes_nobodys_place() {
        let (whole, damaged) = ([entry(1, 30), entry(2, 60), entry(3, 24 * 40)], [entry(4, 1), entry(5, 24 * 50)]);
        let chosen = |policy| expired_damaged(&damaged, &whole, &policy, now());
        let two_days = Policy { daily: Some(2), ..Policy::default() };
        assert_eq!(chosen(two_days), [damaged[1].id]);
        assert_eq!(numbers(&whole, two_days), [3]);
        assert!(chosen(Policy { count: Some(4), ..Policy::default() }).is_empty());
        assert!(chosen(Policy::default()).is_empty());
    }

    proptest! {
        #[test]
        fn the_newest_one_and_those_being_read_are_never_chosen(
            taken in prop::collection::vec((0_i64..5000, any::<bool>()), 0..40),
            rules in prop::array::uniform5(prop::option::of(0_u32..5)),
        ) {
            let made = |(number, &(hours, being_read)): (usize, &(i64, bool))| Entry { being_read, ..entry(number as u128, hours) };
            let entries: Vec<Entry> = taken.iter().enumerate().map(made).collect();
            let [count, days, daily, weekly, monthly] = rules;
            let chosen = expired(&entries, &Policy { count, days, daily, weekly, monthly }, now());
            let newest = entries.iter().max_by_key(|entry| (entry.taken_at, entry.id));
            prop_assert!(newest.is_none_or(|newest| !chosen.contains(&newest.id)));
            prop_assert!(entries.iter().all(|entry| !entry.being_read || !chosen.contains(&entry.id)));
        }
    }
}
