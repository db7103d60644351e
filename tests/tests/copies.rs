//! Updates, ways back, proofs and copies on real Odoo: what a customer and whoever runs the platform see of them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;
use stories::odoo::Odoo;
use stories::{Order, Stack, StackOptions, real_odoo, until, uuid};

/// A template has to be built in it, on a machine that may be busy with other tests.
const BUILD: Duration = Duration::from_secs(300);
const LIMIT: Duration = Duration::from_secs(180);

struct Hosted {
    id: String,
    order: Order,
    odoo: Odoo,
    email: String,
    password: String,
}

impl Hosted {
    fn ask(&self, model: &str, method: &str, arguments: Value) -> Result<Value> {
        let user = self.odoo.authenticate(&self.email, &self.password)?.context("no login")?;
        self.odoo.execute(user, &self.password, model, method, &arguments)
    }

    fn state_of(&self, module: &str) -> Result<Value> {
        let found = self.ask("ir.module.module", "search_read", json!([[["name", "=", module]], ["state"]]))?;
        Ok(found[0]["state"].clone())
    }
}

#[test]
#[ignore = "needs real Odoo: run `cargo dev test`, which brings it"]
fn real_odoo_updates_and_copies() -> Result<()> {
    let runtime = real_odoo()?.context("INSTANCE_TEST_ODOO names no Odoo: run `cargo dev test`, which brings one")?;
    let stack = Stack::start(&StackOptions { runtime, ..StackOptions::default() })?;
    let shop = hosted(&stack)?;
    let partner = shop.ask("res.partner", "create", json!([{ "name": "Before the update" }]))?;

    an_update_installs_and_can_be_taken_back(&stack, &shop, &partner)?;
    a_backup_is_proven(&stack, &shop)?;
    a_copy_does_no_harm(&stack, &shop, &partner)?;

    stack.await_success(&stack.remove(&shop.id)?, LIMIT)?;
    let kept = stack.get(&format!("/api/v1/instances/{}/backups", shop.id))?.expect(200)?.body;
    ensure!(kept["backups"][0]["status"] == "completed", "no last backup: {kept:#}");
    Ok(())
}

fn hosted(stack: &Stack) -> Result<Hosted> {
    let order = stack.order("shop")?;
    let (id, operation) = stack.provision(&order)?;
    stack.await_success(&operation, BUILD)?;
    let shown = stack.instance(&id)?;
    let mail = until(LIMIT, "the mail with the login", || {
        let about = |mail: &Value| mail["template_variables"]["instance_url"] == shown["external_url"];
        Ok(stack.services.mails()?.into_iter().filter(|mail| mail["template_name"] == "instance_ready").find(about))
    })?;
    let text = |value: &Value| value.as_str().map(str::to_owned).context("no text");
    Ok(Hosted {
        odoo: Odoo::at(&text(&shown["external_url"])?, &stack.place(&id)?.database),
        email: text(&order.body()["admin_email"])?,
        password: text(&mail["template_variables"]["admin_password"])?,
        order,
        id,
    })
}

fn an_update_installs_and_can_be_taken_back(stack: &Stack, shop: &Hosted, partner: &Value) -> Result<()> {
    ensure!(shop.state_of("contacts")? == "uninstalled");
    let body = json!({ "action": "update", "parameters": { "version": "19", "modules": ["base", "contacts"] } });
    let asked = stack.post(&format!("/api/v1/instances/{}/actions", shop.id), &body)?.expect(200)?;
    ensure!(stack.instance(&shop.id)?["status"] == "updating");
    let ended = stack.await_success(&asked.text("job_id")?, LIMIT)?;
    let (updated, installed) = (&ended["result"]["updated"], &ended["result"]["installed"]);
    ensure!(*updated == json!(["base"]) && *installed == json!(["contacts"]), "{ended:#}");
    ensure!(shop.state_of("contacts")? == "installed");
    let read = shop.ask("res.partner", "read", json!([[partner], ["name"]]))?;
    ensure!(read[0]["name"] == "Before the update", "{read}");

    let back = stack.post(&format!("/api/v1/instances/{}/undo-restore", shop.id), &json!({}))?.expect(200)?;
    stack.await_success(&back.text("job_id")?, LIMIT)?;
    ensure!(shop.state_of("contacts")? == "uninstalled", "the update was not taken back");
    let read = shop.ask("res.partner", "read", json!([[partner], ["name"]]))?;
    ensure!(read[0]["name"] == "Before the update", "{read}");
    Ok(())
}

fn a_backup_is_proven(stack: &Stack, shop: &Hosted) -> Result<()> {
    let backup = stack.backups(&shop.id)?.into_iter().next().context("the update has left no backup")?;
    let asked = stack.post(&format!("/api/v1/backups/{backup}/verify"), &json!({ "restore": true }))?.expect(200)?;
    stack.await_success(&asked.text("job_id")?, LIMIT)?;
    let shown = stack.get(&format!("/api/v1/backups/{backup}"))?.expect(200)?.body;
    ensure!(shown["proven_at"].is_string() && shown["verified_at"].is_string(), "{shown:#}");
    ensure!(shown["modules"]["base"].is_string() && shown["rows"]["res_users"].is_u64(), "{shown:#}");
    Ok(())
}

fn a_copy_does_no_harm(stack: &Stack, shop: &Hosted, partner: &Value) -> Result<()> {
    shop.ask("ir.mail_server", "create", json!([{ "name": "Outgoing", "smtp_host": "mail.shop.example" }]))?;
    let body = json!({
        "name": "Staging", "database_name": "staging", "customer_id": shop.order.body()["customer_id"], "subscription_id": uuid()?,
    });
    let copy = stack.post(&format!("/api/v1/instances/{}/clone", shop.id), &body)?.expect(201)?;
    let id = copy.text("id")?;
    stack.await_success(&copy.text("operation_id")?, LIMIT)?;
    let shown = stack.instance(&id)?;
    ensure!(shown["status"] == "running" && shown["instance_type"] == "staging", "{shown:#}");
    let staging = Hosted {
        odoo: Odoo::at(shown["external_url"].as_str().context("no address")?, &stack.place(&id)?.database),
        email: shop.email.clone(),
        password: shop.password.clone(),
        order: stack.order("none")?,
        id,
    };
    ensure!(!staging.odoo.login_page()?.is_empty());
    let read = staging.ask("res.partner", "read", json!([[partner], ["name"]]))?;
    ensure!(read[0]["name"] == "Before the update", "{read}");
    let parameter = |of: &Hosted, key: &str| of.ask("ir.config_parameter", "get_param", json!([key]));
    ensure!(parameter(&staging, "database.is_neutralized")? != json!(false), "the copy is not neutralised");
    ensure!(parameter(&staging, "database.uuid")? != parameter(shop, "database.uuid")?, "one identity for two");
    ensure!(parameter(&staging, "web.base.url")? == shown["external_url"]);
    let live = staging.ask("ir.mail_server", "search_count", json!([[["smtp_host", "!=", "invalid"], ["active", "=", true]]]))?;
    ensure!(live == 0, "{live} mail servers are live in the copy");
    stack.await_success(&stack.remove(&staging.id)?, LIMIT).map(drop)
}
