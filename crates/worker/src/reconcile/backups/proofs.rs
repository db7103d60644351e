//! Has the newest backups of instances loaded, a few at a time, to see that they can be.

use super::by;
use crate::reconcile::Round;
use db::platform::acceptance::{self, BackupVerified, VerifyBackup};
use db::platform::{PlatformDb, backups};
use domain::sources::Entropy;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(900);
/// Proofs that a round asks for: they load the servers, and nobody waits for them.
const AT_ONCE: i64 = 4;

/// The loop.
pub struct Proofs {
    /// postgres1.
    pub db: PlatformDb,
    /// Ids of operations.
    pub entropy: Arc<dyn Entropy>,
    /// How long a proof is good for.
    pub age: Duration,
}

#[async_trait::async_trait]
impl Round for Proofs {
    fn name(&self) -> &'static str {
        "backup_proofs"
    }

    fn period(&self) -> Duration {
        PERIOD
    }

    async fn round(&self) -> anyhow::Result<Value> {
        let mut queued = 0;
        for unproven in backups::unproven(&self.db, self.age, AT_ONCE).await? {
            let request = VerifyBackup { instance_id: unproven.instance, backup: unproven.backup, restore: true };
            let mut tx = self.db.begin().await?;
            let asked = acceptance::verify_backup(&mut tx, request, &*self.entropy, &by(self.name())).await?;
            tx.commit().await?;
            queued += u64::from(matches!(asked, BackupVerified::Queued(_)));
        }
        Ok(json!({ "queued": queued }))
    }
}
