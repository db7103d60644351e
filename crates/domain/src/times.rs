//! How times are written for clients: UTC, six fractional digits, an explicit offset (contract 3).
//!
//! For serde: `#[serde(serialize_with = "domain::times::serialize")]`, or `serialize_option` for a time that may be absent.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serializer;

/// The text, e.g. `2026-11-23T03:04:46.964449+00:00`.
pub fn text(moment: &DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Micros, false)
}

/// As mails say it, e.g. `November 23, 2026 at 03:04 AM UTC` (contract 18).
pub fn for_people(moment: DateTime<Utc>) -> String {
    moment.format("%B %d, %Y at %I:%M %p UTC").to_string()
}

/// Writes a time.
///
/// # Errors
/// Those of the serializer.
pub fn serialize<S: Serializer>(moment: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(moment))
}

/// Writes a time or null.
///
/// # Errors
/// Those of the serializer.
pub fn serialize_option<S: Serializer>(moment: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match moment {
        Some(moment) => serialize(moment, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_months_and_half_days() {
        let moment = DateTime::from_timestamp(1_795_403_086, 0).unwrap();
        assert_eq!(for_people(moment), "November 23, 2026 at 03:04 AM UTC");
    }

    #[test]
    fn whole_seconds_keep_their_six_digits() {
        let moment = DateTime::from_timestamp(1_795_403_086, 0).unwrap();
        assert_eq!(text(&moment), "2026-11-23T03:04:46.000000+00:00");
    }

    #[test]
    fn nanoseconds_are_cut() {
        let moment = DateTime::from_timestamp(1_795_403_086, 964_449_999).unwrap();
        assert_eq!(text(&moment), "2026-11-23T03:04:46.964449+00:00");
    }
}
