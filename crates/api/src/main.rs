//! `instance-api`: the HTTP process. See the crate `api` for what it does.

mod healthcheck;

use anyhow::Context;
use api::doors::InternalDoor;
use api::state::{AppState, Parts, Policy};
use bootstrap::settings::{ApiSettings, SessionSettings, SessionSource};
use bootstrap::{OsEntropy, SystemClock};
use clap::{Parser, Subcommand};
use clients::SessionStore;
use clients::sessions::{RedisAddress, RedisSessions, UserServiceSessions};
use db::platform::{PlatformDb, PoolLimits};
use domain::names::ReservedHosts;
use domain::order::OrderRules;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// HTTP API of the instance service.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the default).
    Serve,
    /// Ask the running process whether it lives; the exit code says.
    Healthcheck,
    /// Print the description of the API.
    Openapi,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command.unwrap_or(Command::Serve)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There may be no log yet; standard error is where supervisors look.
            drop(writeln!(std::io::stderr(), "instance-api: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    if let Command::Openapi = command {
        let text = api::openapi().to_pretty_json().context("the description cannot be written")?;
        return writeln!(std::io::stdout(), "{text}").context("standard output is closed");
    }
    let loaded = ApiSettings::load(&bootstrap::environment::snapshot())?;
    match command {
        Command::Healthcheck => healthcheck::ask(loaded.settings.doors.internal),
        Command::Serve | Command::Openapi => {
            bootstrap::telemetry::init(&loaded.settings.log)?;
            bootstrap::tls::install();
            serve(loaded.announce())
        }
    }
}

fn serve(settings: ApiSettings) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the async runtime cannot start")?;
    runtime.block_on(async {
        let shutdown = bootstrap::shutdown::token().context("signals cannot be handled")?;
        let (internal, public) = (settings.doors.internal, settings.doors.public);
        let state = AppState::new(parts(settings, shutdown)?);
        api::serve::serve(state, internal, public).await
    })
}

/// Where login sessions are looked up; nothing is connected before it is asked.
fn sessions(settings: &SessionSettings) -> anyhow::Result<Arc<dyn SessionStore>> {
    Ok(match settings.source {
        SessionSource::UserService => {
            let http = bootstrap::http::client(clients::users::TIMEOUT)?;
            Arc::new(UserServiceSessions::new(http, settings.user_service.clone()))
        }
        SessionSource::Redis => Arc::new(RedisSessions::new(&RedisAddress {
            host: settings.redis_host.clone(),
            port: settings.redis_port,
            database: settings.redis_database,
            password: settings.redis_password.clone(),
        })?),
    })
}

fn parts(settings: ApiSettings, shutdown: CancellationToken) -> anyhow::Result<Parts> {
    let max_connections = settings.platform.max_connections;
    let limits = PoolLimits { max_connections, readers: max_connections as usize / 2, ..PoolLimits::default() };
    Ok(Parts {
        sessions: sessions(&settings.sessions)?,
        db: PlatformDb::connect_lazy(&settings.platform.endpoint, &limits, "instance-api"),
        policy: Policy {
            cors: settings.doors.cors,
            internal_door: InternalDoor { mode: settings.doors.auth_mode, token: settings.doors.internal_token },
            order: OrderRules {
                supported_versions: settings.versions.supported,
                default_version: settings.versions.default,
                reserved_hosts: ReservedHosts::with(settings.reserved_hostnames),
            },
            delete_brake: settings.delete_brake,
            backup_schedule: settings.backup_schedule,
            transfer: settings.transfer,
            webhook_secret: settings.webhook_secret,
            request_limit: Duration::from_secs(25),
            // 10 GiB at a megabyte a second.
            upload_limit: Duration::from_secs(3 * 3600),
            change_limit: Duration::from_millis(4500),
            logs_wait: Duration::from_secs(10),
            // With the time for accepting it, below the limit of a request.
            reconcile_wait: Duration::from_secs(18),
            longest_stream: Duration::from_secs(300),
        },
        clock: Arc::new(SystemClock),
        entropy: Arc::new(OsEntropy),
        shutdown,
    })
}
