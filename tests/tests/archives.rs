//! A customer leaves with an archive, runs it on an Odoo of their own, and comes back with what that has made.

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use stories::odoo::Odoo;
use stories::{Runtime, Stack, StackOptions, real_odoo, until};
use testkit::port::Port;
use testkit::{Cluster, Options};

/// A template has to be built in it, on a machine that may be busy with other tests.
const BUILD: Duration = Duration::from_secs(300);
const LIMIT: Duration = Duration::from_secs(180);
const PASSWORD: &str = "of the customer";
const DATABASE: &str = "books";

/// An Odoo with its server, which the platform has nothing to do with.
struct Elsewhere {
    launcher: String,
    cluster: Cluster,
    directory: tempfile::TempDir,
}

/// A running Odoo; ends with its value, and all that it has started.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        if let Some(Err(error)) = group.map(|group| kill_process_group(group, Signal::KILL)) {
            eprintln!("an Odoo could not be ended: {error}");
        }
        if let Err(error) = self.0.wait() {
            eprintln!("an Odoo has not ended: {error}");
        }
    }
}

impl Elsewhere {
    fn start(launcher: String) -> Result<Self> {
        let cluster = Cluster::start(&Options::default())?;
        cluster.psql("postgres", &format!("CREATE ROLE customer LOGIN CREATEDB PASSWORD '{PASSWORD}'"))?;
        Ok(Self { launcher, cluster, directory: tempfile::tempdir()? })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command of Odoo's own, with all that it has to know.
    fn odoo(&self, command: &str) -> Result<Command> {
        let endpoint = self.cluster.endpoint("postgres", "customer", &PASSWORD.to_owned().into());
        let log = File::options().create(true).append(true).open(self.path("odoo.log"))?;
        let mut odoo = Command::new(&self.launcher);
        odoo.arg(command).env("HOME", self.directory.path()).env("TMPDIR", self.directory.path()).env("PGPASSWORD", PASSWORD);
        odoo.args(["--db_host", &endpoint.host, "--db_port", &endpoint.port.to_string(), "--db_user", "customer"]);
        odoo.arg("--pg_path").arg(self.cluster.server().installation().bin());
        odoo.arg("--data-dir").arg(self.path("data"));
        odoo.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        Ok(odoo)
    }

    fn db(&self, arguments: &[&str], file: &Path) -> Result<()> {
        let ended = self.odoo("db")?.args(arguments).arg(file).status()?;
        ensure!(ended.success(), "odoo db {arguments:?} ended with {ended}: {}", self.log());
        Ok(())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("odoo.log")).unwrap_or_default()
    }

    /// Serves the database.
    fn serve(&self) -> Result<(Serving, Odoo)> {
        let port = Port::reserve()?;
        let url = format!("http://127.0.0.1:{}", port.number());
        let mut odoo = self.odoo("server")?;
        odoo.args(["--database", DATABASE, "--http-interface", "127.0.0.1", "--http-port", &port.number().to_string()]);
        let serving = Serving(odoo.args(["--workers", "0", "--max-cron-threads", "0"]).spawn()?);
        let odoo = Odoo::at(&url, DATABASE);
        let ready = until(LIMIT, "the customer's own Odoo", || Ok(odoo.login_page().ok()));
        ready.with_context(|| self.log())?;
        Ok((serving, odoo))
    }
}

/// Who has logged in.
struct Customer<'a> {
    odoo: &'a Odoo,
    user: i64,
    password: &'a str,
}

impl<'a> Customer<'a> {
    fn log_in(odoo: &'a Odoo, email: &str, password: &'a str) -> Result<Self> {
        let user = odoo.authenticate(email, password)?.context("no login")?;
        Ok(Self { odoo, user, password })
    }

    fn ask(&self, model: &str, method: &str, arguments: Value) -> Result<Value> {
        self.odoo.execute(self.user, self.password, model, method, &arguments)
    }

    /// A partner with a letter attached.
    fn write_letter(&self, partner: &str, letter: &str) -> Result<()> {
        self.ask("res.partner", "create", json!([{ "name": partner }]))?;
        self.ask("ir.attachment", "create", json!([{ "name": partner, "raw": letter }])).map(drop)
    }

    fn read_letters(&self) -> Result<Vec<(String, String)>> {
        let found = self.ask("ir.attachment", "search_read", json!([[["name", "ilike", "letter"]], ["name", "raw"]]))?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut letters: Vec<(String, String)> =
            found.as_array().context("no list")?.iter().map(|one| (text(&one["name"]), text(&one["raw"]))).collect();
        letters.sort();
        Ok(letters)
    }

    fn parameter(&self, key: &str) -> Result<Value> {
        self.ask("ir.config_parameter", "get_param", json!([key]))
    }
}

#[test]
#[ignore = "needs real Odoo: run `cargo dev test`, which brings it"]
fn real_odoo_a_customer_leaves_and_comes_back() -> Result<()> {
    let runtime = real_odoo()?.context("INSTANCE_TEST_ODOO names no Odoo: run `cargo dev test`, which brings one")?;
    let Runtime::Process { launcher, .. } = runtime.clone() else { anyhow::bail!("real Odoo is a process") };
    let stack = Stack::start(&StackOptions { runtime, ..StackOptions::default() })?;
    let elsewhere = Elsewhere::start(launcher)?;

    let order = stack.order("shop")?;
    let (id, operation) = stack.provision(&order)?;
    stack.await_success(&operation, BUILD)?;
    let shown = stack.instance(&id)?;
    let mail = until(LIMIT, "the mail with the login", || {
        Ok(stack.services.mails()?.into_iter().find(|mail| mail["template_name"] == "instance_ready"))
    })?;
    let email = order.body()["admin_email"].as_str().context("no address")?.to_owned();
    let password = mail["template_variables"]["admin_password"].as_str().context("no password")?.to_owned();
    let hosted = Odoo::at(shown["external_url"].as_str().context("no address")?, &stack.place(&id)?.database);
    let customer = Customer::log_in(&hosted, &email, &password)?;
    customer.write_letter("First letter", "written here")?;
    let (letters, uuid) = (customer.read_letters()?, customer.parameter("database.uuid")?);
    ensure!(letters.len() == 1 && letters[0].1.contains("written here"), "{letters:?}");

    // Out: Odoo's own command loads it, and its server lets the customer in.
    stack.await_success(&stack.act(&id, "backup")?, LIMIT)?;
    let backup = stack.backups(&id)?.into_iter().next().context("there is no backup")?;
    std::fs::write(elsewhere.path("out.zip"), stack.export(&backup, LIMIT)?)?;
    elsewhere.db(&["load", DATABASE], &elsewhere.path("out.zip"))?;
    {
        let (_serving, odoo) = elsewhere.serve()?;
        let customer = Customer::log_in(&odoo, &email, &password)?;
        ensure!(customer.read_letters()? == letters, "{:?}", customer.read_letters()?);
        customer.write_letter("Second letter", "written elsewhere")?;
    }

    // Back in: what Odoo's own command dumps becomes a backup, and the instance is as it was there.
    elsewhere.cluster.psql(DATABASE, "UPDATE ir_config_parameter SET value = 'theirs' WHERE key = 'database.uuid'")?;
    elsewhere.db(&["dump", DATABASE], &elsewhere.path("in.zip"))?;
    let import = stack.import(&id, &std::fs::read(elsewhere.path("in.zip"))?)?;
    let imported = stack.await_success(&import, LIMIT)?;
    let backup = imported["result"]["backup_id"].as_str().with_context(|| format!("{imported:#}"))?.to_owned();
    let listed = stack.get(&format!("/api/v1/backups/{backup}"))?.expect(200)?.body;
    ensure!(listed["origin"] == "imported" && listed["status"] == "completed", "{listed:#}");
    ensure!(Customer::log_in(&hosted, &email, &password)?.read_letters()? == letters, "an import changes nothing by itself");
    stack.await_success(&stack.restore(&id, &backup)?, LIMIT)?;
    let customer = Customer::log_in(&hosted, &email, &password)?;
    let both = customer.read_letters()?;
    ensure!(both.len() == 2 && both[..1] == letters[..], "{both:?}");
    let renewed = customer.parameter("database.uuid")?;
    ensure!(renewed != uuid && renewed != "theirs", "{renewed} is another instance's");
    ensure!(customer.parameter("web.base.url")? == shown["external_url"]);
    let page = hosted.login_page()?;
    ensure!(page.contains("csrf_token"), "no login page: {page}");

    // And it can be backed up as before.
    stack.await_success(&stack.act(&id, "backup")?, LIMIT).map(drop)
}
