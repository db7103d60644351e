//! I2: nothing is left that belongs to nobody.

use super::Found;
use super::world::World;
use crate::{Runtime, Stack, eventually};
use anyhow::Result;
use std::collections::BTreeSet;
use std::time::Duration;

/// A fence is held for moments only.
const MOMENT: Duration = Duration::from_secs(10);

const FENCES: &str = "
    SELECT coalesce(a.application_name, '?') AS name FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory'
    UNION ALL SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'ois:%'";

const LEASES: &str = "
    SELECT resource FROM instance_service.leases l
     WHERE expires_at > clock_timestamp()
       AND NOT EXISTS (SELECT FROM instance_service.operations o WHERE o.scope = l.resource AND o.state = 'running')";

pub(super) fn check(stack: &Stack, world: &World, found: &mut Found) -> Result<()> {
    let owned = Owned::of(world);
    catalogue(stack, world, &owned, found);
    for directory in world.directories.difference(&owned.directories) {
        found.add("I2", format!("directory {directory} belongs to nobody"));
    }
    for staged in &world.staged {
        found.add("I2", format!("{staged} is left in the staging area"));
    }
    for service in world.services.iter().filter(|service| !owned.services.contains(&service.name)) {
        found.add("I2", format!("service {} belongs to nobody", service.name));
    }
    processes(stack, world, &owned, found);
    for template in world.templates.iter().filter(|template| template.state == "building" && !template.busy) {
        found.add("I2", format!("template {} is being built by nobody", template.db_name));
    }
    gone_soon(stack, found)
}

/// What rows account for, by name.
#[derive(Default)]
struct Owned {
    catalogue: BTreeSet<String>,
    directories: BTreeSet<String>,
    services: BTreeSet<String>,
    /// Directories on which an Odoo may run.
    served: BTreeSet<String>,
}

impl Owned {
    fn of(world: &World) -> Self {
        let mut owned = Self::default();
        for instance in world.instances.iter().filter(|instance| instance.may_own()) {
            owned.catalogue.extend(instance.db_name.iter().chain(&instance.db_user).cloned());
            owned.directories.extend(instance.directory.clone());
            if instance.busy || instance.status != "terminated" {
                owned.services.extend(instance.service_name.clone());
                owned.served.extend(instance.directory.clone());
            }
        }
        owned.catalogue.extend(world.replaced.iter().map(|replaced| replaced.db_name.clone()));
        for template in &world.templates {
            owned.catalogue.extend([template.db_name.clone(), template.content_role.clone()]);
            owned.directories.insert(template.directory.clone());
            if template.busy {
                owned.served.insert(template.directory.clone());
            }
        }
        owned
    }
}

/// Every line that the catalogue has more than at the beginning must name something that a row accounts for.
fn catalogue(stack: &Stack, world: &World, owned: &Owned, found: &mut Found) {
    let difference = stack.empty.difference(&world.catalogue);
    let accounted = |line: &String| line.split([' ', ':', '=']).any(|word| owned.catalogue.contains(word));
    for line in difference.added.iter().filter(|line| !accounted(line)) {
        found.add("I2", format!("belongs to nobody on postgres2: {line}"));
    }
    for line in &difference.removed {
        found.add("I2", format!("gone from postgres2 without being ours: {line}"));
    }
}

/// Each process of Odoo names the directory that it works on.
fn processes(stack: &Stack, world: &World, owned: &Owned, found: &mut Found) {
    if *stack.runtime() == Runtime::Fake {
        return;
    }
    let root = stack.instances_path().display().to_string();
    let served = |line: &&String| owned.served.iter().any(|directory| line.contains(&format!("{root}/{directory}/")));
    for line in world.processes.iter().filter(|line| !served(line)) {
        found.add("I2", format!("serves nobody: {line}"));
    }
}

fn gone_soon(stack: &Stack, found: &mut Found) -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Name {
        name: String,
    }
    let mut names = Vec::new();
    let free = eventually(MOMENT, "free locks on postgres2", || {
        names = stack.odoo_rows::<Name>(FENCES)?;
        Ok(names.is_empty().then_some(()))
    });
    if free.is_err() {
        names.iter().for_each(|name| found.add("I2", format!("a fence is still held on postgres2 by {}", name.name)));
    }
    for resource in stack.platform_sql(LEASES)?.lines() {
        found.add("I2", format!("the lease of {resource} is held, but nothing of it runs"));
    }
    Ok(())
}
