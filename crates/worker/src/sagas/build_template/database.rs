//! Makes the empty database with the one extension that Odoo creates only in databases of its own making.

use super::ground::Ground;
use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use async_trait::async_trait;
use db::odoo::{DatabaseState, Recorded};
use db::platform::templates;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Database(pub(super) Arc<Tools>);

#[async_trait]
impl Step for Database {
    fn name(&self) -> &'static str {
        "empty_database"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(180)
    }

    async fn check(&self, cx: &Cx) -> Result<Seen, StepError> {
        let ground = Ground::of(cx, &self.0)?;
        let plan = &ground.plan;
        let mut admin = ground.server.admin_connection().await?;
        let unrecorded = Recorded { oid: None, owner: &plan.content_role };
        Ok(match admin.database_state(&plan.database, unrecorded, &plan.mark).await? {
            DatabaseState::Absent => Seen::Absent,
            DatabaseState::Ours(_) | DatabaseState::Half(_) => Seen::Partial,
            DatabaseState::Foreign(_) => Seen::Foreign(format!("database {} is not ours", plan.database)),
        })
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let ground = Ground::of(cx, &self.0)?;
        make_empty(cx, &ground).await?;
        Ok(json!({ "database": ground.plan.database }))
    }
}

#[async_trait]
impl Undo for Database {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let Some(ground) = Ground::find(cx, &self.0)? else { return Ok(()) };
        let mut fence = ground.fence(cx).await?;
        fence.drop_template(&ground.plan.database, &ground.plan.content_role, None).await?;
        Ok(fence.release().await?)
    }
}

/// An empty database whatever was there before of this build: loading always starts from nothing.
pub(super) async fn make_empty(cx: &Cx, ground: &Ground) -> Result<(), StepError> {
    let plan = &ground.plan;
    let mut fence = ground.fence(cx).await?;
    fence.drop_template(&plan.database, &plan.content_role, None).await?;
    let oid = fence.create_empty_database(&plan.database, &plan.content_role).await?;
    fence.inside(&plan.database).await?.create_trigram_extension(&plan.content_role).await?;
    fence.release().await?;
    let mut tx = cx.fenced_tx().await?;
    templates::set_oid(&mut tx, plan.template, oid).await?;
    Ok(tx.commit().await?)
}
