//! Chooses names, passwords and image of the new template, and records them before anything is made.

use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::passwords::{self, Sealed};
use async_trait::async_trait;
use db::odoo::Salt;
use db::platform::templates::{self, NewTemplate, Template, TemplateState};
use domain::ids::TemplateId;
use domain::names::{Mark, PhysicalName};
use domain::operation::Place;
use domain::sources::random_uuid;
use domain::template::TemplateKey;
use runtime::Image;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) const NAME: &str = "plan";
/// What each sealed password is bound to.
pub(super) const ROLE_PASSWORD: &str = "role_password";
pub(super) const ADMIN_PASSWORD: &str = "admin_password";

pub(super) struct Plan(pub(super) Arc<Tools>);

/// What the step records.
#[derive(Serialize, Deserialize)]
pub(super) struct Planned {
    pub(super) template: TemplateId,
    pub(super) database: PhysicalName,
    pub(super) content_role: PhysicalName,
    pub(super) mark: Mark,
    pub(super) directory: String,
    pub(super) service: String,
    pub(super) image: Image,
    pub(super) sealed: Passwords,
    pub(super) role_salt: Salt,
    pub(super) admin_salt: Salt,
}

/// Neither opens anything once the template is closed.
#[derive(Serialize, Deserialize)]
pub(super) struct Passwords {
    /// Of the content role.
    pub(super) role: Sealed,
    /// Of Odoo's first user while the template is built: nobody ever logs in as admin/admin.
    pub(super) admin: Sealed,
}

#[async_trait]
impl Step for Plan {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres1
    }

    /// A row that an interrupted attempt wrote has no names in use yet: `apply` takes it up.
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let key: TemplateKey = cx.params()?;
        let image = self.0.runtime.resolve_image(key.version).await?;
        let new = match own_row(cx, &key).await? {
            Some(row) => names_of(row, cx),
            None => draw(cx, key, &image),
        };
        let mut tx = cx.fenced_tx().await?;
        templates::insert_building(&mut tx, &new).await?;
        tx.commit().await?;
        Ok(json!(self.planned(cx, new)?))
    }
}

#[async_trait]
impl Undo for Plan {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let key: TemplateKey = cx.params()?;
        let Some(row) = own_row(cx, &key).await? else { return Ok(()) };
        let mut tx = cx.fenced_tx().await?;
        templates::mark_broken(&mut tx, row.id).await?;
        templates::forget(&mut tx, row.id).await?;
        Ok(tx.commit().await?)
    }
}

impl Plan {
    fn planned(&self, cx: &Cx, new: NewTemplate) -> Result<Planned, StepError> {
        let (tools, entropy) = (&self.0, &*cx.services().entropy);
        Ok(Planned {
            template: new.id,
            service: new.directory.replace('_', "-"),
            database: new.db_name,
            content_role: new.content_role,
            mark: new.mark,
            directory: new.directory,
            image: Image::new(new.image),
            sealed: Passwords {
                role: Sealed::new(cx, tools, ROLE_PASSWORD, &passwords::database_password(entropy))?,
                admin: Sealed::new(cx, tools, ADMIN_PASSWORD, &passwords::database_password(entropy))?,
            },
            role_salt: passwords::salt(entropy),
            admin_salt: passwords::salt(entropy),
        })
    }
}

/// The row that this operation has written.
async fn own_row(cx: &Cx, key: &TemplateKey) -> Result<Option<Template>, StepError> {
    let rows = templates::of_server(&cx.services().db, key.server).await?;
    let ours = |row: &Template| row.operation_id == Some(cx.operation().id) && row.state != TemplateState::Retired;
    Ok(rows.into_iter().find(ours))
}

fn draw(cx: &Cx, key: TemplateKey, image: &Image) -> NewTemplate {
    let entropy = &*cx.services().entropy;
    let name = PhysicalName::generate("odoo", entropy);
    NewTemplate {
        id: TemplateId::from_uuid(random_uuid(entropy)),
        key,
        directory: name.to_string(),
        db_name: name,
        content_role: PhysicalName::generate("odoo", entropy),
        mark: Mark::generate(entropy),
        image: image.as_str().to_owned(),
        operation_id: cx.operation().id,
    }
}

fn names_of(row: Template, cx: &Cx) -> NewTemplate {
    NewTemplate {
        id: row.id,
        key: row.key,
        db_name: row.db_name,
        content_role: row.content_role,
        mark: row.mark,
        directory: row.directory,
        image: row.image,
        operation_id: cx.operation().id,
    }
}
