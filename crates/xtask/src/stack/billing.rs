//! Acts as the billing service would: orders one instance through the internal door and follows its operation.

use super::Stack;
use super::http::Client;
use super::interrupt::Interrupt;
use crate::progress::{Progress, Task};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const MAIL: &str = "owner@example.com";
/// Long, because the first order also builds the template.
const PROVISIONED_WITHIN: Duration = Duration::from_secs(600);
const MAILED_WITHIN: Duration = Duration::from_secs(60);
/// For an instance of an earlier start to be brought up again.
const BACK_WITHIN: Duration = Duration::from_secs(10);

/// A running instance and how to log in.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) url: String,
    pub(super) login: String,
    pub(super) password: String,
}

/// The demo instance: the one of the last start if it runs, else a new one.
pub(super) fn instance(stack: &Stack, interrupt: &Interrupt, progress: &Progress) -> Result<Ready> {
    let billing = Billing { stack, client: Client::new(), interrupt };
    if let Some(ready) = billing.existing(progress)? {
        progress.task("instance").done("the one of the last start is back");
        return Ok(ready);
    }
    let instance = billing.order()?;
    billing.follow(&instance, progress)?;
    let id = text(&instance, "id")?;
    let instance = billing.client.get(&format!("{}/api/v1/instances/{id}", stack.api_url()))?;
    let url = text(&instance, "external_url")?;
    let wait = format!("the mail with the login of {url}");
    interrupt.wait(&wait, MAILED_WITHIN, || billing.login_from_mail(&url))
}

/// The live instances of this stack's customer, newest first.
pub(super) fn instances(stack: &Stack) -> Result<Vec<Value>> {
    let Some(customer) = customer(stack)? else { return Ok(Vec::new()) };
    let page = Client::new().get(&format!("{}/api/v1/instances/?customer_id={customer}", stack.api_url()))?;
    let all = page["instances"].as_array().cloned().unwrap_or_default();
    Ok(all.into_iter().filter(|instance| instance["status"] != "terminated").collect())
}

fn customer(stack: &Stack) -> Result<Option<String>> {
    match std::fs::read_to_string(stack.at("customer")) {
        Ok(id) => Ok(Some(id)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn text(value: &Value, key: &str) -> Result<String> {
    value[key].as_str().map(str::to_owned).with_context(|| format!("the API's answer has no {key}"))
}

struct Billing<'a> {
    stack: &'a Stack,
    client: Client,
    interrupt: &'a Interrupt,
}

impl Billing<'_> {
    /// An instance of an earlier start that runs again, if there is one.
    fn existing(&self, progress: &Progress) -> Result<Option<Ready>> {
        let mut asleep = 0;
        for instance in instances(self.stack)? {
            let Some(url) = instance["external_url"].as_str() else { continue };
            if instance["status"] == "running"
                && self.answers(url)?
                && let Some(ready) = self.login_from_mail(url)?
            {
                return Ok(Some(ready));
            }
            asleep += 1;
        }
        if asleep > 0 {
            // Starting a stopped instance is an action that this version does not offer yet.
            progress.task("instances").done(&format!("{asleep} of earlier starts stay stopped; a new one is made"));
        }
        Ok(None)
    }

    fn answers(&self, url: &str) -> Result<bool> {
        let page = format!("{url}/web/login");
        let look = || Ok((self.client.status(&page) == Some(200)).then_some(()));
        let back = self.interrupt.wait("the old instance", BACK_WITHIN, look);
        if self.interrupt.came() {
            bail!("interrupted");
        }
        Ok(back.is_ok())
    }

    /// One call makes the record and queues its provisioning.
    fn order(&self) -> Result<Value> {
        let customer = match customer(self.stack)? {
            Some(id) => id,
            None => self.new_customer()?,
        };
        let order = json!({
            "name": "Demo",
            "admin_email": MAIL,
            "database_name": format!("demo-{:04x}", testkit::random::number()? & 0xffff),
            "customer_id": customer,
            "subscription_id": testkit::random::uuid()?,
            "billing_status": "paid",
        });
        self.client.post(&format!("{}/api/v1/instances/?provision=true", self.stack.api_url()), &order)
    }

    fn new_customer(&self) -> Result<String> {
        let user = json!({ "email": MAIL, "first_name": "Owner", "last_name": "of the demo" });
        let id = text(&self.client.post(&format!("{}/users", self.stack.services_url()), &user)?, "id")?;
        std::fs::write(self.stack.at("customer"), &id)?;
        Ok(id)
    }

    /// Shows each step as it happens, those of the template's build as well.
    fn follow(&self, instance: &Value, progress: &Progress) -> Result<()> {
        let operation = text(instance, "operation_id")?;
        let api = self.stack.api_url();
        let mut shown = BTreeMap::new();
        let ended = self.interrupt.wait("the provisioning", PROVISIONED_WITHIN, || {
            let builds = self.client.get(&format!("{api}/api/v1/operations?kind=build_template&page_size=5"))?;
            for build in builds["operations"].as_array().into_iter().flatten() {
                if shown.contains_key(&text(build, "id")?) || build["finished_at"].is_null() {
                    show(&mut shown, build, progress)?;
                }
            }
            let now = self.client.get(&format!("{api}/api/v1/operations/{operation}"))?;
            show(&mut shown, &now, progress)?;
            Ok((!now["finished_at"].is_null()).then_some(now))
        })?;
        match ended["state"].as_str() {
            Some("succeeded") => Ok(()),
            state => bail!(
                "the provisioning ended as {}: {} (see {})",
                state.unwrap_or("unknown"),
                ended["error"]["message"].as_str().unwrap_or("no reason given"),
                self.stack.at("logs").display()
            ),
        }
    }

    fn login_from_mail(&self, url: &str) -> Result<Option<Ready>> {
        let mails = self.client.get(&format!("{}/mails", self.stack.services_url()))?;
        let ready = mails["mails"].as_array().into_iter().flatten().find(|mail| {
            mail["template_name"] == "instance_ready" && mail["template_variables"]["instance_url"].as_str() == Some(url)
        });
        let Some(variables) = ready.map(|mail| &mail["template_variables"]) else { return Ok(None) };
        let (login, password) = (text(variables, "admin_email")?, text(variables, "admin_password")?);
        Ok(Some(Ready { url: url.to_owned(), login, password }))
    }
}

/// One operation on the screen.
struct Shown {
    task: Option<Task>,
    told: BTreeSet<String>,
}

fn show(shown: &mut BTreeMap<String, Shown>, operation: &Value, progress: &Progress) -> Result<()> {
    let kind = operation["kind"].as_str().unwrap_or("operation");
    let entry = shown
        .entry(text(operation, "id")?)
        .or_insert_with(|| Shown { task: Some(progress.percents(kind)), told: BTreeSet::new() });
    let Some(task) = &mut entry.task else { return Ok(()) };
    for step in operation["steps"].as_array().into_iter().flatten() {
        let (name, state) = (step["name"].as_str().unwrap_or_default(), step["state"].as_str().unwrap_or_default());
        let line = match (state, step["duration_ms"].as_u64()) {
            ("pending", _) => continue,
            ("done", Some(took)) => format!("{name} done ({took} ms)"),
            _ => format!("{name} {state}"),
        };
        if entry.told.insert(format!("{name} {state}")) {
            task.say(&line);
        }
    }
    task.percent(operation["percent"].as_u64().unwrap_or_default());
    if !operation["finished_at"].is_null()
        && let Some(task) = entry.task.take()
    {
        task.done(operation["state"].as_str().unwrap_or("ended"));
    }
    Ok(())
}
