//! What a deployment occupies: catalogues, directories, processes and rows, as sets that can be compared.

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;
use std::collections::BTreeSet;
use stories::{Place, Stack};
use testkit::Snapshot;

/// Everything at one moment.
pub(crate) struct Footprint {
    things: Snapshot,
    rows: BTreeSet<String>,
    counted: String,
}

impl Footprint {
    /// Looks.
    pub(crate) fn of(stack: &Stack) -> Result<Self> {
        let root = stack.instances_path();
        let things = Snapshot::of_server(&stack.pair.postgres2)?
            .with_directory(&root)?
            .with_directory(&root.join(".services"))?
            .with_directory(&root.join(".staging"))?
            .with_processes(&root.display().to_string())?;
        let rows = stack.platform_sql("SELECT id FROM public.instances")?.lines().map(str::to_owned).collect();
        let counted = stack.platform_sql("SELECT sum(instances) FROM instance_service.odoo_servers")?;
        Ok(Self { things, rows, counted })
    }

    /// One instance came, and nothing else: a row on postgres1; a database and a role on postgres2, with what belongs to a role;
    /// a directory, a process, and the runtime's note of it.
    pub(crate) fn differs_by_exactly(&self, later: &Self, place: &Place, id: &str) -> Result<()> {
        let rows: Vec<_> = later.rows.difference(&self.rows).collect();
        ensure!(rows == [id], "new rows: {rows:?}");
        ensure!(later.rows.len() == self.rows.len() + 1, "rows went");
        let difference = self.things.difference(&later.things);
        ensure!(difference.removed.is_empty(), "something went:\n{difference}");
        let root = place.directory.parent().context("below the root")?.display().to_string();
        let (database, role) = (&place.database, &place.role);
        let expected = [
            format!("database {database} owner={role} "),
            format!("role {role} login=true super=false createdb=false createrole=false inherit=true "),
            format!("membership odoo_admin in {role}"),
            format!("membership {role} in odoo_tenants"),
            format!("setting of {role} in all: lock_timeout="),
            format!("setting of {role} in all: idle_in_transaction_session_timeout="),
            format!("comment on database {database}: {}", place.mark),
            format!("comment on role {role}: {}", place.mark),
            format!("file {}", place.directory.display()),
            format!("file {root}/.services/{}.json", place.service),
            "process ".to_owned(),
        ];
        for part in &expected {
            let found = difference.added.iter().filter(|line| line.starts_with(part)).count();
            ensure!(found == 1, "{found} times {part:?} in:\n{difference}");
        }
        ensure!(difference.added.len() == expected.len(), "more than one instance has:\n{difference}");
        Ok(())
    }

    /// Nothing but rows on postgres1 came or went, and no server counts an instance more.
    pub(crate) fn is_unchanged_but_for_rows(&self, later: &Self) -> Result<()> {
        let difference = self.things.difference(&later.things);
        ensure!(difference.is_empty(), "not as before:\n{difference}");
        ensure!(self.counted == later.counted, "instances counted: {}, then {}", self.counted, later.counted);
        Ok(())
    }

    /// Beside what each server has there are only templates: their databases, roles and directories.
    pub(crate) fn holds_templates_only(&self, stack: &Stack) -> Result<()> {
        let templates =
            stack.platform_sql("SELECT db_name || '|' || content_role || '|' || directory FROM instance_service.templates")?;
        let known: Vec<&str> = templates.split(['|', '\n']).filter(|name| !name.is_empty()).collect();
        ensure!(!known.is_empty(), "the template is gone");
        let fixed = ["postgres", "template0", "template1", "ois", "odoo_admin", "odoo_tenants"];
        let root = stack.instances_path().display().to_string();
        for kind in ["database", "role", "file", "process"] {
            for line in self.things.lines(kind) {
                let name = line.split(' ').nth(1).unwrap_or_default();
                let name = name.strip_prefix(&format!("{root}/")).unwrap_or(name);
                let ours = fixed.contains(&name) || known.contains(&name) || ROOT.contains(&name);
                ensure!(ours, "left over: {line}");
            }
        }
        ensure!(self.counted == "0", "servers still count {} instances", self.counted);
        Ok(())
    }
}

/// What the root itself has.
const ROOT: [&str; 4] = [".root", ".services", ".staging", ".turns"];

/// The processes of an instance.
pub(crate) fn processes_of(place: &Place) -> Result<Vec<Pid>> {
    let found = Snapshot::default().with_processes(&place.directory.display().to_string())?;
    let pid = |line: &str| Pid::from_raw(line.split(' ').nth(1)?.parse().ok()?);
    Ok(found.lines("process").filter_map(pid).collect())
}
