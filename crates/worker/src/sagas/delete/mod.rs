//! delete (contract 12.9): removes an instance for good and leaves a scrubbed record.
//!
//! Parameters: none; names, OID and owner come from the row, which had them before anything was made, so half-made things
//! of an earlier operation go as well. Forward-only: every step is repeated until it is done; a mismatch stops it for an
//! operator.

mod drop_database;
mod drop_role;
mod final_backup;
mod remove_directory;
mod verify;

use super::Tools;
use super::errors::inconsistent;
use super::mails;
use super::site::{instance_id, worker};
use super::takedown::{CloseDatabase, FORWARD_ONLY, RemoveService};
use crate::engine::{Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::instances;
use domain::operation::Kind;
use drop_database::DropDatabase;
use drop_role::DropRole;
use final_backup::FinalBackup;
use remove_directory::RemoveDirectory;
use serde_json::{Value, json};
use std::sync::Arc;
use verify::Verify;

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    Saga::forward_only(Kind::Delete, 1, Purged(Arc::clone(tools)))
        .step(RemoveService(Arc::clone(tools)))
        .no_undo(FORWARD_ONLY)
        .step(CloseDatabase(Arc::clone(tools)))
        .no_undo(FORWARD_ONLY)
        .step(Verify(Arc::clone(tools)))
        .no_undo("it only looks")
        .step(FinalBackup(Arc::clone(tools)))
        .no_undo(FORWARD_ONLY)
        .step(DropDatabase(Arc::clone(tools)))
        .no_undo(FORWARD_ONLY)
        .step(DropRole(Arc::clone(tools)))
        .no_undo(FORWARD_ONLY)
        .step(RemoveDirectory(Arc::clone(tools)))
        .no_undo(FORWARD_ONLY)
}

struct Purged(Arc<Tools>);

#[async_trait]
impl Ends for Purged {
    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let id = instance_id(cx)?;
        let instance = instances::lock(tx, id).await?.ok_or_else(|| inconsistent(format!("there is no instance {id}")))?;
        instances::scrub(tx, &instance, cx.operation().id, &worker(cx)).await?.map_err(inconsistent)?;
        // Afterwards: it erases what waits to be sent about the instance.
        if self.0.notify_extras {
            let kept = cx.output::<final_backup::Taken>(final_backup::NAME)?.taken.then_some(self.0.keep_final);
            mails::deleted(tx, cx, &self.0, &instance, kept).await?;
        }
        Ok(json!({}))
    }

    async fn unwound(&self, _cx: &Cx, _tx: &mut PlatformTx, _outcome: &Outcome) -> Result<(), StepError> {
        Ok(())
    }
}
