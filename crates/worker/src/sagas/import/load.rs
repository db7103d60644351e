//! Loads the archive's dump into a database of its own, and looks whether that is an Odoo of the instance's version.

use super::read::{self, Read, archive, fits};
use super::scratch::Scratch;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::restore::there_must_be_room;
use crate::sagas::site::Site;
use crate::sagas::waiting::unless_told_to_stop;
use async_trait::async_trait;
use backup::tools::ClientTools;
use backup::{BackupError, DumpEnd};
use db::odoo::OdooError;
use domain::operation::Place;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio_util::io::InspectReader;

const NAME: &str = "load";
/// Whoever wrote the dump may make the server wait for ever, and everything else that is asked of the instance waits as well.
const LONGEST: Duration = Duration::from_secs(2 * 3600);

pub(super) const NOT_ODOO: &str = "The database in the archive is not one that Odoo can work with.";

pub(super) struct Load(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Load {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn weight(&self) -> u32 {
        20
    }

    fn limit(&self) -> Duration {
        LONGEST + Duration::from_secs(1800)
    }

    /// How far an interrupted load got cannot be told: it begins with an empty database again.
    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        Ok(if cx.started_before(NAME) { Seen::Partial } else { Seen::Absent })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        const SLOW: &str = "Loading the archive took too long.";
        let (site, archive) = (Site::of(cx, &self.0).await?, archive(cx, &self.0).await?);
        let scratch = Scratch::of(&site, &cx.output::<Read>(read::NAME)?)?;
        let mut fence = site.fence(cx).await?;
        let password = scratch.role(cx, &self.0, &mut fence).await?;
        let oid = scratch.database(&site, &mut fence).await?;
        fence.release().await?;

        let client = ClientTools::find(site.server.admin_connection().await?.major_version().await?, &[]).await?;
        let target = scratch.target(&site, &self.0, password)?;
        let end = Arc::new(Mutex::new(DumpEnd::default()));
        let load = client.load_plain(&target, remembered(archive.dump_sql(), end.clone()));
        let load = async {
            match tokio::time::timeout(LONGEST, load).await {
                Ok(loaded) => loaded.map_err(unusable),
                Err(_) => Err(StepError::permanent("import_too_slow", SLOW, format!("more than {} s", LONGEST.as_secs()))),
            }
        };
        unless_told_to_stop(cx, load).await.map_err(there_must_be_room)?;

        has_an_end(&end.lock().unwrap_or_else(PoisonError::into_inner))?;
        // The dump may have given its role another password.
        let mut fence = site.fence(cx).await?;
        let password = scratch.role(cx, &self.0, &mut fence).await?;
        fence.release().await?;
        let snapshot = site.server.snapshot(&scratch.database, &scratch.role, &password).await;
        let mut snapshot = snapshot.map_err(no_odoo)?;
        snapshot.verify_restored(&BTreeMap::new()).await.map_err(no_odoo)?;
        let modules = snapshot.modules().await.map_err(no_odoo)?;
        // `19.0.1.3`: the series, and the module's own version.
        let base = modules.get("base").map_or("", String::as_str);
        fits(&site, &base.splitn(3, '.').take(2).collect::<Vec<_>>().join("."))?;
        Ok(json!({ "oid": oid }))
    }
}

fn remembered(content: impl AsyncRead + Send + Unpin, end: Arc<Mutex<DumpEnd>>) -> impl AsyncRead + Send + Unpin {
    InspectReader::new(content, move |bytes: &[u8]| end.lock().unwrap_or_else(PoisonError::into_inner).add(bytes))
}

fn has_an_end(end: &DumpEnd) -> Result<(), StepError> {
    const PUBLIC: &str = "The dump of the database in the archive has no end.";
    if end.is_there() {
        return Ok(());
    }
    Err(StepError::permanent("dump_incomplete", PUBLIC, "pg_dump's last line is missing"))
}

/// The server's words about a stranger's statements are for our log; they name things of ours.
fn unusable(error: BackupError) -> StepError {
    const PUBLIC: &str = "The database in the archive cannot be loaded: it is damaged, or it needs rights that no customer has.";
    match error {
        BackupError::Refused(why) => StepError::permanent("dump_refused", PUBLIC, why),
        other => other.into(),
    }
}

pub(super) fn no_odoo(error: OdooError) -> StepError {
    match error {
        OdooError::Unfit { .. } | OdooError::Refused { .. } | OdooError::Server { .. } => {
            StepError::permanent("archive_not_odoo", NOT_ODOO, error)
        }
        other => other.into(),
    }
}

#[async_trait]
impl Undo for Load {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(()) };
        let Some(read) = cx.recorded::<Read>(read::NAME)? else { return Ok(()) };
        Scratch::of(&site, &read)?.remove(cx, &site).await
    }
}
