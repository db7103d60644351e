//! Removes what only the backups have that are to go, and then their entries.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::instance_id;
use async_trait::async_trait;
use db::platform::backups;
use domain::backup::State;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAME: &str = "remove_backups";

pub(super) struct RemoveCondemned(pub(super) Arc<Tools>);

#[async_trait]
impl Step for RemoveCondemned {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(3600)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let mut tx = cx.fenced_tx().await?;
        let condemned = backups::in_state(&mut tx, instance_id(cx)?, State::Deleting).await?;
        tx.commit().await?;
        for backup in &condemned {
            match &backup.legacy {
                Some(legacy) => self.0.legacy.remove(legacy).await?,
                None => self.0.backups.remove(backup.id).await?,
            }
            let mut tx = cx.fenced_tx().await?;
            backups::forget(&mut tx, backup.id).await?;
            tx.commit().await?;
        }
        self.0.backups.tidy().await?;
        Ok(json!({ "removed": condemned.len() }))
    }
}
