//! Backups as clients know them (contract 4.3 and 16.1).

pub mod legacy;
pub mod retention;
pub mod schedule;
pub mod transfer;

use crate::words;
use chrono::{DateTime, Utc};

words! {
    /// How far a backup is.
    State {
        /// It is being taken.
        Running = "running",
        /// It is whole, and what the store has was compared.
        Completed = "completed",
        /// It came to nothing, or was found damaged or not to be read: nobody restores it. The store may have something of it until it goes.
        Failed = "failed",
        /// It is being removed.
        Deleting = "deleting",
    }
}

words! {
    /// Why a backup was taken.
    Origin {
        /// Somebody asked for it.
        Requested = "requested",
        /// Its time had come.
        Scheduled = "scheduled",
        /// A restore took it first.
        BeforeRestore = "before_restore",
        /// An update took it first.
        BeforeUpdate = "before_update",
        /// The last one of an instance that was deleted.
        Final = "final",
        /// Taken by the earlier service, or brought by a customer.
        Imported = "imported",
    }
}

/// Longest label that a client may give.
pub const LONGEST_NAME: usize = 100;

/// The name that clients see: the label that was given, or `<database_name>_<YYYYmmdd_HHMMSS>`.
pub fn name(label: Option<&str>, database_name: &str, at: DateTime<Utc>) -> String {
    match label.map(str::trim).filter(|label| !label.is_empty()) {
        Some(label) => label.to_owned(),
        None => format!("{database_name}_{}", at.format("%Y%m%d_%H%M%S")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_without_a_label_is_named_after_the_database_and_its_time() {
        let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        assert_eq!(name(None, "shop", at), "shop_20231114_221320");
        assert_eq!(name(Some("  "), "shop", at), "shop_20231114_221320");
        assert_eq!(name(Some(" before the move "), "shop", at), "before the move");
    }
}
