//! Removes archives that nobody can fetch or read any more.

use crate::reconcile::Round;
use crate::transfer::{Lying, Transfer, operations};
use db::platform::PlatformDb;
use db::platform::exports::{self, Needed};
use serde_json::{Value, json};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(300);
/// What the API receives lies there before its operation does, and while it grows it is written to.
const UNKNOWN: Duration = Duration::from_secs(3600);

/// The loop.
pub struct Transfers {
    /// postgres1.
    pub db: PlatformDb,
    /// The directory.
    pub transfer: Transfer,
}

#[async_trait::async_trait]
impl Round for Transfers {
    fn name(&self) -> &'static str {
        "backup_transfers"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn round(&self) -> anyhow::Result<Value> {
        self.transfer.set_up()?;
        // First what lies there: whatever an operation has made since is not among it.
        let lying = self.transfer.lying().await?;
        let needed = exports::needed(&self.db, &operations(&lying)).await?;
        let (all, mut removed) = (lying.len(), 0);
        for lying in lying {
            let operation = lying.archive.operation;
            if !is_needed(&lying, needed.get(&operation).copied()) {
                self.transfer.remove(lying).await?;
                tracing::info!(%operation, "an archive that nobody needs any more was removed");
                removed += 1;
            }
        }
        Ok(json!({ "kept": all - removed, "removed": removed }))
    }
}

fn is_needed(lying: &Lying, needed: Option<Needed>) -> bool {
    match needed {
        Some(Needed::All) => true,
        Some(Needed::Archive(attempt)) => lying.is_whole && lying.archive.attempt == Some(attempt),
        Some(Needed::Nothing) => false,
        None => lying.age < UNKNOWN,
    }
}
