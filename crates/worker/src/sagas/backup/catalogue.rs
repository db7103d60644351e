//! Enters the backup into the catalogue.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::site::locked;
use async_trait::async_trait;
use db::platform::backups::{self, NewBackup};
use domain::backup::{self, Origin};
use domain::ids::BackupId;
use domain::operation::Place;
use domain::sources::random_uuid;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(in crate::sagas) const NAME: &str = "catalogue";

pub(in crate::sagas) struct Catalogue;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parameters {
    label: Option<String>,
    origin: Option<Origin>,
}

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(in crate::sagas) struct Catalogued {
    pub(in crate::sagas) backup: BackupId,
    pub(super) name: String,
}

/// Why the backup is taken.
pub(super) fn origin(cx: &Cx) -> Result<Origin, StepError> {
    Ok(cx.params::<Parameters>()?.origin.unwrap_or(Origin::Requested))
}

/// The entry of a backup that this operation takes; entered again, it is the same one.
pub(in crate::sagas) async fn begun(cx: &Cx, origin: Origin) -> Result<NewBackup, StepError> {
    let label = cx.params::<Parameters>()?.label;
    let mut tx = cx.fenced_tx().await?;
    let instance = locked(cx, &mut tx).await?;
    let mut new = NewBackup {
        id: BackupId::from_uuid(random_uuid(&*cx.services().entropy)),
        instance: instance.id,
        customer: instance.customer_id,
        operation: cx.operation().id,
        name: backup::name(label.as_deref(), &instance.database_name, cx.operation().created_at),
        origin,
        odoo_version: instance.version()?.to_string(),
    };
    new.id = backups::begin(&mut tx, &new).await?;
    tx.commit().await?;
    Ok(new)
}

#[async_trait]
impl Step for Catalogue {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres1
    }

    /// Entered again, it is the same entry.
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let NewBackup { id, name, .. } = begun(cx, origin(cx)?).await?;
        Ok(json!(Catalogued { backup: id, name }))
    }
}
