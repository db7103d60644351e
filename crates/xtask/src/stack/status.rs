//! `cargo dev status`: what runs and how to reach it, for people and for programs.

use super::databases::{self, Side};
use super::{Options, Stack, billing, shown};
use crate::odoo;
use anyhow::Result;
use serde_json::{Value, json};
use testkit::pair::PLATFORM_DATABASE;
use testkit::server::SUPERUSER;

/// Prints the state of this checkout's stack.
pub(crate) fn status(options: Options, as_json: bool) -> Result<()> {
    print(&Stack::open(options)?, as_json)
}

pub(super) fn print(stack: &Stack, as_json: bool) -> Result<()> {
    let description = describe(stack)?;
    if as_json {
        println!("{}", serde_json::to_string_pretty(&description)?);
        return Ok(());
    }
    if description["running"] != true {
        println!("not running: start it with cargo dev up");
        return Ok(());
    }
    for key in ["api_url", "docs_url", "worker_health_url", "logs", "mails"] {
        println!("{key:<18} {}", description[key].as_str().unwrap_or_default());
    }
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    for side in Side::BOTH {
        let server = &description["servers"][side.name()];
        let password = text(&server["password_file"]);
        println!("{:<18} psql -h 127.0.0.1 -p {} -U {SUPERUSER} (password in {password})", side.name(), stack.port(side));
    }
    for instance in description["instances"].as_array().into_iter().flatten() {
        println!(
            "{:<18} {} {} login {}",
            "instance",
            text(&instance["url"]),
            text(&instance["status"]),
            text(&instance["login"])
        );
    }
    Ok(())
}

fn describe(stack: &Stack) -> Result<Value> {
    let running = stack.running()?;
    let instances: Vec<Value> = match &running {
        // The API may be the one that does not answer: what else there is to say stays worth saying.
        Some(_) => billing::instances(stack)
            .unwrap_or_default()
            .iter()
            .filter(|row| !row["external_url"].is_null())
            .map(instance)
            .collect(),
        None => Vec::new(),
    };
    Ok(json!({
        "running": running.is_some(),
        "processes": running.unwrap_or_default().iter().map(|process| process.name.clone()).collect::<Vec<_>>(),
        "api_url": stack.api_url(),
        "docs_url": format!("{}/docs", stack.api_url()),
        "worker_health_url": format!("{}/readyz", stack.worker_url()),
        "odoo_versions": [odoo::VERSION],
        "logs": shown(&stack.at("logs")),
        "mails": shown(&stack.mails()),
        "servers": { "postgres1": server(stack, Side::Postgres1)?, "postgres2": server(stack, Side::Postgres2)? },
        "instances": instances,
    }))
}

fn server(stack: &Stack, side: Side) -> Result<Value> {
    Ok(json!({
        "host": "127.0.0.1",
        "port": stack.port(side),
        "user": SUPERUSER,
        "password_file": shown(&stack.secret_file(side.superuser())?),
        "database": if side == Side::Postgres1 { PLATFORM_DATABASE } else { "postgres" },
        "running": databases::is_up(stack, side),
    }))
}

fn instance(row: &Value) -> Value {
    json!({ "id": row["id"], "url": row["external_url"], "login": row["admin_email"], "status": row["status"] })
}
