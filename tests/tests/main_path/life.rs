//! A customer's instance through what billing does to it: a debt and its payment, a larger plan, a cancellation and a return. The data is
//! the same throughout, and so is the address.

use crate::{Hosted, LIMIT, footprint, the_login_page_is_served_with_its_assets, the_mailed_login_works_and_no_other};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use stories::{Stack, until};

const NOTE: &str = "Customer of the first hour";

pub(crate) fn is_lived(stack: &Stack, hosted: &Hosted) -> Result<()> {
    let url = stack.instance(&hosted.id)?["external_url"].clone();
    let partner = written(hosted)?;
    suspended_until_it_is_paid(stack, hosted)?;
    larger_without_being_asked_to_stop(stack, hosted)?;
    stopped_and_started(stack, hosted)?;
    cancelled_and_back(stack, hosted)?;
    the_login_page_is_served_with_its_assets(hosted)?;
    the_mailed_login_works_and_no_other(hosted)?;
    ensure!(read(hosted, &partner)? == NOTE, "what was written is gone");
    let shown = stack.instance(&hosted.id)?;
    ensure!(shown["external_url"] == url, "another address: {shown:#}");
    Ok(())
}

fn written(hosted: &Hosted) -> Result<Value> {
    let user = hosted.odoo().authenticate(hosted.admin_email()?, &hosted.admin_password)?.context("no login")?;
    let values = json!([{ "name": NOTE }]);
    hosted.odoo().execute(user, &hosted.admin_password, "res.partner", "create", &values)
}

fn read(hosted: &Hosted, partner: &Value) -> Result<String> {
    let user = hosted.odoo().authenticate(hosted.admin_email()?, &hosted.admin_password)?.context("no login")?;
    let rows = hosted.odoo().execute(user, &hosted.admin_password, "res.partner", "read", &json!([[partner], ["name"]]))?;
    Ok(rows[0]["name"].as_str().unwrap_or_default().to_owned())
}

fn is(stack: &Stack, hosted: &Hosted, status: &str) -> Result<()> {
    let shown = stack.instance(&hosted.id)?;
    ensure!(shown["status"] == status, "not {status}: {shown:#}");
    Ok(())
}

/// Payment failed; paid; running by itself, though nobody sends a start.
fn suspended_until_it_is_paid(stack: &Stack, hosted: &Hosted) -> Result<()> {
    let path = format!("/api/v1/instances/{}/actions", hosted.id);
    let body = json!({ "action": "suspend", "parameters": { "reason": "Payment failed for invoice 41" } });
    let operation = stack.post(&path, &body)?.expect(200)?.text("job_id")?;
    is(stack, hosted, "paused")?;
    stack.await_success(&operation, LIMIT)?;
    ensure!(footprint::processes_of(&hosted.place)?.is_empty(), "Odoo still runs");
    ensure!(stack.post(&path, &json!({ "action": "start" }))?.status == 402, "started for free");
    stack.note_billing(&hosted.id, "paid")?;
    until(LIMIT, "an instance that runs again", || Ok((stack.instance(&hosted.id)?["status"] == "running").then_some(())))?;
    the_login_page_is_served_with_its_assets(hosted)
}

fn larger_without_being_asked_to_stop(stack: &Stack, hosted: &Hosted) -> Result<()> {
    let conf = || std::fs::read_to_string(hosted.place.directory.join("conf/odoo.conf"));
    let before = conf()?;
    stack.await_success(&stack.resize(&hosted.id, "4G")?, LIMIT)?;
    is(stack, hosted, "running")?;
    ensure!(conf()? != before, "its limits are the old ones");
    let pending = format!("SELECT resources_pending FROM public.instances WHERE id = '{}'", hosted.id);
    ensure!(stack.platform_sql(&pending)? == "f", "they are still to come");
    Ok(())
}

fn stopped_and_started(stack: &Stack, hosted: &Hosted) -> Result<()> {
    stack.await_success(&stack.act(&hosted.id, "stop")?, LIMIT)?;
    is(stack, hosted, "stopped")?;
    ensure!(hosted.odoo().login_page().is_err(), "the page is still served");
    stack.await_success(&stack.act(&hosted.id, "start")?, LIMIT)?;
    is(stack, hosted, "running")
}

fn cancelled_and_back(stack: &Stack, hosted: &Hosted) -> Result<()> {
    stack.await_success(&stack.terminate(&hosted.id)?, LIMIT)?;
    is(stack, hosted, "terminated")?;
    stack.await_success(&stack.reactivate(&hosted.id)?, LIMIT)?;
    is(stack, hosted, "running")
}
