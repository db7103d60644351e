//! Which server is touched by what (contract 1.2), read from the servers' own statement logs, and tried with real logins.

mod traffic;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::time::Duration;
use stories::faults::{Action, Armed, Kind};
use stories::{Binary, Login, Stack, StackOptions, call_with, eventually};
use testkit::statements::Entry;
use testkit::{Options, Pair};
use traffic::{JournalStep, Through, during, of_clients, probes, says, sql, template_build, template_names, without_probe};

const LIMIT: Duration = Duration::from_secs(60);

/// Words of DDL on roles and databases, and of Odoo's tables: none of them belongs on postgres1.
const TENANTS_SQL: [&str; 12] = [
    "CREATE ROLE",
    "ALTER ROLE",
    "DROP ROLE",
    "CREATE DATABASE",
    "ALTER DATABASE",
    "DROP DATABASE",
    "REASSIGN OWNED",
    "COMMENT ON",
    "REVOKE ",
    "res_users",
    "ir_module_module",
    "ir_config_parameter",
];

/// Names of the platform's tables: none of them belongs on postgres2.
const PLATFORMS_SQL: [&str; 5] = ["instance_service", "public.instances", "apalis", "subscription_id", "customer_id"];

/// A request, and SQL that it must have sent to postgres1.
struct Request {
    what: &'static str,
    path: String,
    body: Option<Value>,
    sends: &'static str,
}

fn request(what: &'static str, path: String, body: Option<Value>, sends: &'static str) -> Request {
    Request { what, path, body, sends }
}

/// Reads and metadata writes, in this order on one instance. Accepting work is metadata as well: nobody is there to do it.
fn requests(id: &str, customer: &str, subscription: &str) -> Vec<Request> {
    let at = |rest: &str| format!("/api/v1/instances/{id}{rest}");
    let billing = json!({ "billing_status": "trial", "provisioning_trigger": "trial_expired_billing_update" });
    vec![
        request("read", at(""), None, "FROM public.instances"),
        request("list", format!("/api/v1/instances/?customer_id={customer}"), None, "FROM public.instances"),
        request("by subscription", format!("/api/v1/instances/by-subscription/{subscription}"), None, "FROM public.instances"),
        request("check-subdomain", "/api/v1/instances/check-subdomain/elsewhere".into(), None, "FROM public.instances"),
        request("status", at("/status"), None, "FROM public.instances"),
        request("logs of nothing", at("/logs"), None, "FROM public.instances"),
        request("billing update", at("/provision"), Some(billing), "UPDATE public.instances"),
        request("provision", at("/provision"), Some(json!({})), "INSERT INTO instance_service.operations"),
        request("operations", format!("/api/v1/operations?instance_id={id}"), None, "FROM instance_service.operations"),
        request("terminate", at("/actions"), Some(json!({ "action": "terminate" })), "INSERT INTO apalis.jobs"),
        request("servers", "/health/database".into(), None, "FROM instance_service.odoo_servers"),
    ]
}

#[test]
fn the_api_touches_postgres1_only() -> Result<()> {
    let stack = Stack::start(&StackOptions { workers: 0, ..StackOptions::default() })?;
    let order = stack.order("routes")?;
    let (created, traffic) = during(&stack, || stack.post("/api/v1/instances/", order.body())?.expect(201))?;
    one_sided("create", &traffic.postgres1, &traffic.postgres2, "INSERT INTO public.instances")?;
    let (id, customer, subscription) = (created.text("id")?, created.text("customer_id")?, created.text("subscription_id")?);
    for Request { what, path, body, sends } in requests(&id, &customer, &subscription) {
        let call = || match &body {
            Some(body) => stack.post(&path, body)?.expect(200),
            None => stack.get(&path)?.expect(200),
        };
        let (_, traffic) = during(&stack, || call().context(what))?;
        one_sided(what, &traffic.postgres1, &traffic.postgres2, sends)?;
    }
    let (_, traffic) = during(&stack, || stack.remove(&id))?;
    one_sided("delete", &traffic.postgres1, &traffic.postgres2, "INSERT INTO instance_service.operations")?;
    ensure!(of_clients(&stack.pair.postgres2)?.is_empty(), "somebody came to postgres2, and no worker was there");
    Ok(())
}

#[test]
fn operations_and_keyed_requests_touch_postgres1_only() -> Result<()> {
    let stack = Stack::start(&StackOptions { workers: 0, ..StackOptions::default() })?;
    let (order, url) = (stack.order("keyed")?, format!("{}/api/v1/instances/?provision=true", stack.api_url()));
    let create = || call_with("POST", &url, Some(order.body()), &[("Idempotency-Key", "the-same-twice")])?.expect(201);
    let (created, traffic) = during(&stack, create)?;
    one_sided("keyed create", &traffic.postgres1, &traffic.postgres2, "INTO instance_service.idempotency_keys")?;
    let (again, traffic) = during(&stack, create)?;
    one_sided("its repetition", &traffic.postgres1, &traffic.postgres2, "instance_service.idempotency_keys")?;
    ensure!(again.body == created.body, "the repetition is answered otherwise: {again:?}");
    let operation = format!("/api/v1/operations/{}", created.text("operation_id")?);
    let (_, traffic) = during(&stack, || stack.get(&operation)?.expect(200))?;
    one_sided("operation", &traffic.postgres1, &traffic.postgres2, "FROM instance_service.operations")?;
    let (_, traffic) = during(&stack, || stack.post(&format!("{operation}/cancel"), &json!({}))?.expect(202))?;
    one_sided("cancel", &traffic.postgres1, &traffic.postgres2, "UPDATE instance_service.operations")?;
    // It has ended, and so does the stream.
    let (_, traffic) = during(&stack, || stack.get(&format!("{operation}/events"))?.expect(200))?;
    one_sided("events", &traffic.postgres1, &traffic.postgres2, "FROM instance_service.operation_events")?;
    ensure!(of_clients(&stack.pair.postgres2)?.is_empty(), "somebody came to postgres2, and no worker was there");
    Ok(())
}

/// Nothing came to postgres2, and to postgres1 what was expected, from the API.
fn one_sided(what: &str, postgres1: &[Entry], postgres2: &[Entry], sends: &str) -> Result<()> {
    ensure!(postgres2.is_empty(), "{what} touched postgres2: {postgres2:#?}");
    let sent: Vec<_> = postgres1.iter().filter(|entry| entry.application == "instance-api").cloned().collect();
    ensure!(says(&sent, sends), "{what} did not send {sends:?} to postgres1: {sent:#?}");
    Ok(())
}

/// Through what a step of the worker reaches postgres2: it must, by each of these; it may read the catalogue besides.
fn expected(kind: &str, step: &str) -> Result<&'static [Through]> {
    Ok(match (kind, step) {
        ("provision", "role") => &[Through::Fence],
        ("provision", "template") => &[Through::Catalogue],
        ("provision", "database") => &[Through::Fence],
        ("provision", "content" | "personalise") => &[Through::Fence, Through::Inside],
        ("provision", "begin" | "image" | "place" | "secrets" | "data_directory" | "addons" | "service" | "ready") => &[],
        ("terminate" | "delete", "remove_service") => &[],
        ("terminate" | "delete", "close_database") => &[Through::Fence],
        ("delete", "verify_database" | "drop_database" | "drop_role") => &[Through::Fence],
        ("delete", "final_backup") => &[Through::Fence, Through::Tenant],
        ("delete", "remove_directory") => &[],
        ("fetch_logs", "read") => &[],
        _ => bail!("{kind} has a step {step} of which this test does not know where it belongs"),
    })
}

#[test]
fn each_step_of_the_worker_touches_the_server_of_its_place() -> Result<()> {
    let stack = Stack::start(&StackOptions::default())?;
    let (_, first) = stack.provision(&stack.order("first")?)?;
    stack.await_success(&first, LIMIT)?;

    // The template is there now: nothing else is under way while each of these works.
    let ((id, operation), traffic) = during(&stack, || {
        let (id, operation) = stack.provision(&stack.order("second")?)?;
        stack.await_success(&operation, LIMIT)?;
        Ok((id, operation))
    })?;
    let place = stack.place(&id)?;
    steps_keep_to_their_place(&stack, "provision", &operation, traffic.postgres2)?;
    let fenced = fenced_by(&stack, &place.mark)?;
    ensure!(says(&fenced, &format!("CREATE ROLE \"{}\"", place.role)), "no role under the instance's fence: {fenced:#?}");
    ensure!(
        says(&fenced, &format!("CREATE DATABASE \"{}\"", place.database)),
        "no clone under the instance's fence: {fenced:#?}"
    );

    let (_, traffic) = during(&stack, || stack.get(&format!("/api/v1/instances/{id}/logs"))?.expect(200))?;
    let logs = stack.platform_sql("SELECT id FROM instance_service.operations WHERE kind = 'fetch_logs'")?;
    steps_keep_to_their_place(&stack, "fetch_logs", &logs, traffic.postgres2)?;

    for (kind, word) in [("terminate", "NOLOGIN"), ("delete", "DROP DATABASE")] {
        let (operation, traffic) = during(&stack, || {
            let operation = if kind == "delete" { stack.remove(&id)? } else { stack.terminate(&id)? };
            stack.await_success(&operation, LIMIT)?;
            Ok(operation)
        })?;
        ensure!(says(&fenced_by(&stack, &place.mark)?, word), "{kind} did not say {word} under the instance's fence");
        steps_keep_to_their_place(&stack, kind, &operation, traffic.postgres2)?;
    }
    the_template_was_built_under_its_own_fence(&stack)?;
    the_probe_only_looks(&stack)?;
    each_server_heard_only_its_own_language(&stack)
}

/// The same on the way back.
fn expected_of_undo(kind: &str, step: &str) -> Result<&'static [Through]> {
    Ok(match (kind, step) {
        ("provision", "role" | "database") => &[Through::Fence],
        ("provision", "place" | "secrets" | "data_directory" | "addons" | "service") => &[],
        _ => bail!("{kind} takes back a step {step} of which this test does not know where it belongs"),
    })
}

#[test]
fn an_undo_keeps_to_its_place() -> Result<()> {
    let stack = Stack::start(&StackOptions::default())?;
    let (_, first) = stack.provision(&stack.order("first")?)?;
    stack.await_success(&first, LIMIT)?;
    stack.faults().arm(&[Armed::once("provision/ready/apply/after", Action::Error(Kind::Permanent))])?;
    let (operation, traffic) = during(&stack, || {
        let (_, operation) = stack.provision(&stack.order("second")?)?;
        ensure!(stack.await_operation(&operation, LIMIT)?["state"] == "failed", "it did not fail");
        Ok(operation)
    })?;
    let steps = JournalStep::undone(&stack, &operation)?;
    let names: Vec<&str> = steps.iter().map(|step| step.name.as_str()).collect();
    ensure!(names == ["place", "secrets", "role", "database", "data_directory", "addons", "service"], "taken back: {names:?}");
    // The last step was over when it failed, so all that comes later belongs to the way back.
    let back = traffic.postgres2.into_iter().filter(|entry| steps.iter().any(|step| !step.is_after(entry))).collect();
    keep_to_their_place(&stack, "provision", &steps, back, expected_of_undo)?;
    each_server_heard_only_its_own_language(&stack)
}

/// Whatever the loops find, they write it on postgres1; on postgres2 they look.
#[test]
fn the_loops_write_postgres1_only() -> Result<()> {
    let environment = vec![("HEALTH_CHECK_INTERVAL_SECONDS".to_owned(), "1".to_owned())];
    let stack = Stack::start(&StackOptions { environment, ..StackOptions::default() })?;
    let (id, operation) = stack.provision(&stack.order("looked_after")?)?;
    stack.await_success(&operation, LIMIT)?;
    let place = stack.place(&id)?;
    let fake = stack.fake.as_ref().context("a fake runtime")?;
    let (_, traffic) = during(&stack, || {
        // Its Odoo ends, and a loop notices.
        fake.crash(&place.service)?;
        eventually(LIMIT, "a loop that notices", || Ok((stack.instance(&id)?["status"] == "error").then_some(())))
    })?;
    let worker: Vec<Entry> = traffic.postgres1.into_iter().filter(|entry| entry.application == "instance-worker").collect();
    ensure!(says(&worker, "UPDATE public.instances"), "no loop wrote what it noticed: {worker:#?}");
    for entry in &traffic.postgres2 {
        let looks = ["SELECT", "SET", "SHOW", ""].iter().any(|word| sql(entry).split(' ').next() == Some(word));
        ensure!(looks && Through::of(entry) == Through::Catalogue, "a loop does more than look: {entry:?}");
    }
    the_probe_only_looks(&stack)
}

fn fenced_by(stack: &Stack, mark: &str) -> Result<Vec<Entry>> {
    let fence = format!("ois:{mark}:");
    Ok(of_clients(&stack.pair.postgres2)?.into_iter().filter(|entry| entry.application.starts_with(&fence)).collect())
}

/// Every statement on postgres2 falls into a step that may send it, and every step that must send some did.
fn steps_keep_to_their_place(stack: &Stack, kind: &str, operation: &str, postgres2: Vec<Entry>) -> Result<()> {
    let steps = JournalStep::of(stack, operation)?;
    ensure!(!steps.is_empty(), "{kind} has no journal");
    keep_to_their_place(stack, kind, &steps, postgres2, expected)
}

fn keep_to_their_place(
    stack: &Stack,
    kind: &str,
    steps: &[JournalStep],
    postgres2: Vec<Entry>,
    expected: fn(&str, &str) -> Result<&'static [Through]>,
) -> Result<()> {
    let traffic = without_probe(stack, postgres2)?;
    for entry in &traffic {
        let through = Through::of(entry);
        let mut sender = None;
        for step in steps.iter().filter(|step| step.covers(entry)) {
            let expected = expected(kind, &step.name)?;
            if expected.contains(&through) || (through == Through::Catalogue && !expected.is_empty()) {
                sender = Some(step);
            }
        }
        ensure!(sender.is_some(), "{kind}: no step may send this to postgres2: {entry:?}\n{steps:#?}");
    }
    for step in steps {
        let expected = expected(kind, &step.name)?;
        ensure!(expected.is_empty() == (step.place != "postgres2"), "{kind} {}: its place is {}", step.name, step.place);
        for through in expected {
            let sent = traffic.iter().any(|entry| step.covers(entry) && Through::of(entry) == *through);
            ensure!(sent, "{kind} {}: nothing reached postgres2 through {through:?}", step.name);
        }
    }
    Ok(())
}

fn the_template_was_built_under_its_own_fence(stack: &Stack) -> Result<()> {
    let (database, content_role) = template_names(stack)?;
    let mark = stack.platform_sql("SELECT mark FROM instance_service.templates")?;
    let fenced = fenced_by(stack, &mark)?;
    for wanted in
        [format!("CREATE ROLE \"{content_role}\""), format!("CREATE DATABASE \"{database}\""), "IS_TEMPLATE true".into()]
    {
        ensure!(says(&fenced, &wanted), "no {wanted} under the template's fence: {fenced:#?}");
    }
    let steps = JournalStep::of(stack, &template_build(stack)?)?;
    let on_postgres1: Vec<_> = steps.iter().filter(|step| step.place == "postgres1").map(|step| step.name.as_str()).collect();
    ensure!(on_postgres1 == ["plan"], "steps of a template build on postgres1: {on_postgres1:?}");
    // What Odoo itself does there, it does as the content role and in the template only.
    let odoo: Vec<_> = of_clients(&stack.pair.postgres2)?.into_iter().filter(|entry| entry.user == content_role).collect();
    ensure!(odoo.iter().any(|entry| sql(entry).contains("res_users")), "Odoo's part of the template was not seen");
    ensure!(odoo.iter().all(|entry| entry.database == database), "the content role was elsewhere: {odoo:#?}");
    Ok(())
}

fn the_probe_only_looks(stack: &Stack) -> Result<()> {
    let entries = of_clients(&stack.pair.postgres2)?;
    let probes = probes(&entries);
    ensure!(!probes.is_empty(), "the worker never looked at postgres2");
    for entry in entries.iter().filter(|entry| probes.contains(&entry.pid)) {
        ensure!(Through::of(entry) == Through::Catalogue, "the probe came otherwise: {entry:?}");
        let harmless = ["SELECT", "SET", ""].iter().any(|word| sql(entry).split(' ').next() == Some(word));
        ensure!(harmless, "the probe does more than look: {entry:?}");
    }
    Ok(())
}

/// Over all that was done: who came where, and in which words.
fn each_server_heard_only_its_own_language(stack: &Stack) -> Result<()> {
    for entry in of_clients(&stack.pair.postgres1)? {
        let process = ["instance-", "lease-keeper "].iter().any(|name| entry.application.starts_with(name));
        ensure!(
            process && entry.user == "instance_service" && entry.database == "instance",
            "somebody else came to postgres1: {entry:?}"
        );
        let foreign = TENANTS_SQL.iter().find(|word| sql(&entry).contains(**word));
        ensure!(foreign.is_none(), "{foreign:?} on postgres1: {entry:?}");
    }
    for entry in of_clients(&stack.pair.postgres2)? {
        let admin = Through::of(&entry) != Through::Other;
        let odoo = entry.user.starts_with("odoo_") && entry.user != "odoo_admin" && entry.application == "psql";
        ensure!(admin || odoo, "somebody else came to postgres2: {entry:?}");
        let foreign = PLATFORMS_SQL.iter().find(|word| entry.text.contains(**word));
        ensure!(foreign.is_none(), "{foreign:?} on postgres2: {entry:?}");
    }
    Ok(())
}

#[test]
fn migrate_touches_postgres1_only_and_as_the_owner() -> Result<()> {
    let pair = Pair::unmigrated(&Options::default())?;
    let (owner, admin) = (pair.platform_owner(), pair.odoo_admin());
    let directory = tempfile::tempdir()?;
    let mut environment = Vec::new();
    let mut set = |name: &str, value: &str| environment.push((name.to_owned(), value.to_owned()));
    let secret = secrecy::ExposeSecret::expose_secret;
    set("PLATFORM_POSTGRES_HOST", &owner.host);
    set("PLATFORM_POSTGRES_PORT", &owner.port.to_string());
    set("PLATFORM_MIGRATION_USER", &owner.user);
    set("PLATFORM_MIGRATION_PASSWORD", secret(&owner.password));
    set("PLATFORM_POSTGRES_PASSWORD", secret(&pair.platform().password));
    // It could reach postgres2, if it wanted to.
    set("ODOO_POSTGRES_HOST", &admin.host);
    set("ODOO_POSTGRES_PORT", &admin.port.to_string());
    set("ODOO_POSTGRES_ADMIN_PASSWORD", secret(&admin.password));
    let mut migrate = Binary::start("instance-admin", &["migrate"], &environment, &directory.path().join("migrate.log"))?;
    let status = migrate.wait(LIMIT)?;
    ensure!(status.success(), "migrate ended with {status}: {}", migrate.output()?);
    let came = of_clients(&pair.postgres1)?;
    ensure!(says(&came, "CREATE TABLE instance_service.operations"), "no migration in the log of postgres1");
    ensure!(came.iter().all(|entry| entry.user == owner.user), "not as the owner: {came:#?}");
    let strayed = of_clients(&pair.postgres2)?;
    ensure!(strayed.is_empty(), "migrate touched postgres2: {strayed:#?}");
    Ok(())
}

#[test]
fn a_password_of_one_server_is_worth_nothing_on_the_other() -> Result<()> {
    let pair = Pair::start(&Options::default())?;
    let (platform, admin) = (pair.platform(), pair.odoo_admin());
    let who = "SELECT current_user";
    let login = |role: &str, password: &secrecy::SecretString| Login { role: role.into(), password: password.clone() };
    ensure!(login(&platform.user, &platform.password).run(&pair.postgres1, "instance", who)? == platform.user);
    ensure!(login(&admin.user, &admin.password).run(&pair.postgres2, "postgres", who)? == admin.user);
    for role in [admin.user.as_str(), &platform.user, "instance_owner", "readonly_user", "postgres"] {
        let on_platform = login(role, &admin.password).refusal(&pair.postgres1, "instance", who)?;
        ensure!(on_platform.contains("password authentication failed"), "postgres1: {on_platform}");
        let on_odoo = login(role, &platform.password).refusal(&pair.postgres2, "postgres", who)?;
        ensure!(on_odoo.contains("password authentication failed"), "postgres2: {on_odoo}");
    }
    Ok(())
}
