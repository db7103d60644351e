//! backup (contract 12.8): database and files as of one moment, while the instance serves, unless it shall be down meanwhile (`offline`).
//!
//! Parameters: `before`, what the row was, for a cancel before it begins and for the way back; `label`, what it shall be called; `origin`, why it
//! is taken.
//! Result: [`Taken`].

mod catalogue;
mod offline;
pub(super) mod safety_copy;
mod store;

pub(super) use catalogue::{Catalogue, Catalogued, NAME as CATALOGUE, begun};
pub(super) use store::{Stored, dump_into, facts, major, remove_if_possible, take, target, wanted, whole};

use super::Tools;
use super::accepted::Accepted;
use super::bring_up::{IfItShallRun, Ready, RunService};
use super::errors::{inconsistent, overtaken};
use super::mails;
use super::maintenance::{Look, Show, before};
use super::site::{locked, worker};
use crate::engine::{Admission, Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::backups::{self, Whole};
use db::platform::instances::{self, Change};
use db::platform::operations::Operation;
use domain::backup::Origin;
use domain::ids::BackupId;
use domain::instance::{Event, Status};
use domain::operation::Kind;
use offline::{DownIfOffline, IfItWasDown};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use store::Store;

const ACCEPTED: Accepted = Accepted { event: Event::BackupBegins, shown: Status::Maintenance };

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    let t = || Arc::clone(tools);
    Saga::new(Kind::Backup, 1, Finished(t()))
        .step(Look)
        .no_undo("it only looks")
        .step(Show(Event::BackupBegins))
        .no_undo("the end writes the status")
        .step(Catalogue)
        .no_undo("a backup that came to nothing stays in the catalogue as one")
        .step(DownIfOffline(t()))
        .undo()
        .step(Store(t()))
        .undo()
        .step(IfItWasDown(t(), IfItShallRun(t(), RunService(t()))))
        .no_undo("it is to run, whatever became of the backup")
        .step(IfItWasDown(t(), IfItShallRun(t(), Ready(t()))))
        .no_undo("it only looks")
}

/// What clients read.
#[derive(Serialize)]
struct Taken {
    backup_id: BackupId,
    database_size: u64,
    data_size: u64,
    /// Bytes that were sent to the store.
    new_bytes: u64,
}

struct Finished(Arc<Tools>);

#[async_trait]
impl Ends for Finished {
    async fn admit(&self, operation: &Operation, tx: &mut PlatformTx) -> Result<Admission, StepError> {
        ACCEPTED.admit(operation, tx).await
    }

    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let catalogue::Catalogued { backup, name } = cx.output(catalogue::NAME)?;
        let store::Stored(whole) = cx.output(store::NAME)?;
        backups::complete(tx, backup, &whole).await?;
        let instance = locked(cx, tx).await?;
        let change = Change { operation_id: Some(cx.operation().id), ..Change::default() };
        let before = before(cx)?.ok_or_else(|| inconsistent("nobody knows what the instance was before"))?;
        let ends = Event::BackupEnds { before };
        let instance = instances::happen(tx, &instance, ends, change, &worker(cx)).await?.map_err(overtaken)?;
        // Nobody waits for one that was not asked for.
        if catalogue::origin(cx)? == Origin::Requested {
            mails::backup_completed(tx, cx, &self.0, &instance, &name, whole.database_bytes + whole.files_bytes).await?;
        }
        let Whole { database_bytes, files_bytes, new_bytes, .. } = whole;
        Ok(json!(Taken { backup_id: backup, database_size: database_bytes, data_size: files_bytes, new_bytes }))
    }

    async fn unwound(&self, cx: &Cx, tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError> {
        let message = match outcome {
            Outcome::Failed(fault) => fault.message.clone(),
            Outcome::Cancelled { .. } => "The backup was cancelled.".to_owned(),
        };
        backups::fail(tx, cx.operation().id, &message).await?;
        let instance = locked(cx, tx).await?;
        let change = Change { operation_id: Some(cx.operation().id), ..Change::default() };
        // It had not begun.
        let Some(before) = before(cx)? else { return Ok(()) };
        // Who pre-empted it has written the row since: then it is theirs.
        let instance = match instances::happen(tx, &instance, Event::BackupEnds { before }, change, &worker(cx)).await? {
            Ok(instance) => instance,
            Err(refused) => {
                tracing::debug!(%refused, "the row says something else by now");
                return Ok(());
            }
        };
        if let (Outcome::Failed(_), Origin::Requested) = (outcome, catalogue::origin(cx)?) {
            mails::backup_failed(tx, cx, &self.0, &instance, &message).await?;
        }
        Ok(())
    }
}
