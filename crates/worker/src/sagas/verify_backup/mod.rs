//! verify_backup (contract 16.4): compares a backup with its checksums and, if asked, loads it beside the live database and looks at it.
//! It gives way to whatever is asked of the instance.
//!
//! Parameters: `backup`, which one; `restore`, whether it is loaded. Result: what was compared. A backup that is found damaged counts as
//! failed from then on.

mod compare;
mod discard;
mod if_loaded;

use super::Tools;
use super::restore::{Database, Verify};
use crate::engine::{Cx, Ends, Outcome, Saga, StepError};
use async_trait::async_trait;
use compare::Compare;
use db::platform::PlatformTx;
use db::platform::backups;
use discard::Discard;
use domain::ids::BackupId;
use domain::operation::Kind;
use if_loaded::IfLoaded;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn saga(tools: &Arc<Tools>) -> Saga {
    let t = || Arc::clone(tools);
    Saga::new(Kind::VerifyBackup, 1, Checked)
        .step(Compare(t()))
        .no_undo("it only looks")
        .step(IfLoaded(Database(t())))
        .undo()
        .step(IfLoaded(Verify(t())))
        .no_undo("it only looks")
        .step(IfLoaded(Discard(t())))
        .no_undo("it removes what was made for the check")
}

#[derive(Deserialize)]
struct Parameters {
    backup: BackupId,
    #[serde(default)]
    restore: bool,
}

struct Checked;

/// What says that the backup itself is wrong, whatever the trouble with servers and stores.
const DAMAGED: &[&str] = &["backup_damaged", "restored_data_wrong"];

#[async_trait]
impl Ends for Checked {
    async fn finish(&self, cx: &Cx, tx: &mut PlatformTx) -> Result<Value, StepError> {
        let Parameters { backup, restore } = cx.params()?;
        backups::verified(tx, backup, restore).await?;
        let compared: Value = cx.output(compare::NAME)?;
        Ok(json!({ "backup_id": backup, "files": compared["files"], "bytes": compared["bytes"], "restored": restore }))
    }

    async fn unwound(&self, cx: &Cx, tx: &mut PlatformTx, outcome: &Outcome) -> Result<(), StepError> {
        if let Outcome::Failed(fault) = outcome
            && DAMAGED.contains(&fault.code.as_str())
        {
            let Parameters { backup, .. } = cx.params()?;
            tracing::error!(%backup, code = fault.code, "a backup turned out to be damaged");
            backups::broken(tx, backup, "This backup was checked and is damaged.").await?;
        }
        Ok(())
    }
}
