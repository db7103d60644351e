//! Where a stranger's dump is loaded: a database beside the live one, and a role of its own. Nobody keeps that role's password: each step
//! that logs in gives it a new one, so that whoever was overtaken gets in no more.

use super::read::Read;
use crate::engine::{Cx, StepError};
use crate::sagas::Tools;
use crate::sagas::backup::target;
use crate::sagas::passwords;
use crate::sagas::site::Site;
use backup::tools::Target;
use db::odoo::{Fence, OdooResult, RoleState, ScramVerifier, beside};
use domain::names::PhysicalName;
use secrecy::SecretString;

/// The names of both.
pub(super) struct Scratch {
    pub(super) database: PhysicalName,
    pub(super) role: PhysicalName,
    live_oid: u32,
}

impl Scratch {
    pub(super) fn of(site: &Site, read: &Read) -> Result<Self, StepError> {
        let database = beside(&site.placement.db_name, 'n', read.number)?;
        Ok(Self { database, role: beside(&site.placement.db_user, 'n', read.number)?, live_oid: read.live_oid })
    }

    /// Makes the role, or gives it another password.
    pub(super) async fn role(&self, cx: &Cx, tools: &Tools, fence: &mut Fence) -> Result<SecretString, StepError> {
        let entropy = &*cx.services().entropy;
        let password = passwords::database_password(entropy);
        let verifier = ScramVerifier::derive(&password, passwords::salt(entropy));
        fence.ensure_scratch_role(&self.role, &verifier, &tools.limits).await?;
        Ok(password)
    }

    /// An empty database, whatever an earlier attempt left.
    pub(super) async fn database(&self, site: &Site, fence: &mut Fence) -> OdooResult<u32> {
        // A dump may have taken our comment from it; it is known by its owner.
        fence.drop_beside(&site.placement.db_name, Some(self.live_oid), &self.database, &self.role).await?;
        fence.create_fresh_database(&self.database, &self.role, &[self.live_oid]).await
    }

    /// For PostgreSQL's programs.
    pub(super) fn target(&self, site: &Site, tools: &Tools, password: SecretString) -> Result<Target, StepError> {
        let (database, user) = (self.database.as_str().to_owned(), self.role.as_str().to_owned());
        Ok(Target { database, user, password, ..target(site, tools)? })
    }

    /// Removes both. What is gone is removed.
    pub(super) async fn remove(&self, cx: &Cx, site: &Site) -> Result<(), StepError> {
        let mut fence = site.fence(cx).await?;
        fence.drop_beside(&site.placement.db_name, Some(self.live_oid), &self.database, &self.role).await?;
        let mark = &site.placement.mark;
        // A stranger's role under our name was not made by this operation.
        if fence.catalogue().role(&self.role, mark).await? != RoleState::Foreign {
            fence.drop_role(&self.role).await?;
        }
        Ok(fence.release().await?)
    }
}
