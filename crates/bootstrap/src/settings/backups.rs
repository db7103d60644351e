//! When instances without a schedule of their own are backed up, and how long what was taken is kept.

use super::reader::Reader;
use super::variables as v;
use domain::backup::schedule::{Keep, MOST_KEPT, Schedule};

pub(super) fn schedule(reader: &mut Reader<'_>) -> Option<Schedule> {
    let enabled = reader.switch(&v::BACKUP_SCHEDULE);
    let hour = reader.number(&v::BACKUP_HOUR, 0..=23);
    let timezone =
        reader.parsed(&v::BACKUP_TIMEZONE, "a time zone of the IANA database, such as Europe/Berlin", |text| text.parse().ok());
    let daily = reader.number(&v::BACKUP_KEEP_DAILY, 0..=MOST_KEPT);
    let weekly = reader.number(&v::BACKUP_KEEP_WEEKLY, 0..=MOST_KEPT);
    let monthly = reader.number(&v::BACKUP_KEEP_MONTHLY, 0..=MOST_KEPT);
    let keep = Keep { daily: daily?, weekly: weekly?, monthly: monthly? };
    Some(Schedule { enabled: enabled?, hour: hour?, timezone: timezone?, keep })
}
