//! Drops the database, after the same comparison under the same lock, what restores have replaced of it, and what one that stopped half-way
//! has left. Their files go with the directory.

use crate::engine::{Cx, Seen, Step, StepError};
use crate::sagas::Tools;
use crate::sagas::site::Site;
use async_trait::async_trait;
use db::platform::replaced;
use domain::operation::Place;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct DropDatabase(pub(super) Arc<Tools>);

#[async_trait]
impl Step for DropDatabase {
    fn name(&self) -> &'static str {
        "drop_database"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(180)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let Some(site) = Site::find(cx, &self.0).await? else { return Ok(json!({ "there": false })) };
        let mut fence = site.fence(cx).await?;
        fence.drop_database(&site.placement.db_name, site.recorded()).await?;
        let (live, owner) = (&site.placement.db_name, &site.placement.db_user);
        // Those of imports that stopped half-way have roles of their own.
        let scratch = fence.roles_beside(owner).await?;
        for role in std::iter::once(owner).chain(&scratch) {
            for name in fence.databases_beside(live, role).await? {
                fence.drop_beside(live, None, &name, role).await?;
            }
        }
        for role in &scratch {
            fence.drop_role(role).await?;
        }
        fence.release().await?;
        let former = replaced::of(&cx.services().db, site.instance.id).await?;
        let mut tx = cx.fenced_tx().await?;
        for (former, _) in &former {
            replaced::forget(&mut tx, site.instance.id, former.number).await?;
        }
        tx.commit().await?;
        Ok(json!({ "there": true, "former": former.len() }))
    }
}
