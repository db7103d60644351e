//! export (contract 16.4): writes a backup as an archive in Odoo's own format, where the API finds it until it expires.
//!
//! It reads the store only, so it goes on beside whatever the instance does; the backup stays for as long as it is read.
//! Parameters: `backup`, which one. Result: `db::platform::exports::Exported`.

mod write;

use super::Tools;
use super::errors::inconsistent;
use super::site::{instance_id, worker};
use crate::engine::{Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use db::platform::PlatformTx;
use db::platform::acceptance::{self, VerifyBackup};
use db::platform::exports::Exported;
use domain::ids::BackupId;
use domain::operation::Kind;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::SystemTime;
use write::{Made, Write};

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    Saga::new(Kind::Export, 1, Exports(Arc::clone(tools))).step(Write(Arc::clone(tools))).undo()
}

#[derive(Deserialize)]
struct Parameters {
    backup: BackupId,
}

struct Exports(Arc<Tools>);

#[async_trait]
impl Ends for Exports {
    async fn finish(&self, cx: &Cx, _tx: &mut PlatformTx) -> Result<Value, StepError> {
        let Made { attempt, bytes, sha256 } = cx.output(write::NAME)?;
        let now = DateTime::<Utc>::from(SystemTime::now());
        let expires_at = now.checked_add_signed(self.0.keep_exports).ok_or_else(|| inconsistent("an export without an end"))?;
        let Parameters { backup: backup_id } = cx.params()?;
        Ok(json!(Exported { backup_id, attempt, bytes, sha256, expires_at }))
    }

    async fn unwound(&self, cx: &Cx, tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError> {
        if let Outcome::Failed(fault) = outcome
            && fault.code == "backup_damaged"
        {
            // What is read once may have been read badly: a check says what is true of it.
            let Parameters { backup } = cx.params()?;
            let request = VerifyBackup { instance_id: instance_id(cx)?, backup, restore: false };
            let asked = acceptance::verify_backup(tx, request, &*cx.services().entropy, &worker(cx)).await?;
            tracing::error!(%backup, ?asked, "a backup seems to be damaged, and is to be checked");
        }
        Ok(())
    }
}
