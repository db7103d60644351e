//! Writes the archive, under a name of this try.

use super::Parameters;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::{NO_ROOM, transfer_failed};
use crate::sagas::restore::{Opened, opened, tools_for};
use crate::sagas::site::{Site, instance};
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use backup::Backup;
use backup::odoo_zip::{self, OdooManifest};
use backup::tools::ClientTools;
use domain::backup::transfer::Archive;
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAME: &str = "write";

pub(super) struct Write(pub(super) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(super) struct Made {
    pub(super) attempt: i64,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

#[async_trait]
impl Step for Write {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Storage
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(4 * 3600)
    }

    /// What an interrupted try left has no end.
    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        Ok(if cx.started_before(NAME) { Seen::Partial } else { Seen::Absent })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let Parameters { backup } = cx.params()?;
        let instance = instance(cx).await?;
        let opened = match opened(cx, &self.0, backup, instance.id).await?.0 {
            Opened::Own(backup) => backup,
            Opened::Legacy(..) => {
                const EARLIER: &str = "A backup of the earlier service cannot be exported: restore it, and export a new backup.";
                return Err(StepError::permanent("earlier_backup", EARLIER, "it has no dump in custom format"));
            }
        };
        let manifest = OdooManifest::of(opened.manifest(), &instance.database_name)?;
        let plain = client(cx, &self.0, &opened).await?.to_plain(opened.dump())?;
        let archive = Archive::exported(cx.operation().id, cx.token());
        let file = self.0.transfer.begin(archive).await.map_err(transfer_failed)?;
        let into = tokio::fs::File::from_std(file.try_clone().map_err(transfer_failed)?);
        let written = match unless_told_to_stop(cx, odoo_zip::write(&opened, plain, &manifest, into)).await {
            // While it waited for room, it would keep others from having any.
            Err(error) if error.code == NO_ROOM => {
                const FULL: &str = "There is no room to export this backup at the moment.";
                return Err(StepError::permanent("no_room", FULL, error.cause));
            }
            written => written?,
        };
        self.0.transfer.keep(archive, file).await.map_err(transfer_failed)?;
        Ok(json!(Made { attempt: cx.token(), bytes: written.bytes, sha256: written.sha256 }))
    }
}

/// Programs that read the dump: of the version that wrote it, whose words every server of that version understands; else those of the
/// instance's server.
async fn client(cx: &Cx, tools: &Tools, backup: &Backup) -> Result<ClientTools, StepError> {
    match ClientTools::find(backup.manifest().facts.postgres_version, &[]).await {
        Ok(client) => Ok(client),
        Err(error) => match Site::find(cx, tools).await? {
            Some(site) => tools_for(&site, backup.manifest().facts.postgres_version).await,
            None => Err(error.into()),
        },
    }
}

#[async_trait]
impl Undo for Write {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        self.0.transfer.clear(Archive::exported(cx.operation().id, cx.token())).await.map_err(transfer_failed)
    }
}
