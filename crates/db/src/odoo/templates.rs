//! Template databases: the steps that only they need. The content role, one for each build, owns what is inside and, in
//! the end, no database; so `REASSIGN OWNED` in a clone moves nothing else.

use super::connection::{AdminConnection, Inside};
use super::databases::{DatabaseFacts, Recorded};
use super::error::{OdooError, OdooResult};
use super::fence::Fence;
use super::quote::ident;
use domain::names::{Mark, PhysicalName};

impl AdminConnection {
    /// Why this template cannot be cloned as it is; `None` if it can. `oid` is the recorded one.
    ///
    /// # Errors
    /// Any [`OdooError`]: a server that cannot be asked says nothing.
    pub async fn template_fault(&mut self, name: &PhysicalName, mark: &Mark, oid: u32) -> OdooResult<Option<String>> {
        let facts = self.database(name, mark).await?;
        Ok(match facts {
            None => Some("it does not exist".to_owned()),
            Some(facts) if facts.oid != oid => Some(format!("its OID is {}, recorded was {oid}", facts.oid)),
            Some(facts) if !facts.labelled => Some("it does not carry our mark".to_owned()),
            Some(facts) => unusable(&facts),
        })
    }
}

fn unusable(facts: &DatabaseFacts) -> Option<String> {
    if facts.is_invalid() {
        Some("its drop was interrupted".to_owned())
    } else if !facts.is_template || facts.allows_connections {
        Some("it was never finished".to_owned())
    } else {
        None
    }
}

impl Inside<'_> {
    /// `pg_trgm`, made as the content role, so that a clone's `REASSIGN OWNED` hands it on. Odoo creates it only in
    /// databases that it makes itself.
    ///
    /// # Errors
    /// Any [`OdooError`].
    pub async fn create_trigram_extension(&mut self, content_role: &PhysicalName) -> OdooResult<()> {
        let create = format!("SET LOCAL ROLE {}; CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public", ident(content_role));
        self.connection.run(create).await
    }
}

impl Fence {
    /// Makes a filled database a template: owned by the admin, closed, its content role without login. Clones need that no
    /// session is in it.
    ///
    /// # Errors
    /// [`OdooError::Missing`] when there is no such database.
    pub async fn finalise_template(&mut self, name: &PhysicalName, content_role: &PhysicalName) -> OdooResult<()> {
        self.close_database(name, Recorded { oid: None, owner: content_role }).await?;
        if self.facts(name).await?.is_none() {
            return Err(OdooError::Missing { what: format!("database {name}") });
        }
        let name = ident(name);
        self.catalogue().run(format!("ALTER DATABASE {name} OWNER TO CURRENT_USER; ALTER DATABASE {name} IS_TEMPLATE true")).await
    }

    /// Drops a template, finished or not. Its owner is the content role until it is finished, then the admin. Absent is done.
    ///
    /// # Errors
    /// [`OdooError::Mismatch`] when it does not carry our mark or has another OID than recorded.
    pub async fn drop_template(&mut self, name: &PhysicalName, content_role: &PhysicalName, oid: Option<u32>) -> OdooResult<()> {
        let admin = PhysicalName::new(self.catalogue().server().address().admin.user.clone())
            .map_err(|_| OdooError::Missing { what: "a usable name of the admin role".to_owned() })?;
        let finished = self.facts(name).await?.is_some_and(|facts| facts.owner == admin.as_str());
        let owner = if finished { &admin } else { content_role };
        self.drop_database(name, Recorded { oid, owner }).await
    }
}
