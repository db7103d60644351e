//! Databases beside a live one: an empty one to load a backup into, a copy to try an update on. They carry its mark, belong to
//! its tenant, and go by a name that is made from its own.

use super::databases::{DatabaseState, Recorded, foreign};
use super::error::{OdooError, OdooResult};
use super::fence::Fence;
use super::quote::ident;
use domain::names::PhysicalName;

/// The name of a database beside `live`: `<live>_n<number>` for a new one, `<live>_o<number>` for an old one. Adopted names may
/// be as long as a name can be; of those, what fits is used, and whose the database is tells the mark.
///
/// # Errors
/// [`OdooError::Missing`] where no name can be made.
pub fn beside(live: &PhysicalName, kind: char, number: u32) -> OdooResult<PhysicalName> {
    let ending = format!("_{kind}{number}");
    let mut length = live.as_str().len().min(PhysicalName::MAX_BYTES.saturating_sub(ending.len()));
    while !live.as_str().is_char_boundary(length) {
        length -= 1;
    }
    let name = live.as_str().get(..length).unwrap_or_default();
    PhysicalName::new(format!("{name}{ending}")).map_err(|_| OdooError::Missing { what: format!("a name beside {live}") })
}

/// Whether a name is one that [`beside`] makes of `live`.
pub fn is_beside(live: &PhysicalName, name: &str) -> bool {
    let Some((_, ending)) = name.rsplit_once('_') else { return false };
    let Some(kind) = ending.chars().next().filter(|kind| matches!(kind, 'n' | 'o')) else { return false };
    ending[1..].parse().is_ok_and(|number| beside(live, kind, number).is_ok_and(|made| made.as_str() == name))
}

impl Fence {
    /// An empty database of `owner`, made just now: what an earlier attempt left under its name is dropped. Never one with an
    /// OID in `kept`, whatever its name. Returns the OID.
    ///
    /// # Errors
    /// [`OdooError::Foreign`] for somebody else's database of that name; [`OdooError::Mismatch`] for one that is kept.
    pub async fn create_fresh_database(&mut self, name: &PhysicalName, owner: &PhysicalName, kept: &[u32]) -> OdooResult<u32> {
        self.clear_name(name, owner, kept).await?;
        self.create_empty_database(name, owner).await
    }

    /// A copy of `live`, made just now, under `name`; else as [`Self::create_fresh_database`]. Nobody may be in `live`:
    /// [`Self::shut_database`] it first. Everything in the copy is the tenant's as it was; rights on the database itself and
    /// settings for it are not copied.
    ///
    /// # Errors
    /// [`OdooError::Missing`] when `live` is absent or half dropped, [`OdooError::Busy`] when somebody is in it; else as
    /// [`Self::create_fresh_database`].
    pub async fn copy_database(&mut self, live: &PhysicalName, recorded: Recorded<'_>, name: &PhysicalName) -> OdooResult<u32> {
        self.verify_database(live, recorded).await?;
        match self.state(live, recorded).await? {
            DatabaseState::Ours(_) => {}
            DatabaseState::Foreign(facts) => return Err(self.not_ours(live, &facts)),
            DatabaseState::Absent | DatabaseState::Half(_) => {
                return Err(OdooError::Missing { what: format!("database {live}") });
            }
        }
        let kept: Vec<u32> = recorded.oid.into_iter().collect();
        self.clear_name(name, recorded.owner, &kept).await?;
        // File by file: a copy through the log, the default, makes files with holes and fills them with the next checkpoint. So it would go well
        // on a disk that is full, and the whole server could not write its checkpoints afterwards (PostgreSQL 15, `bufmgr.c`,
        // `RelationCopyStorageUsingBuffer`).
        let create = format!(
            "CREATE DATABASE {} TEMPLATE {} OWNER {} ALLOW_CONNECTIONS false STRATEGY FILE_COPY",
            ident(name),
            ident(live),
            ident(recorded.owner)
        );
        let place = self.take_place().await?;
        match self.catalogue().run_for_long(create).await {
            Err(error) if error.is_duplicate() => return Err(foreign(name)),
            // 55006: somebody is in it.
            Err(error) if error.sqlstate().as_deref() == Some("55006") => {
                return Err(OdooError::Busy { holder: format!("a session in database {live}") });
            }
            other => other?,
        }
        self.free_place(place).await?;
        self.label_and_open(name).await
    }

    /// Drops what has the name, if it is ours.
    async fn clear_name(&mut self, name: &PhysicalName, owner: &PhysicalName, kept: &[u32]) -> OdooResult<()> {
        let facts = match self.state(name, Recorded { oid: None, owner }).await? {
            DatabaseState::Absent => return Ok(()),
            DatabaseState::Foreign(_) => return Err(foreign(name)),
            DatabaseState::Ours(facts) | DatabaseState::Half(facts) => facts,
        };
        if kept.contains(&facts.oid) {
            return Err(OdooError::Mismatch {
                what: format!("database {name}"),
                expected: "one that may be dropped".to_owned(),
                found: format!("OID {}, which serves", facts.oid),
            });
        }
        self.drop_database(name, Recorded { oid: Some(facts.oid), owner }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beside_a_live_one_fit_and_differ() {
        let live = |name: &str| PhysicalName::new(name).unwrap();
        assert_eq!(beside(&live("odoo_1f2e"), 'n', 3).unwrap().as_str(), "odoo_1f2e_n3");
        let long = live(&"é".repeat(31));
        let (new, old) = (beside(&long, 'n', 12).unwrap(), beside(&long, 'o', 12).unwrap());
        assert!(new.as_str().len() <= 63 && new != old && new != long, "{new}");
        for (of, name, is) in [
            (&live("odoo_1f2e"), "odoo_1f2e_n3", true),
            (&live("odoo_1f2e"), "odoo_1f2e_o12", true),
            (&live("odoo_1f2e"), "odoo_1f2e_o012", false),
            (&live("odoo_1f2e"), "odoo_1f2e_x1", false),
            (&live("odoo_1f2e"), "odoo_1f2f_n1", false),
            (&live("odoo_1f2e"), "odoo_1f2e", false),
            (&long, new.as_str(), true),
        ] {
            assert_eq!(is_beside(of, name), is, "{name}");
        }
    }
}
