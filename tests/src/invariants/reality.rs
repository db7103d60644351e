//! I6: rows say what is.

use super::Found;
use super::world::{Instance, Role, Template, World};
use crate::{Runtime, Stack};
use runtime::Observed;

pub(super) fn check(stack: &Stack, world: &World, found: &mut Found) {
    for instance in &world.instances {
        let mut wrong = Vec::new();
        if instance.must_run() {
            running(stack, world, instance, &mut wrong);
        } else if instance.must_rest() {
            resting(stack, world, instance, &mut wrong);
        } else if instance.is_shelved() {
            shelved(world, instance, &mut wrong);
        } else if instance.phase == "purged" && instance.personal {
            wrong.push("a purged record still has names or personal data".to_owned());
        } else if instance.phase == "registered" && !instance.busy {
            registered(instance, &mut wrong);
        }
        for what in wrong {
            found.add("I6", format!("instance {} ({}): {what}", instance.id, instance.status));
        }
    }
    for template in world.templates.iter().filter(|template| template.state == "ready") {
        let mut wrong = Vec::new();
        ready_template(world, template, &mut wrong);
        wrong.into_iter().for_each(|what| found.add("I6", format!("template {}: {what}", template.db_name)));
    }
    counted(stack, found);
}

fn running(stack: &Stack, world: &World, instance: &Instance, wrong: &mut Vec<String>) {
    if let Some(role) = tenant(world, instance, true, wrong) {
        expect(role.login, "its role may not log in", wrong);
    }
    expect(is_up(stack, world, instance), "its service does not run", wrong);
    expect(instance.provisioning_status == "completed", "its provisioning is not completed", wrong);
}

fn resting(stack: &Stack, world: &World, instance: &Instance, wrong: &mut Vec<String>) {
    if let Some(role) = tenant(world, instance, true, wrong) {
        expect(role.login, "its role may not log in", wrong);
    }
    expect(!is_up(stack, world, instance), "its service runs", wrong);
}

fn is_up(stack: &Stack, world: &World, instance: &Instance) -> bool {
    if *stack.runtime() == Runtime::Fake {
        let service = instance.service_name.as_deref().and_then(|name| world.service(name));
        return service.is_some_and(|service| matches!(service.observed, Observed::Running { .. }));
    }
    // Its process names the directory.
    let directory = instance.directory.as_ref().map(|directory| format!("{}/{directory}/", stack.instances_path().display()));
    directory.is_some_and(|directory| world.processes.iter().any(|process| process.contains(&directory)))
}

fn shelved(world: &World, instance: &Instance, wrong: &mut Vec<String>) {
    if let Some(role) = tenant(world, instance, false, wrong) {
        expect(!role.login, "its role may still log in", wrong);
    }
}

/// Provisioning failed or was never tried: nothing is placed.
fn registered(instance: &Instance, wrong: &mut Vec<String>) {
    let named = [&instance.db_name, &instance.db_user, &instance.mark, &instance.service_name, &instance.directory];
    expect(named.iter().all(|name| name.is_none()), "it has no data, but a place", wrong);
    expect(instance.provisioning_status != "provisioning", "it is being provisioned by nobody", wrong);
}

/// Database, role and directory of an instance with data; answers the role.
fn tenant<'a>(world: &'a World, instance: &Instance, open: bool, wrong: &mut Vec<String>) -> Option<&'a Role> {
    let (Some(name), Some(user)) = (&instance.db_name, &instance.db_user) else {
        wrong.push("it has no place".to_owned());
        return None;
    };
    match world.database(name) {
        None => wrong.push(format!("its database {name} is missing")),
        Some(database) => {
            expect(Some(database.oid) == instance.db_oid, "its database is not the recorded one", wrong);
            expect(database.mark == instance.mark, "its database does not carry its mark", wrong);
            expect(database.owner == *user, "its database has another owner", wrong);
            expect(database.open == open, "its database is open or closed against the row", wrong);
            expect(!database.public, "PUBLIC has rights in its database", wrong);
            expect(!database.template && database.limit == -1, "its database is a template or half gone", wrong);
        }
    }
    let directory = instance.directory.as_ref().is_some_and(|directory| world.directories.contains(directory));
    expect(directory, "its directory is missing", wrong);
    let role = world.role(user);
    match role {
        None => wrong.push(format!("its role {user} is missing")),
        Some(role) => {
            expect(role.mark == instance.mark, "its role does not carry its mark", wrong);
            expect(!role.powerful, "its role may do too much", wrong);
        }
    }
    role
}

fn ready_template(world: &World, template: &Template, wrong: &mut Vec<String>) {
    match world.database(&template.db_name) {
        None => wrong.push("its database is missing".to_owned()),
        Some(database) => {
            expect(Some(database.oid) == template.db_oid, "its database is not the recorded one", wrong);
            expect(database.mark.as_ref() == Some(&template.mark), "its database does not carry its mark", wrong);
            expect(database.template && !database.open, "its database is not closed as a template", wrong);
            expect(!database.public, "PUBLIC has rights in its database", wrong);
        }
    }
    expect(
        world.role(&template.content_role).is_some_and(|role| !role.login),
        "its content role is missing or may log in",
        wrong,
    );
    expect(world.directories.contains(&template.directory), "its directory is missing", wrong);
}

/// The count that placement reads is the number of instances placed.
fn counted(stack: &Stack, found: &mut Found) {
    let sql = "SELECT s.name || ' counts ' || s.instances || ' instances and has ' || count(i.id)
                 FROM instance_service.odoo_servers s LEFT JOIN public.instances i ON i.odoo_server_id = s.id
                GROUP BY s.id HAVING s.instances <> count(i.id)";
    match stack.platform_sql(sql) {
        Ok(lines) => lines.lines().for_each(|line| found.add("I6", format!("server {line}"))),
        Err(error) => found.add("I6", format!("servers cannot be read: {error:#}")),
    }
}

fn expect(holds: bool, what: &str, wrong: &mut Vec<String>) {
    if !holds {
        wrong.push(what.to_owned());
    }
}
