//! `instance-admin servers`.

use crate::failure::Failure;
use crate::operations::connect;
use bootstrap::Environment;
use clap::Subcommand;
use db::platform::servers::{self, ServerRecord};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists the registered Odoo servers, and where they are not as the bootstrap script left them.
    List,
}

pub(crate) async fn run(command: Command, environment: &Environment) -> Result<String, Failure> {
    let db = connect(environment)?;
    match command {
        Command::List => Ok(servers::list(&db).await?.iter().map(line).collect()),
    }
}

fn line(server: &ServerRecord) -> String {
    let health = match (server.health.healthy, &server.health.error) {
        (None, _) => "not probed".to_owned(),
        (Some(true), _) => "healthy".to_owned(),
        (Some(false), error) => format!("not healthy: {}", error.as_deref().unwrap_or("no reason given")),
    };
    let shared = if server.separated { "" } else { "  not separated from postgres1" };
    let deviations = server.health.deviations.as_array().into_iter().flatten().filter_map(|words| words.as_str());
    let deviations: String = deviations.map(|words| format!("    deviates: {words}\n")).collect();
    format!(
        "{}  {}:{}  {}  {}  {}/{} instances  {health}{shared}\n{deviations}",
        server.name,
        server.address.admin_host,
        server.address.admin_port,
        server.state,
        server.tier,
        server.instances,
        server.capacity,
    )
}
