//! The whole main path on real Odoo: from a billing call to a login page, and back to nothing. One test, because each
//! deployment builds its template first, which takes half a minute; its sections tell one story.

mod footprint;
mod scrubbed;
mod traces;

use anyhow::{Context, Result, ensure};
use footprint::Footprint;
use rustix::process::{Signal, kill_process, test_kill_process};
use serde_json::{Value, json};
use std::time::Duration;
use stories::odoo::{Odoo, assets};
use stories::{Order, Place, ProcessWatch, Stack, StackOptions, eventually, real_odoo, until};

/// A template has to be built in it, on a machine that may be busy with other tests.
const BUILD: Duration = Duration::from_secs(300);
const LIMIT: Duration = Duration::from_secs(120);
/// Seconds between two looks at the instances.
const OFTEN: [(&str, &str); 2] = [("HEALTH_CHECK_INTERVAL_SECONDS", "1"), ("RECONCILE_INTERVAL_SECONDS", "10")];

/// An instance of the story.
struct Hosted {
    id: String,
    operation: String,
    order: Order,
    place: Place,
    url: String,
    admin_password: String,
}

impl Hosted {
    fn odoo(&self) -> Odoo {
        Odoo::at(&self.url, &self.place.database)
    }

    fn admin_email(&self) -> Result<&str> {
        self.order.body()["admin_email"].as_str().context("an order has an address")
    }
}

#[test]
#[ignore = "needs real Odoo: run `cargo dev test`, which brings it"]
fn real_odoo_from_a_billing_call_to_a_login_page_and_back_to_nothing() -> Result<()> {
    let runtime = real_odoo()?.context("INSTANCE_TEST_ODOO names no Odoo: run `cargo dev test`, which brings one")?;
    let every = |(name, seconds): (&str, &str)| (name.to_owned(), seconds.to_owned());
    let environment = OFTEN.map(every).to_vec();
    let mut stack = Stack::start(&StackOptions { runtime, environment, ..StackOptions::default() })?;

    a_version_without_installation_fails_for_good(&stack)?;
    let addons = json!(["uom", "contacts", "no_such_module"]);
    let first = hosted(&stack, stack.order("shop")?.with("custom_addons", addons))?;
    the_login_page_is_served_with_its_assets(&first)?;
    the_mailed_login_works_and_no_other(&first)?;
    the_ordered_module_is_installed_as_the_tenant(&stack, &first)?;
    the_logs_are_real(&stack, &first)?;
    the_books_come_back(&stack, &first)?;

    let before = Footprint::of(&stack)?;
    let watch = ProcessWatch::begin();
    let second = hosted(&stack, personal_order(&stack)?)?;
    before.differs_by_exactly(&Footprint::of(&stack)?, &second.place, &second.id)?;
    two_customers_of_one_label_share_nothing(&first, &second)?;
    traces::no_secret_leaves_its_place(&stack, &[&first, &second], watch)?;
    traces::all_invariants_hold(&stack)?;
    terminate_keeps_the_data_and_closes_access(&stack, &second)?;
    delete_leaves_the_record(&stack, &second, &before)?;
    the_mailed_login_works_and_no_other(&first)?;

    odoo_outlives_the_worker_and_is_adopted(&mut stack, &first)?;
    a_killed_odoo_is_seen(&stack, &first)?;
    stack.await_success(&stack.remove(&first.id)?, LIMIT)?;
    Footprint::of(&stack)?.holds_templates_only(&stack)?;
    traces::odoo_keeps_to_its_own(&stack, &[&first, &second])?;
    traces::all_invariants_hold(&stack)
}

/// The label that the first customer has, too, and everything personal that an order can carry.
fn personal_order(stack: &Stack) -> Result<Order> {
    Ok(stack
        .order("shop")?
        .with("name", json!("Florist"))
        .with("admin_email", json!("owner@florist.example"))
        .with("description", json!("The shop behind the station"))
        .with("environment_vars", json!({ "FLORIST_MOTTO": "flowers-for-all" }))
        .with("metadata", json!({ "note": "prefers-phone-calls" })))
}

/// Orders, waits, and learns what the customer is told.
fn hosted(stack: &Stack, order: Order) -> Result<Hosted> {
    let (id, operation) = stack.provision(&order)?;
    let ended = stack.await_success(&operation, BUILD)?;
    let shown = stack.instance(&id)?;
    ensure!(shown["status"] == "running" && shown["provisioning_status"] == "completed", "{shown:#}");
    ensure!(ended["result"]["url"] == shown["external_url"], "two addresses: {ended:#} {shown:#}");
    let ordered = order.body()["custom_addons"].as_array().into_iter().flatten();
    let unknown: Vec<&Value> = ordered.filter(|name| *name == "no_such_module").collect();
    ensure!(ended["result"]["unknown_addons"] == json!(unknown), "unknown add-ons are not reported: {ended:#}");
    let mail = until(LIMIT, "the mail with the login", || {
        let about = |mail: &Value| mail["template_variables"]["instance_url"] == shown["external_url"];
        Ok(stack.services.mails()?.into_iter().find(about))
    })?;
    ensure!(mail["template_name"] == "instance_ready", "{}", mail["template_name"]);
    ensure!(mail["template_variables"]["admin_email"] == order.body()["admin_email"], "another login was mailed");
    let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
    Ok(Hosted {
        place: stack.place(&id)?,
        url: text(&shown["external_url"])?,
        admin_password: text(&mail["template_variables"]["admin_password"])?,
        id,
        operation,
        order,
    })
}

fn a_version_without_installation_fails_for_good(stack: &Stack) -> Result<()> {
    let before = Footprint::of(stack)?;
    let (id, operation) = stack.provision(&stack.order("vintage")?.with("odoo_version", json!("18")))?;
    let ended = stack.await_operation(&operation, LIMIT)?;
    ensure!(ended["state"] == "failed" && ended["error"]["code"] == "odoo_version_unavailable", "{ended:#}");
    let shown = stack.instance(&id)?;
    ensure!(shown["status"] == "error" && shown["provisioning_status"] == "failed", "{shown:#}");
    let words = shown["error_message"].as_str().unwrap_or_default();
    ensure!(words == "Odoo 18 is not available on this platform", "words for the customer: {words:?}");
    // Given up at the first look, not tried again.
    let attempts = stack.platform_sql(&format!("SELECT attempts FROM instance_service.operations WHERE id = '{operation}'"))?;
    ensure!(attempts.parse::<u32>()? <= 1, "{attempts} attempts at something hopeless");
    before.is_unchanged_but_for_rows(&Footprint::of(stack)?)
}

fn the_login_page_is_served_with_its_assets(hosted: &Hosted) -> Result<()> {
    let odoo = hosted.odoo();
    let page = odoo.login_page()?;
    ensure!(page.contains("name=\"login\"") && page.contains("name=\"password\""), "not a login page:\n{page}");
    let assets = assets(&page);
    ensure!(assets.len() >= 2, "the page names {assets:?}");
    assets.iter().try_for_each(|asset| odoo.fetch(asset).map(drop))
}

fn the_mailed_login_works_and_no_other(hosted: &Hosted) -> Result<()> {
    let (odoo, login) = (hosted.odoo(), hosted.admin_email()?);
    let user = odoo.authenticate(login, &hosted.admin_password)?.context("the mailed login is refused")?;
    let me = odoo.execute(user, &hosted.admin_password, "res.users", "read", &json!([[user], ["login"]]))?;
    ensure!(me[0]["login"] == login, "logged in as {me}");
    for (login, password) in [("admin", "admin"), (login, "admin"), ("admin", hosted.admin_password.as_str())] {
        ensure!(odoo.authenticate(login, password)?.is_none(), "{login} may log in with {password:?}");
    }
    Ok(())
}

fn the_ordered_module_is_installed_as_the_tenant(stack: &Stack, hosted: &Hosted) -> Result<()> {
    let inside = |sql: &str| stack.pair.postgres2.psql(&hosted.place.database, sql);
    let states = inside(
        "SELECT string_agg(name || ' ' || state, ', ' ORDER BY name) FROM ir_module_module WHERE name IN ('contacts', 'uom')",
    )?;
    ensure!(states == "contacts installed, uom installed", "{states}");
    let owner = inside("SELECT tableowner FROM pg_tables WHERE tablename = 'uom_uom'")?;
    ensure!(owner == hosted.place.role, "its table belongs to {owner}");
    let pending = inside("SELECT count(*) FROM ir_module_module WHERE state LIKE 'to %'")?;
    ensure!(pending == "0", "{pending} modules are half installed");
    let user = hosted.odoo().authenticate(hosted.admin_email()?, &hosted.admin_password)?.context("no login")?;
    let units = hosted.odoo().execute(user, &hosted.admin_password, "uom.uom", "search_count", &json!([[]]))?;
    ensure!(units.as_i64().is_some_and(|units| units > 0), "the module serves {units} units");
    Ok(())
}

/// A customer loses something, and has it again; nobody notices that a backup is taken.
fn the_books_come_back(stack: &Stack, hosted: &Hosted) -> Result<()> {
    let odoo = hosted.odoo();
    let user = odoo.authenticate(hosted.admin_email()?, &hosted.admin_password)?.context("no login")?;
    let call =
        |model: &str, method: &str, arguments: Value| odoo.execute(user, &hosted.admin_password, model, method, &arguments);
    let partner = call("res.partner", "create", json!([{ "name": "Kept for good" }]))?;
    let letter = json!([{ "name": "letter.txt", "datas": "SGVsbG8gYm9va3M=", "res_model": "res.partner", "res_id": partner }]);
    let letter = call("ir.attachment", "create", letter)?;
    let backup = stack.act(&hosted.id, "backup")?;
    let mut looks = 0;
    let done = eventually(LIMIT, "the end of the backup", || {
        ensure!(!odoo.login_page()?.is_empty(), "nobody is served");
        looks += 1;
        let state = stack.get(&format!("/api/v1/operations/{backup}"))?.expect(200)?.text("state")?;
        Ok((state != "queued" && state != "running").then_some(state))
    })?;
    ensure!(done == "succeeded", "the backup {done}, after {looks} looks at the login page");

    call("ir.attachment", "unlink", json!([[letter]]))?;
    call("res.partner", "unlink", json!([[partner]]))?;
    let kept = stack.backups(&hosted.id)?.into_iter().next().context("there is no backup")?;
    stack.await_success(&stack.restore(&hosted.id, &kept)?, LIMIT)?;
    let read = call("res.partner", "read", json!([[partner], ["name"]]))?;
    ensure!(read[0]["name"] == "Kept for good", "{read}");
    let read = call("ir.attachment", "read", json!([[letter], ["datas"]]))?;
    ensure!(read[0]["datas"] == "SGVsbG8gYm9va3M=", "{read}");
    the_login_page_is_served_with_its_assets(hosted)?;
    the_mailed_login_works_and_no_other(hosted)
}

fn the_logs_are_real(stack: &Stack, hosted: &Hosted) -> Result<()> {
    // The requests above are in Odoo's own log by now, and nowhere else.
    let answer = stack.get(&format!("/api/v1/instances/{}/logs?lines=1000", hosted.id))?.expect(200)?;
    let lines: Vec<&str> = answer.body["logs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let told = |part: &str| lines.iter().any(|line| line.contains(part));
    ensure!(told("HTTP service (werkzeug) running") && told("POST /jsonrpc"), "not Odoo's log: {lines:#?}");
    // Whose log it is, in the customer's word; where it is kept is nobody's business.
    let label = hosted.order.body()["database_name"].as_str().context("an order has a label")?;
    ensure!(told(&format!(" {label} odoo.")), "not this instance's log: {lines:#?}");
    let place = &hosted.place;
    let server = format!("127.0.0.1:{}", stack.pair.postgres2.port());
    for physical in [&place.database, &place.role, &server, &place.directory.display().to_string()] {
        ensure!(!told(physical), "the log tells {physical}: {lines:#?}");
    }
    let few = stack.get(&format!("/api/v1/instances/{}/logs?lines=3", hosted.id))?.expect(200)?;
    ensure!(few.body["logs"].as_array().map(Vec::len) == Some(3), "{few:?}");
    Ok(())
}

fn two_customers_of_one_label_share_nothing(first: &Hosted, second: &Hosted) -> Result<()> {
    ensure!(first.order.body()["database_name"] == second.order.body()["database_name"], "two labels");
    let (one, other) = (&first.place, &second.place);
    ensure!(one.database != other.database && one.role != other.role && one.directory != other.directory, "{one:?} {other:?}");
    the_mailed_login_works_and_no_other(second)?;
    ensure!(
        second.odoo().authenticate(first.admin_email()?, &first.admin_password)?.is_none(),
        "a login works at the neighbour's"
    );
    // Neither serves the other's database.
    let astray = Odoo::at(&first.url, &other.database).authenticate(second.admin_email()?, &second.admin_password);
    ensure!(!matches!(astray, Ok(Some(_))), "one Odoo serves the other's database: {astray:?}");
    Ok(())
}

fn terminate_keeps_the_data_and_closes_access(stack: &Stack, hosted: &Hosted) -> Result<()> {
    let (place, login) = (&hosted.place, hosted.place.login()?);
    ensure!(login.run(&stack.pair.postgres2, &place.database, "SELECT 1")? == "1");
    stack.await_success(&stack.terminate(&hosted.id)?, LIMIT)?;
    ensure!(stack.instance(&hosted.id)?["status"] == "terminated");
    ensure!(footprint::processes_of(place)?.is_empty(), "Odoo still runs");
    ensure!(hosted.odoo().login_page().is_err(), "the page is still served");
    let words = login.refusal(&stack.pair.postgres2, &place.database, "SELECT 1")?;
    ensure!(words.contains("not permitted to log in"), "{words}");
    let database = format!("SELECT oid || ' ' || datallowconn FROM pg_database WHERE datname = '{}'", place.database);
    ensure!(
        stack.pair.postgres2.psql("postgres", &database)? == format!("{} false", place.oid),
        "the database is not kept, closed"
    );
    ensure!(place.directory.join("data/filestore").join(&place.database).is_dir(), "the files are not kept");
    Ok(())
}

fn delete_leaves_the_record(stack: &Stack, hosted: &Hosted, before: &Footprint) -> Result<()> {
    stack.await_success(&stack.remove(&hosted.id)?, LIMIT)?;
    before.is_unchanged_but_for_rows(&Footprint::of(stack)?)?;
    scrubbed::record_of(stack, &hosted.id, &hosted.place)
}

fn odoo_outlives_the_worker_and_is_adopted(stack: &mut Stack, hosted: &Hosted) -> Result<()> {
    let odoo = footprint::processes_of(&hosted.place)?;
    ensure!(odoo.len() == 1, "{odoo:?}");
    for signal in [Signal::TERM, Signal::KILL] {
        let worker = stack.workers.first_mut().context("no worker")?;
        worker.process.signal(signal)?;
        worker.process.wait(LIMIT)?;
        stack.bury_workers()?;
        the_login_page_is_served_with_its_assets(hosted).context("Odoo went with the worker")?;
        let since = stack.platform_sql("SELECT clock_timestamp()")?;
        stack.start_worker()?;
        let looked = format!("SELECT last_health_check > '{since}' FROM public.instances WHERE id = '{}'", hosted.id);
        eventually(
            LIMIT,
            "a look of the new worker at the instance",
            || Ok((stack.platform_sql(&looked)? == "t").then_some(())),
        )?;
        ensure!(footprint::processes_of(&hosted.place)? == odoo, "another process than before");
        ensure!(stack.instance(&hosted.id)?["status"] == "running");
    }
    Ok(())
}

fn a_killed_odoo_is_seen(stack: &Stack, hosted: &Hosted) -> Result<()> {
    let processes = footprint::processes_of(&hosted.place)?;
    let odoo = *processes.first().context("no Odoo")?;
    kill_process(odoo, Signal::KILL)?;
    let shown = until(LIMIT, "status error", || {
        let shown = stack.instance(&hosted.id)?;
        Ok((shown["status"] == "error").then_some(shown))
    })?;
    ensure!(test_kill_process(odoo).is_err() || footprint::processes_of(&hosted.place)?.is_empty(), "it was not killed");
    ensure!(shown["error_message"] == "Odoo ended unexpectedly", "{shown:#}");
    Ok(())
}
