//! Removes earlier templates of the same key that are out of use, once no clone of them is on its way.

use crate::engine::{Cx, Seen, Step, StepError, Verdict};
use crate::sagas::Tools;
use crate::sagas::site;
use async_trait::async_trait;
use db::platform::templates::{self, Template, TemplateState};
use domain::operation::Place;
use domain::template::TemplateKey;
use runtime::Owner;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

pub(super) struct RemoveOld(pub(super) Arc<Tools>);

#[async_trait]
impl Step for RemoveOld {
    fn name(&self) -> &'static str {
        "remove_old"
    }

    fn place(&self) -> Place {
        Place::Postgres2
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(300)
    }

    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Partial)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let key: TemplateKey = cx.params()?;
        let rows = templates::of_server(&cx.services().db, key.server).await?;
        let out_of_use = |row: &&Template| matches!(row.state, TemplateState::Broken | TemplateState::Retired);
        let mut removed = 0;
        for row in rows.iter().filter(|row| row.key == key).filter(out_of_use) {
            // A provisioning under way still needs its files: the next build removes it.
            if templates::is_in_use(&cx.services().db, row.id).await? {
                continue;
            }
            removed += u32::from(self.remove(cx, row).await?);
        }
        Ok(json!({ "removed": removed }))
    }
}

impl RemoveOld {
    /// Whether nothing is left of it. What cannot go now stays for the next build: it is in nobody's way.
    async fn remove(&self, cx: &Cx, row: &Template) -> Result<bool, StepError> {
        match self.take_away(cx, row).await {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.verdict, Verdict::Snooze { unreachable: true, .. } | Verdict::LeaseLost) => Err(error),
            Err(error) => {
                tracing::warn!(template = %row.id, cause = error.cause, "an old template is left for later");
                Ok(false)
            }
        }
    }

    async fn take_away(&self, cx: &Cx, row: &Template) -> Result<(), StepError> {
        let server = site::server(&self.0, row.key.server)?;
        let mut fence = server.fence(&row.mark, cx.token()).await?.confirm(cx.confirm_token()).await?;
        fence.drop_template(&row.db_name, &row.content_role, row.db_oid).await?;
        // Refused while a fresh clone still belongs to it: its content is handed over a moment later.
        fence.drop_unused_role(&row.content_role).await?;
        fence.release().await?;
        self.0.directories.remove(&self.0.directories.path(&row.directory)?, Owner::Template(row.id), site::turn(cx)).await?;
        let mut tx = cx.fenced_tx().await?;
        templates::forget(&mut tx, row.id).await?;
        Ok(tx.commit().await?)
    }
}
