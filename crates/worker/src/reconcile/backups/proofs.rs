//! Has the newest backups of instances loaded, a few at a time, to see that they can be.

use super::by;
use crate::reconcile::{Round, Troubles};
use db::DbResult;
use db::platform::PlatformDb;
use db::platform::acceptance::{self, BackupVerified, VerifyBackup};
use db::platform::backups::{self, Unproven};
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
        let (mut queued, mut troubles) = (0, Troubles::default());
        for unproven in backups::unproven(&self.db, self.age, AT_ONCE).await? {
            match self.prove(unproven).await {
                Ok(asked) => queued += u64::from(asked),
                Err(error) => troubles.note(self.name(), unproven.instance, error)?,
            }
        }
        troubles.end(json!({ "queued": queued }))
    }
}

impl Proofs {
    async fn prove(&self, unproven: Unproven) -> DbResult<bool> {
        let request = VerifyBackup { instance_id: unproven.instance, backup: unproven.backup, restore: true };
        let mut tx = self.db.begin().await?;
        let asked = acceptance::verify_backup(&mut tx, request, &*self.entropy, &by(self.name())).await?;
        tx.commit().await?;
        Ok(matches!(asked, BackupVerified::Queued(_)))
    }
}
