//! `instance-admin drift`: what the loops of the workers last found that is not as the rows say.

use crate::failure::Failure;
use crate::operations::connect;
use bootstrap::Environment;
use db::platform::monitor::{self, Report};
use serde_json::Value;

/// The loops that look for drift: at the runtime, and on servers and disks.
const LOOPS: [&str; 2] = ["reconcile", "drift"];

pub(crate) async fn run(environment: &Environment) -> Result<String, Failure> {
    let db = connect(environment)?;
    let mut text = String::new();
    for name in LOOPS {
        match monitor::read(&db, name).await? {
            Some(report) => text.push_str(&shown(name, &report)),
            None => text.push_str(&format!("{name}: no worker has looked yet\n")),
        }
    }
    Ok(text)
}

/// One line for the look, one for each thing that it found.
fn shown(name: &str, report: &Report) -> String {
    let at = report.updated_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let outcome = match report.value["error"].as_str() {
        Some(error) => format!("failed: {error}"),
        None => "done".to_owned(),
    };
    let mut text = format!("{name}  {at}  {outcome}\n");
    for list in ["drift", "orphans", "wrong", "strays", "unreachable"] {
        for item in report.value["report"][list].as_array().into_iter().flatten() {
            text.push_str(&format!("  {}\n", line(list, item)));
        }
    }
    text
}

fn line(list: &str, item: &Value) -> String {
    let of = |field: &str| item[field].as_str().unwrap_or("-").to_owned();
    match list {
        "orphans" => format!("service {} has no row", item.as_str().unwrap_or("-")),
        "unreachable" => format!("server {} could not be asked", item.as_str().unwrap_or("-")),
        "strays" if item["server"].is_string() => format!("{} {} on {} has no row", of("kind"), of("name"), of("server")),
        "strays" => format!("{} {} has no row", of("kind"), of("name")),
        _ if item["instance_id"].is_string() => format!("instance {}: {}", of("instance_id"), of("what")),
        _ => format!("a template: {}", of("what")),
    }
}
