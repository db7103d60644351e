//! Draws the passwords and salts, seals and records them, and starts the one computation that depends on nothing else.

use crate::engine::{Cx, Seen, Step, StepError, Undo};
use crate::sagas::Tools;
use crate::sagas::errors::inconsistent;
use crate::sagas::passwords::{self, Sealed};
use crate::sagas::site::instance_id;
use async_trait::async_trait;
use db::odoo::Salt;
use db::platform::instances::{self, secret_place};
use domain::operation::Place;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) const NAME: &str = "secrets";
/// What the sealed password is bound to.
const ADMIN_PASSWORD: &str = "admin_password";

pub(super) struct Secrets(pub(super) Arc<Tools>);

#[derive(Serialize, Deserialize)]
struct Drawn {
    /// Of Odoo's administrator. The mail has a copy of its own; this one goes with the end of the operation.
    sealed: Sealed,
    admin_salt: Salt,
    role_salt: Salt,
}

#[async_trait]
impl Step for Secrets {
    fn name(&self) -> &'static str {
        NAME
    }

    fn place(&self) -> Place {
        Place::Postgres1
    }

    /// Nothing has used what an interrupted attempt drew: everything is drawn anew.
    async fn check(&self, _cx: &Cx) -> Result<Seen, StepError> {
        Ok(Seen::Absent)
    }

    async fn apply(&self, cx: &Cx, _seen: Seen) -> Result<Value, StepError> {
        let (tools, entropy, id) = (&self.0, &*cx.services().entropy, instance_id(cx)?);
        let admin = passwords::admin_password(entropy);
        let database = passwords::database_password(entropy);
        let drawn = Drawn {
            sealed: Sealed::new(cx, tools, ADMIN_PASSWORD, &admin)?,
            admin_salt: passwords::salt(entropy),
            role_salt: passwords::salt(entropy),
        };
        let sealed = tools.keyring.seal(&secret_place(id), database.expose_secret().as_bytes(), entropy).map_err(inconsistent)?;
        let mut tx = cx.fenced_tx().await?;
        instances::set_secret(&mut tx, id, Some(&sealed)).await?;
        tx.commit().await?;
        tools.hashes.start(cx.operation().id, admin, drawn.admin_salt);
        Ok(json!(drawn))
    }
}

#[async_trait]
impl Undo for Secrets {
    async fn undo(&self, cx: &Cx) -> Result<(), StepError> {
        let mut tx = cx.fenced_tx().await?;
        instances::set_secret(&mut tx, instance_id(cx)?, None).await?;
        Ok(tx.commit().await?)
    }
}

/// The recorded password of Odoo's administrator.
pub(super) fn admin_password(cx: &Cx, tools: &Tools) -> Result<SecretString, StepError> {
    cx.output::<Drawn>(NAME)?.sealed.open(cx, tools, ADMIN_PASSWORD)
}

/// Its hash, which was started when it was drawn.
pub(super) async fn admin_hash(cx: &Cx, tools: &Tools) -> Result<String, StepError> {
    let salt = cx.output::<Drawn>(NAME)?.admin_salt;
    Ok(tools.hashes.finish(cx.operation().id, admin_password(cx, tools)?, salt).await)
}

/// The recorded salt for the role's password.
pub(super) fn role_salt(cx: &Cx) -> Result<Salt, StepError> {
    Ok(cx.output::<Drawn>(NAME)?.role_salt)
}
