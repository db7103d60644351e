//! Everything that the invariants compare, read once.

use crate::{Acknowledged, Stack};
use anyhow::Result;
use runtime::Listed;
use serde::Deserialize;
use std::collections::BTreeSet;
use testkit::Snapshot;

pub(super) struct World {
    pub(super) instances: Vec<Instance>,
    pub(super) templates: Vec<Template>,
    pub(super) replaced: Vec<Replaced>,
    pub(super) databases: Vec<Database>,
    pub(super) roles: Vec<Role>,
    pub(super) catalogue: Snapshot,
    pub(super) directories: BTreeSet<String>,
    pub(super) staged: BTreeSet<String>,
    pub(super) services: Vec<Listed>,
    pub(super) processes: Vec<String>,
    pub(super) acknowledged: Vec<Acknowledged>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) status: String,
    pub(super) phase: String,
    pub(super) provisioning_status: String,
    pub(super) db_name: Option<String>,
    pub(super) db_user: Option<String>,
    pub(super) db_oid: Option<i64>,
    pub(super) mark: Option<String>,
    pub(super) service_name: Option<String>,
    pub(super) directory: Option<String>,
    /// Anything is left that a scrubbed record must not have.
    pub(super) personal: bool,
    /// An operation on it is not over.
    pub(super) busy: bool,
}

/// What a restore has replaced and keeps.
#[derive(Debug, Deserialize)]
pub(super) struct Replaced {
    pub(super) db_name: String,
}

impl Instance {
    /// May have things of its own on the servers, at the runtime and on disk.
    pub(super) fn may_own(&self) -> bool {
        self.busy || matches!(self.phase.as_str(), "ready" | "purging")
    }

    /// Must have all of it, and serve.
    pub(super) fn must_run(&self) -> bool {
        !self.busy && self.phase == "ready" && self.status == "running"
    }

    /// Must have all of it, and be down.
    pub(super) fn must_rest(&self) -> bool {
        !self.busy && self.phase == "ready" && matches!(self.status.as_str(), "stopped" | "paused")
    }

    /// Out of service, with its data kept.
    pub(super) fn is_shelved(&self) -> bool {
        !self.busy && self.phase == "ready" && self.status == "terminated"
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Template {
    pub(super) state: String,
    pub(super) db_name: String,
    pub(super) db_oid: Option<i64>,
    pub(super) content_role: String,
    pub(super) mark: String,
    pub(super) directory: String,
    pub(super) busy: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Database {
    pub(super) name: String,
    pub(super) oid: i64,
    pub(super) owner: String,
    pub(super) mark: Option<String>,
    pub(super) template: bool,
    pub(super) open: bool,
    pub(super) limit: i32,
    pub(super) public: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) mark: Option<String>,
    pub(super) login: bool,
    pub(super) powerful: bool,
}

const INSTANCES: &str = "
    SELECT i.id, i.status, i.phase, i.provisioning_status, i.db_name, i.db_user, i.db_oid, i.mark, i.service_name,
           regexp_replace(i.data_dir, '.*/', '') AS directory,
           (i.db_secret IS NOT NULL OR i.admin_password IS NOT NULL OR i.admin_email <> '' OR i.description IS NOT NULL
            OR i.environment_vars <> '{}' OR i.hostname IS NOT NULL OR num_nonnulls(i.db_name, i.db_user, i.mark, i.data_dir) > 0)
             AS personal,
           EXISTS (SELECT FROM instance_service.operations o
                    WHERE o.instance_id = i.id AND o.state NOT IN ('succeeded', 'failed', 'cancelled')) AS busy
      FROM public.instances i WHERE i.phase IS NOT NULL";

const TEMPLATES: &str = "
    SELECT t.state, t.db_name, t.db_oid, t.content_role, t.mark, regexp_replace(t.directory, '.*/', '') AS directory,
           EXISTS (SELECT FROM instance_service.operations o
                    WHERE o.id = t.operation_id AND o.state NOT IN ('succeeded', 'failed', 'cancelled')) AS busy
      FROM instance_service.templates t";

const DATABASES: &str = "
    SELECT d.datname AS name, d.oid::bigint AS oid, pg_get_userbyid(d.datdba) AS owner, shobj_description(d.oid, 'pg_database') AS mark,
           d.datistemplate AS template, d.datallowconn AS open, d.datconnlimit AS limit,
           EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a WHERE a.grantee = 0) AS public
      FROM pg_database d";

const ROLES: &str = "
    SELECT r.rolname AS name, shobj_description(r.oid, 'pg_authid') AS mark, r.rolcanlogin AS login,
           r.rolsuper OR r.rolcreatedb OR r.rolcreaterole OR r.rolreplication OR r.rolbypassrls AS powerful
      FROM pg_roles r";

impl World {
    pub(super) fn look(stack: &Stack) -> Result<Self> {
        let root = stack.instances_path();
        let visible = |name: &String| !name.starts_with('.');
        Ok(Self {
            instances: stack.platform_rows(INSTANCES)?,
            templates: stack.platform_rows(TEMPLATES)?,
            replaced: stack.platform_rows("SELECT db_name FROM instance_service.replaced_data")?,
            databases: stack.odoo_rows(DATABASES)?,
            roles: stack.odoo_rows(ROLES)?,
            catalogue: Snapshot::of_server(&stack.pair.postgres2)?,
            directories: names(&root)?.into_iter().filter(visible).collect(),
            staged: names(&root.join(".staging"))?.into_iter().chain(unneeded(stack)?).collect(),
            processes: Snapshot::default()
                .with_processes(&root.display().to_string())?
                .lines("process")
                .map(str::to_owned)
                .collect(),
            services: stack.fake.as_ref().map_or_else(|| Ok(Vec::new()), crate::Fake::services)?,
            acknowledged: stack.acknowledged(),
        })
    }

    pub(super) fn database(&self, name: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.name == name)
    }

    pub(super) fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }

    pub(super) fn service(&self, name: &str) -> Option<&Listed> {
        self.services.iter().find(|service| service.name == name)
    }
}

fn names(directory: &std::path::Path) -> Result<BTreeSet<String>> {
    match std::fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error.into()),
    }
}

/// Archives of operations that have ended, but for those that can be fetched; and what is not whole.
fn unneeded(stack: &Stack) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for (directory, kept) in [("exports", "state = 'succeeded'"), ("imports", "finished_at IS NULL")] {
        for name in names(&stack.transfer_path().join(directory))? {
            let is_whole = name.ends_with(".zip");
            let id = name.get(..36).unwrap_or_default();
            let query = format!("SELECT count(*) FROM instance_service.operations WHERE id::text = '{id}' AND {kept}");
            if !is_whole || stack.platform_sql(&query)? != "1" {
                found.insert(format!("{directory}/{name}"));
            }
        }
    }
    Ok(found)
}
