//! `instance-fake-runtime`: the fake runtime as a process of its own, for tests and builds with fault points.

use clap::Parser;
use domain::version::OdooVersion;
use runtime::account::Account;
use runtime::directory::DataDirectories;
use runtime::fake::{ServerSettings, serve};
use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use tokio::net::UnixListener;
use tracing_subscriber::EnvFilter;

/// A runtime without Odoo.
#[derive(Parser)]
struct Arguments {
    /// Socket to listen on; a socket left behind by an earlier process is replaced.
    #[arg(long)]
    socket: PathBuf,
    /// Root of the data directories.
    #[arg(long)]
    root: PathBuf,
    /// Owner of the data when run as root.
    #[arg(long)]
    user: Option<String>,
    /// Versions that count as installed.
    #[arg(long, value_delimiter = ',', default_value = "16,17,18,19")]
    versions: Vec<u16>,
    /// First port to hand out.
    #[arg(long, default_value_t = 20000)]
    first_port: u16,
    /// Last port to hand out.
    #[arg(long, default_value_t = 29999)]
    last_port: u16,
    /// The psql that fills databases.
    #[arg(long, default_value = "psql")]
    psql: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter(EnvFilter::new("info")).with_writer(io::stderr).init();
    let arguments = Arguments::parse();
    match std::fs::remove_file(&arguments.socket) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    let account = arguments.user.as_deref().map_or(Ok(Account::Own), Account::named)?;
    let settings = ServerSettings {
        directories: DataDirectories::new(arguments.root, account)?,
        versions: arguments.versions.into_iter().map(OdooVersion::new).collect(),
        ports: arguments.first_port..=arguments.last_port,
        psql: arguments.psql,
    };
    let listener = UnixListener::bind(&arguments.socket)?;
    tracing::info!(socket = %arguments.socket.display(), "fake runtime listens");
    serve(listener, settings).await?;
    Ok(())
}
