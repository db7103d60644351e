//! Removes what lies in the store of backups that the catalogue does not know: somebody who was overtaken has put it there after all.

use crate::reconcile::Round;
use ::backup::Backups;
use db::platform::{PlatformDb, backups};
use domain::sources::Clock;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

const PERIOD: Duration = Duration::from_secs(24 * 3600);
/// What was put later may be all that is left of what the catalogue knew, before it was itself restored as of an earlier day.
const UNKNOWN: Duration = Duration::from_secs(30 * 24 * 3600);

/// The loop.
pub struct Orphans {
    /// postgres1.
    pub db: PlatformDb,
    /// Where backups are kept.
    pub backups: Backups,
    /// The present moment.
    pub clock: Arc<dyn Clock>,
}

#[async_trait::async_trait]
impl Round for Orphans {
    fn name(&self) -> &'static str {
        "backup_orphans"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn round(&self) -> anyhow::Result<Value> {
        // First what lies there: the catalogue knows a backup before anything of it is put.
        let mut unknown = self.backups.ids().await?;
        let known = backups::known(&self.db, &unknown).await?;
        unknown.retain(|id| !known.contains(id));
        let (now, mut removed) = (SystemTime::from(self.clock.now()), 0);
        for id in &unknown {
            let put_at = self.backups.last_put(*id).await?;
            if put_at.and_then(|at| now.duration_since(at).ok()).is_some_and(|age| age > UNKNOWN) {
                self.backups.remove(*id, i64::MAX).await?;
                tracing::warn!(backup = %id, "what lay in the store of a backup that nobody knows was removed");
                removed += 1;
            }
        }
        Ok(json!({ "unknown": unknown.len() - removed, "removed": removed }))
    }
}
