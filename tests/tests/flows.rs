//! The pages of `docs/flows`, carried out as they are written, on real Odoo.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use stories::flow::{Flow, Line, is_as};
use stories::odoo::{Odoo, assets};
use stories::{Answer, Stack, StackOptions, call, real_odoo, until, uuid};

/// A template has to be built in it, on a machine that may be busy with other tests.
const LIMIT: Duration = Duration::from_secs(300);
/// So long an instance that is paid may take to come back by itself here.
const GRACE: [(&str, &str); 2] = [("RECONCILE_INTERVAL_SECONDS", "10"), ("RESUME_GRACE_SECONDS", "2")];
const NOTE: &str = "Customer of the first hour";

const PAGES: [&str; 6] = ["trial", "paid", "plan", "overdue", "cancel", "return"];

#[test]
#[ignore = "needs real Odoo: run `cargo dev test`, which brings it"]
fn real_odoo_and_every_page_happen_as_they_are_written() -> Result<()> {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/flows");
    let runtime = real_odoo()?.context("INSTANCE_TEST_ODOO names no Odoo: run `cargo dev test`, which brings one")?;
    let environment = GRACE.map(|(name, seconds)| (name.to_owned(), seconds.to_owned())).to_vec();
    let stack = Stack::start(&StackOptions { runtime, environment, ..StackOptions::default() })?;
    for page in PAGES {
        let path = pages.join(format!("{page}.md"));
        let flow = Flow::read(&path)?;
        let mut story = Story::begin(&stack)?;
        for (number, line) in &flow.lines {
            story.happens(&flow, line).with_context(|| format!("{}:{number}: {line:?}", path.display()))?;
        }
    }
    let active = stack.platform_sql("SELECT count(*) FROM instance_service.operations WHERE finished_at IS NULL")?;
    ensure!(active == "0", "{active} operations are left");
    Ok(())
}

/// Each page has its row in the table of pages, and each row its page.
#[test]
fn every_page_is_carried_out() -> Result<()> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/flows"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        found.extend(name.strip_suffix(".md").filter(|name| *name != "README").map(str::to_owned));
    }
    ensure!(found == PAGES.map(str::to_owned).into(), "{found:?}");
    Ok(())
}

/// One page as it happens.
struct Story<'a> {
    stack: &'a Stack,
    customer: String,
    subscription: String,
    new_subscription: String,
    /// The instance, once there is one.
    id: String,
    order: Value,
    answer: Option<Answer>,
    /// Operations that the page has seen already.
    seen: BTreeSet<String>,
    password: String,
    note: Value,
}

impl<'a> Story<'a> {
    fn begin(stack: &'a Stack) -> Result<Self> {
        Ok(Self {
            stack,
            customer: stack.services.create_user("shopkeeper@customer.example", "Shopkeeper")?,
            subscription: uuid()?,
            new_subscription: uuid()?,
            id: String::new(),
            order: Value::Null,
            answer: None,
            seen: BTreeSet::new(),
            password: String::new(),
            note: Value::Null,
        })
    }

    fn happens(&mut self, flow: &Flow, line: &Line) -> Result<()> {
        match line {
            Line::Call { method, path, body } => self.calls(flow, method, path, body.as_deref()),
            Line::Answer { status, fields } => self.is_answered(*status, fields),
            Line::Shown(fields) => is_shown(&self.stack.instance(&self.id)?, fields),
            Line::Work(kind) => self.is_done(kind),
            Line::Mail(template) => self.is_mailed(template),
            Line::Use(what) => self.is_used(what),
        }
    }

    fn filled(&self, text: &str) -> String {
        let pairs = [
            ("{id}", &self.id),
            ("{customer}", &self.customer),
            ("{subscription}", &self.subscription),
            ("{new_subscription}", &self.new_subscription),
        ];
        pairs.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn calls(&mut self, flow: &Flow, method: &str, path: &str, body: Option<&str>) -> Result<()> {
        let body: Option<Value> = match body {
            Some(name) => {
                let text = flow.bodies.get(name).with_context(|| format!("the page has no body {name}"))?;
                Some(serde_json::from_str(&self.filled(text))?)
            }
            None => None,
        };
        let answer = call(method, &format!("{}{}", self.stack.api_url(), self.filled(path)), body.as_ref())?;
        if answer.status == 201 {
            self.id = answer.text("id")?;
            self.order = body.context("an order has a body")?;
        }
        self.answer = Some(answer);
        Ok(())
    }

    fn is_answered(&mut self, status: u16, fields: &[(String, String)]) -> Result<()> {
        let answer = self.answer.take().context("nobody asked")?.expect(status)?;
        is_shown(&answer.body, fields)
    }

    /// The next operation of this kind that the page has not seen succeeds.
    fn is_done(&mut self, kind: &str) -> Result<()> {
        let path = format!("/api/v1/operations?instance_id={}&kind={kind}", self.id);
        let operation = until(LIMIT, kind, || {
            let listed = self.stack.get(&path)?.expect(200)?.body;
            let ids = listed["operations"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str());
            Ok(ids.map(str::to_owned).find(|id| !self.seen.contains(id)))
        })?;
        self.stack.await_success(&operation, LIMIT)?;
        self.seen.insert(operation);
        Ok(())
    }

    fn is_mailed(&mut self, template: &str) -> Result<()> {
        let name = &self.order["name"];
        let mail = until(LIMIT, template, || {
            let is_it = |mail: &Value| mail["template_name"] == template && mail["template_variables"]["instance_name"] == *name;
            Ok(self.stack.services.mails()?.into_iter().find(is_it))
        })?;
        if template == "instance_ready" {
            self.password = mail["template_variables"]["admin_password"].as_str().context("no password")?.to_owned();
        }
        Ok(())
    }

    fn odoo(&self) -> Result<Odoo> {
        let shown = self.stack.instance(&self.id)?;
        let url = shown["external_url"].as_str().context("no address")?.to_owned();
        Ok(Odoo::at(&url, &self.stack.place(&self.id)?.database))
    }

    fn login(&self, odoo: &Odoo) -> Result<i64> {
        let login = self.order["admin_email"].as_str().context("no address of mail")?;
        odoo.authenticate(login, &self.password)?.context("the mailed login is refused")
    }

    fn is_used(&mut self, what: &str) -> Result<()> {
        let odoo = self.odoo()?;
        match what {
            "logs in" => {
                let page = odoo.login_page()?;
                let assets = assets(&page);
                ensure!(assets.len() >= 2, "the page names {assets:?}");
                assets.iter().try_for_each(|asset| odoo.fetch(asset).map(drop))?;
                self.login(&odoo).map(drop)
            }
            "finds nobody" => {
                ensure!(odoo.login_page().is_err(), "the page is still served");
                Ok(())
            }
            "writes a note" => {
                let user = self.login(&odoo)?;
                self.note = odoo.execute(user, &self.password, "res.partner", "create", &json!([{ "name": NOTE }]))?;
                Ok(())
            }
            "reads the note" => {
                let user = self.login(&odoo)?;
                let rows = odoo.execute(user, &self.password, "res.partner", "read", &json!([[self.note], ["name"]]))?;
                ensure!(rows[0]["name"] == NOTE, "what was written is gone: {rows}");
                Ok(())
            }
            other => bail!("nobody knows how a customer {other}"),
        }
    }
}

fn is_shown(body: &Value, fields: &[(String, String)]) -> Result<()> {
    for (name, expected) in fields {
        let value = body.get(name).with_context(|| format!("no {name} in {body:#}"))?;
        ensure!(is_as(value, expected), "{name} is {value}, not {expected}: {body:#}");
    }
    Ok(())
}
