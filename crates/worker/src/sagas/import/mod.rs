//! import (contract 16.4): an archive in Odoo's own format that somebody has brought becomes a backup of the instance, which a restore
//! then takes.
//!
//! The archive is a stranger's. Its dump is loaded into a database of its own, by a role of its own that may enter nothing else, and what
//! stands there is dumped again: what gets into the backup is what PostgreSQL made of it. The live database is not touched.
//!
//! Parameters: `label`, what the backup shall be called; `origin`, always `imported`. The archive lies under the operation's id. Result: the backup.

mod discard;
mod load;
mod read;
mod scratch;
mod store;

use super::Tools;
use super::backup::{CATALOGUE, Catalogue, Catalogued, Stored};
use crate::engine::{Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use db::platform::PlatformTx;
use db::platform::backups;
use discard::Discard;
use domain::operation::Kind;
use load::Load;
use read::{Read, ReadArchive};
use serde_json::{Value, json};
use std::sync::Arc;
use store::StoreArchive;

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    let t = || Arc::clone(tools);
    Saga::new(Kind::Import, 1, Imports)
        .step(ReadArchive(t()))
        .undo()
        .step(Catalogue)
        .no_undo("a backup that came to nothing stays in the catalogue as one")
        .step(Load(t()))
        .undo()
        .step(StoreArchive(t()))
        .undo()
        .step(Discard(t()))
        .no_undo("it removes what was made for the import")
}

struct Imports;

#[async_trait]
impl Ends for Imports {
    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let Catalogued { backup, .. } = cx.output(CATALOGUE)?;
        let Stored(whole) = cx.output(store::NAME)?;
        let Read { ignored, .. } = cx.output(read::NAME)?;
        backups::complete(tx, backup, &whole).await?;
        Ok(json!({
            "backup_id": backup, "database_size": whole.database_bytes, "data_size": whole.files_bytes, "ignored_files": ignored,
        }))
    }

    async fn unwound(&self, cx: &Cx, tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError> {
        let message = match outcome {
            Outcome::Failed(fault) => fault.message.as_str(),
            Outcome::Cancelled { .. } => "The import was cancelled.",
        };
        Ok(backups::fail(tx, cx.operation().id, message).await?)
    }
}
