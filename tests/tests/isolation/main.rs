//! What a tenant can do with the password from its own configuration file, what it can see, and where secrets show up.

mod sight;

use anyhow::{Result, ensure};
use serde_json::json;
use std::time::Duration;
use stories::faults::{Action, Armed, Kind};
use stories::whereabouts::{Answers, Secrets};
use stories::{Login, Place, ProcessWatch, Stack, StackOptions, until};

const LIMIT: Duration = Duration::from_secs(60);

/// Two customers who chose the same label, both running.
fn neighbours(stack: &Stack) -> Result<[(String, Place); 2]> {
    let first = stack.provision(&stack.order("shop")?)?;
    stack.await_success(&first.1, LIMIT)?;
    let second = stack.provision(&stack.order("shop")?)?;
    stack.await_success(&second.1, LIMIT)?;
    let places = [stack.place(&first.0)?, stack.place(&second.0)?];
    let [one, other] = places;
    Ok([(first.0, one), (second.0, other)])
}

fn template(stack: &Stack) -> Result<(String, String)> {
    let row =
        stack.platform_sql("SELECT db_name || ' ' || content_role FROM instance_service.templates WHERE state = 'ready'")?;
    let (database, role) = row.split_once(' ').unwrap_or_default();
    ensure!(!database.is_empty(), "there is no template");
    Ok((database.to_owned(), role.to_owned()))
}

#[test]
fn a_tenant_reaches_its_own_database_and_nothing_else() -> Result<()> {
    let stack = Stack::start(&StackOptions::default())?;
    let [(_, own), (_, other)] = neighbours(&stack)?;
    let (template, _) = template(&stack)?;
    let tenant = own.login()?;
    let server = &stack.pair.postgres2;

    // Its own, as an Odoo must: tables, and the extensions that Odoo wants.
    ensure!(tenant.run(server, &own.database, "SELECT count(*) > 0 FROM res_users")? == "t");
    tenant.run(server, &own.database, "CREATE TABLE mine (id int); INSERT INTO mine VALUES (1); DROP TABLE mine")?;
    ensure!(tenant.run(server, "postgres", "LISTEN imbus; SELECT 1")? == "1", "Odoo's bus needs the maintenance database");

    for database in [other.database.as_str(), "template0", "template1", "ois", &template] {
        let words = tenant.refusal(server, database, "SELECT 1")?;
        let closed = words.contains("permission denied for database") || words.contains("not currently accepting connections");
        ensure!(closed, "{database}: {words}");
    }
    // The wrong server altogether.
    for role in [tenant.role.as_str(), "instance_service"] {
        let stray = Login { role: role.into(), password: tenant.password.clone() };
        let words = stray.refusal(&stack.pair.postgres1, "instance", "SELECT 1")?;
        ensure!(words.contains("password authentication failed"), "{words}");
    }
    // Another tenant's role with this tenant's password.
    let pretender = Login { role: other.role, password: tenant.password };
    let words = pretender.refusal(server, &other.database, "SELECT 1")?;
    ensure!(words.contains("password authentication failed"), "{words}");
    Ok(())
}

/// What a tenant tries from inside, each with the words it meets.
fn attempts(own: &Place, other: &Place) -> Vec<(String, &'static str)> {
    let denied = "permission denied";
    vec![
        ("CREATE DATABASE mine".into(), denied),
        (format!("CREATE DATABASE mine TEMPLATE {}", other.database), denied),
        ("CREATE ROLE mine".into(), denied),
        (format!("ALTER ROLE {} CREATEDB", own.role), denied),
        (format!("ALTER ROLE {} CONNECTION LIMIT 1000", own.role), denied),
        (format!("ALTER ROLE {} PASSWORD 'x'", other.role), denied),
        (format!("GRANT {} TO {}", other.role, own.role), "must have admin option"),
        (format!("GRANT odoo_tenants TO {}", other.role), "must have admin option"),
        (format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", other.database), "must be owner"),
        (format!("ALTER DATABASE {} RENAME TO mine", own.database), denied),
        (format!("DROP DATABASE {}", other.database), "must be owner"),
        (format!("COMMENT ON DATABASE {} IS 'mine'", other.database), "must be owner"),
        (format!("COMMENT ON ROLE {} IS 'mine'", other.role), "must have CREATEROLE"),
        ("SELECT rolpassword FROM pg_authid".into(), denied),
        ("SELECT pg_read_file('/etc/hostname')".into(), denied),
        ("COPY (SELECT 1) TO PROGRAM 'true'".into(), "must be superuser or have privileges"),
        ("SELECT system_identifier, pg_promote() FROM pg_control_system()".into(), denied),
    ]
}

#[test]
fn a_tenant_makes_nothing_and_becomes_nobody() -> Result<()> {
    let stack = Stack::start(&StackOptions::default())?;
    let [(_, own), (_, other)] = neighbours(&stack)?;
    let (tenant, server) = (own.login()?, &stack.pair.postgres2);
    for (attempt, expected) in attempts(&own, &other) {
        let words = tenant.refusal(server, &own.database, &attempt)?;
        ensure!(words.contains(expected), "{attempt}: {words}");
    }
    let attempts =
        ["CREATE TABLE public.mine (id int)", "CREATE TEMP TABLE mine (id int)", "CREATE SCHEMA mine", "SELECT lo_create(0)"];
    for attempt in attempts {
        let words = tenant.refusal(server, "postgres", attempt)?;
        ensure!(words.contains("permission denied"), "{attempt}: {words}");
    }
    // Everybody but itself, the group of all tenants, which owns nothing, and the word for "the owner of this database".
    let itself = [own.role.as_str(), "odoo_tenants", "pg_database_owner"];
    let roles = server.psql("postgres", "SELECT rolname FROM pg_roles")?;
    let mut others = 0;
    for role in roles.lines().filter(|role| !itself.contains(role)) {
        let words = tenant.refusal(server, &own.database, &format!("SET ROLE \"{role}\""))?;
        ensure!(words.contains("permission denied to set role"), "{role}: {words}");
        others += 1;
    }
    ensure!(others > 5, "only {others} other roles were tried");
    let group = "SELECT count(*) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = 'odoo_tenants'::regrole
                    AND NOT (classid = 'pg_database'::regclass AND objid = (SELECT oid FROM pg_database WHERE datname = 'postgres'))";
    ensure!(server.psql("postgres", group)? == "0", "the group of all tenants has rights beyond the maintenance database");
    nobody_sees_the_statements_of_others(&stack, &own)
}

fn nobody_sees_the_statements_of_others(stack: &Stack, own: &Place) -> Result<()> {
    let shown = "SELECT count(*) FILTER (WHERE query NOT IN ('', '<insufficient privilege>')) FROM pg_stat_activity
                  WHERE usename IS DISTINCT FROM current_user";
    ensure!(own.login()?.run(&stack.pair.postgres2, &own.database, shown)? == "0", "a tenant reads the statements of others");
    Ok(())
}

#[test]
fn public_has_no_right_in_any_database() -> Result<()> {
    let stack = Stack::start(&StackOptions::default())?;
    let [(_, own), _] = neighbours(&stack)?;
    let server = &stack.pair.postgres2;
    // template0 takes no connections, and its single grant to all is PostgreSQL's own.
    let databases = "SELECT d.datname || ': ' || a.privilege_type
                       FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                      WHERE a.grantee = 0 AND (d.datname <> 'template0' OR d.datallowconn)";
    ensure!(server.psql("postgres", databases)?.is_empty(), "{}", server.psql("postgres", databases)?);
    let schemas = "SELECT a.privilege_type FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
                    WHERE n.nspname = 'public' AND a.grantee = 0";
    for database in ["postgres", "template1"] {
        ensure!(server.psql(database, schemas)?.is_empty(), "PUBLIC has rights in schema public of {database}");
    }
    // Inside a tenant's database nothing belongs to, or was granted to, the role that the template's content had.
    let (_, content_role) = template(&stack)?;
    let left = format!(
        "SELECT count(*) FROM pg_shdepend s, pg_database d WHERE d.oid = s.dbid AND d.datname = '{}'
            AND s.refclassid = 'pg_authid'::regclass AND s.refobjid = '{content_role}'::regrole",
        own.database
    );
    ensure!(server.psql("postgres", &left)? == "0", "objects of the template's content role are left in a clone");
    Ok(())
}

#[test]
fn all_that_a_tenant_sees_is_opaque() -> Result<()> {
    let stack = Stack::start(&StackOptions::default())?;
    let first = stack.provision(&stack.order("shop")?)?;
    stack.await_success(&first.1, LIMIT)?;
    let own = stack.place(&first.0)?;
    // It looks all the time, while neighbours come and go and a template with demonstration data is built.
    let sight = sight::Sight::begin(&own.login()?, &stack.pair.postgres2, &own.database)?;
    let mut known = vec![first.0, "owner@shop.example".to_owned(), "shop".to_owned(), "Shopkeeper".to_owned()];
    for (label, demo) in [("florist", true), ("baker", false)] {
        let order = stack.order(label)?.with("demo_data", json!(demo));
        let (id, operation) = stack.provision(&order)?;
        stack.await_success(&operation, LIMIT)?;
        known.extend([id.clone(), operation, label.to_owned()]);
        for field in ["customer_id", "subscription_id", "admin_email", "name"] {
            known.extend(order.body()[field].as_str().map(str::to_owned));
        }
        stack.await_success(&stack.terminate(&id)?, LIMIT)?;
        stack.await_success(&stack.remove(&id)?, LIMIT)?;
    }
    let seen = sight.end()?;
    ensure!(seen.of("application").any(|name| name.starts_with("ois:")), "the worker was not seen at work: {seen:?}");
    ensure!(seen.of("database").count() >= 7, "neighbours and templates were not seen: {seen:?}");
    ensure!(seen.of("comment").count() >= 7, "comments were not seen: {seen:?}");
    seen.is_opaque()?;
    seen.has_none_of(&known)
}

#[test]
fn no_secret_leaves_its_place() -> Result<()> {
    let stack = Stack::start(&StackOptions::default())?;
    let watch = ProcessWatch::begin();
    let (mut answers, mut secrets) = (Answers::default(), Secrets::default());
    let order = stack.order("shop")?.with("description", json!("what it is for"));
    let created = stack.post("/api/v1/instances/?provision=true", order.body())?.expect(201)?;
    let (id, operation) = (created.text("id")?, created.text("operation_id")?);
    answers.keep(created);
    // Read all the time: the configuration of a template is there only while it is built.
    until(LIMIT, "the mail with the password", || {
        secrets.learn(&stack)?;
        answers.ask(&stack, &id, &operation)?;
        Ok(secrets.has_mailed().then_some(()))
    })?;
    stack.await_success(&operation, LIMIT)?;
    secrets.learn_settings(&stack)?;
    for close in [Stack::terminate, Stack::remove] {
        let operation = close(&stack, &id)?;
        stack.await_success(&operation, LIMIT)?;
        answers.ask(&stack, &id, &operation)?;
    }
    let processes = watch.end()?;

    secrets.are_complete()?;
    secrets.are_in_no_log(&stack)?;
    secrets.are_in_no_answer(&answers)?;
    secrets.are_in_no_row(&stack)?;
    secrets.are_in_no_process_list(&stack, &processes)
}

/// The texts of its errors, its events and its journal are kept for long.
#[test]
fn no_secret_of_a_failed_provisioning_leaves_its_place() -> Result<()> {
    let stack = Stack::start(&StackOptions::default())?;
    let (mut answers, mut secrets) = (Answers::default(), Secrets::default());
    secrets.learn_settings(&stack)?;
    let (_, first) = stack.provision(&stack.order("first")?)?;
    stack.await_success(&first, LIMIT)?;
    // Its configuration is there as long as it stands still.
    let pause = Armed::once("provision/ready/apply/before", Action::Pause);
    let broken = Armed::once("provision/ready/apply/after", Action::Error(Kind::Permanent));
    stack.faults().arm(&[pause, broken])?;
    let (id, operation) = stack.provision(&stack.order("second")?)?;
    until(LIMIT, "the pause", || stack.faults().fired(0))?;
    secrets.learn(&stack)?;
    stack.faults().resume()?;
    let ended = stack.await_operation(&operation, LIMIT)?;
    ensure!(ended["state"] == "failed", "{ended:#}");
    for _ in 0..3 {
        answers.ask(&stack, &id, &operation)?;
    }
    secrets.are_of_tenants(2)?;
    secrets.are_in_no_log(&stack)?;
    secrets.are_in_no_answer(&answers)?;
    secrets.are_in_no_row(&stack)
}
