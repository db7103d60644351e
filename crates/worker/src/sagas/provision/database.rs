//! Clones the template, closed to everybody until PUBLIC has no right in it and it carries our mark; records its OID.

use super::template;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::site::{Site, instance_id};
use crate::sagas::template::{Unfit, replace, usable};
use async_trait::async_trait;
use db::odoo::{DatabaseState, Fence, OdooError, Recorded};
use db::platform::instances;
use db::platform::templates::{self, Template, TemplateState};
use domain::names::PhysicalName;
use domain::operation::Place;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) const NAME: &str = "database";

pub(super) struct Database(pub(super) Arc<Tools>);

/// What the step records: the clone, and what the steps after it need of the template it was made from.
#[derive(Serialize, Deserialize)]
pub(super) struct Clone {
    oid: u32,
    pub(super) content_role: PhysicalName,
    pub(super) template: domain::ids::TemplateId,
    pub(super) template_database: PhysicalName,
    pub(super) template_directory: String,
}

#[async_trait]
impl Step for Database {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn weight(&self) -> u32 {
        3
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(180)
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        // As for the role: the name is new, and the fence is where a stranger is seen.
        if !cx.started_before(NAME) {
            return Ok(Seen::Absent);
        }
        let site = Site::of(cx, &self.0).await?;
        let name = &site.placement.db_name;
        let state = site.server.admin_connection().await?.database_state(name, site.recorded(), &site.placement.mark).await?;
        Ok(match state {
            DatabaseState::Absent => Seen::Absent,
            DatabaseState::Ours(_) | DatabaseState::Half(_) => Seen::Partial,
            DatabaseState::Foreign(_) => Seen::Foreign(format!("database {name} is not ours")),
        })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let site = Site::of(cx, &self.0).await?;
        let template = self.template(cx, &site).await?;
        let mut fence = site.fence(cx).await?;
        // Nobody knows which template an interrupted attempt cloned, and it never served anybody.
        drop_clone(&mut fence, &site).await?;
        let cloned = fence.clone_database(&site.placement.db_name, &template.db_name, &site.placement.db_user).await;
        let oid = match cloned {
            Err(OdooError::TemplateUnusable { cause, .. }) => {
                return Err(replace(cx, &template, Unfit::Broken(cause)).await?);
            }
            other => other?,
        };
        fence.release().await?;
        let mut tx = cx.fenced_tx().await?;
        instances::set_database_oid(&mut tx, site.instance.id, Some(oid)).await?;
        tx.commit().await?;
        Ok(json!(Clone {
            oid,
            content_role: template.content_role,
            template: template.id,
            template_database: template.db_name,
            template_directory: template.directory,
        }))
    }
}

#[async_trait]
impl Undo for Database {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        undo_database(cx, &self.0).await
    }
}

/// However it was made.
pub(super) async fn undo_database(cx: &Cx, tools: &Tools) -> Result<(), StepError> {
    let Some(site) = Site::find(cx, tools).await? else { return Ok(()) };
    let mut fence = site.fence(cx).await?;
    drop_clone(&mut fence, &site).await?;
    fence.release().await?;
    let mut tx = cx.fenced_tx().await?;
    instances::set_database_oid(&mut tx, instance_id(cx)?, None).await?;
    Ok(tx.commit().await?)
}

impl Database {
    /// The one that the step before looked at, unless it was replaced since.
    async fn template(&self, cx: &Cx, site: &Site) -> Result<Template, StepError> {
        let choice: template::Choice = cx.output(template::NAME)?;
        match templates::get(&cx.services().db, choice.template).await? {
            Some(chosen) if chosen.state == TemplateState::Ready => Ok(chosen),
            _ => usable(cx, &self.0, site).await,
        }
    }
}

/// Drops what this operation made, and a stranger's database under our name stays. What carries the mark may have another
/// OID than an attempt before recorded, since each attempt makes a new database; what has the recorded one may have lost the
/// mark, since its owner can take it away.
async fn drop_clone(fence: &mut Fence, site: &Site) -> Result<(), StepError> {
    let (name, owner) = (&site.placement.db_name, &site.placement.db_user);
    match fence.catalogue().database_state(name, site.recorded(), &site.placement.mark).await? {
        DatabaseState::Absent | DatabaseState::Foreign(_) => Ok(()),
        DatabaseState::Ours(facts) | DatabaseState::Half(facts) => {
            Ok(fence.drop_database(name, Recorded { oid: Some(facts.oid), owner }).await?)
        }
    }
}
