//! Chooses server, port and physical names, once, and stores them in the row before anything with these names is made.

use super::image;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::site::{instance, instance_id};
use async_trait::async_trait;
use db::DbError;
use db::platform::PlatformTx;
use db::platform::instances::{self, Instance, Placement};
use db::platform::servers::{self, ServerRecord};
use domain::names::{InstanceNames, Mark};
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Between two looks for a server with room.
const NO_ROOM: Duration = Duration::from_secs(30);

/// Of many that are placed at the same moment each but one finds its port taken; so they look again at once.
const PORT_TRIES: usize = 16;

pub(super) struct ChoosePlace(pub(super) Arc<Tools>);

#[async_trait]
impl Step for ChoosePlace {
    fn name(&self) -> &'static str {
        "place"
    }

    fn place(&self) -> Place {
        Place::Postgres1
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        // An instance without data is placed by its provisioning only, and each takes its own placement back.
        let placed = instance(cx).await?.placement;
        Ok(placed.map_or(Seen::Absent, |placement| Seen::Ours(output(&placement))))
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let found: image::Found = cx.output(image::NAME)?;
        let mut taken = instances::ports(&cx.services().db).await?;
        for _ in 0..PORT_TRIES {
            let port = self.0.runtime.free_port(&taken).await?;
            if let Some(output) = self.take(cx, port, &found).await? {
                return Ok(output);
            }
            taken.extend(port);
        }
        Err(StepError::retry(
            "ports_contested",
            "The service is busy; the operation goes on by itself.",
            "others were quicker each time",
        ))
    }
}

#[async_trait]
impl Undo for ChoosePlace {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let mut tx = cx.fenced_tx().await?;
        instances::unplace(&mut tx, instance_id(cx)?).await?;
        Ok(tx.commit().await?)
    }
}

impl ChoosePlace {
    /// `None`: another instance took the port between the look and the write.
    async fn take(&self, cx: &Cx, port: Option<u16>, found: &image::Found) -> Result<Option<Value>, StepError> {
        let mut tx = cx.fenced_tx().await?;
        let instance = super::locked(cx, &mut tx).await?;
        let server = self.reserve(&mut tx, &instance).await?;
        let placement = self.draw(cx, server, port, found)?;
        match instances::place(&mut tx, instance.id, &placement).await {
            Err(DbError::Constraint { constraint }) if constraint == "instances_external_port" => return Ok(None),
            other => other?,
        }
        tx.commit().await?;
        Ok(Some(output(&placement)))
    }

    async fn reserve(&self, tx: &mut PlatformTx, instance: &Instance) -> Result<ServerRecord, StepError> {
        servers::reserve(tx, instance.db_type).await?.ok_or_else(|| {
            let cause = format!("no active {} server has room", instance.db_type);
            StepError::snooze(NO_ROOM, "no_capacity", "There is no room for another instance at the moment.", cause)
        })
    }

    fn draw(&self, cx: &Cx, server: ServerRecord, port: Option<u16>, found: &image::Found) -> Result<Placement, StepError> {
        let entropy = &*cx.services().entropy;
        let names = InstanceNames::draw(entropy);
        Ok(Placement {
            server: server.id,
            db_host: server.address.tenant_host,
            db_port: server.address.tenant_port,
            db_name: names.database,
            db_user: names.role,
            service_name: names.service,
            data_dir: self.0.directories.path(&names.directory)?.to_string_lossy().into_owned(),
            mark: Mark::generate(entropy),
            external_port: port,
            image_profile: Some(self.0.image_profile.clone()),
            image: Some(found.image.as_str().to_owned()),
        })
    }
}

fn output(placement: &Placement) -> Value {
    json!({
        "server": placement.server, "database": placement.db_name, "role": placement.db_user,
        "service": placement.service_name, "directory": placement.data_dir, "port": placement.external_port,
    })
}
