//! The local stack: two PostgreSQL servers, the stand-ins, API, worker, and the Odoos that the worker starts.
//!
//! Owns: `.dev` and every process started for it. Stops exactly those, by id. Leaves to others: what the services do.

mod billing;
mod databases;
mod http;
mod interrupt;
mod prepare;
mod processes;
mod secrets;
mod services;
mod status;
mod up;

use prepare::ODOO_USER;
pub(crate) use prepare::{at_once, build, ensure_odoo, ensure_packages, launcher};
pub(crate) use status::status;
pub(crate) use up::up;

use crate::checkout;
use anyhow::{Context, Result};
use processes::{Processes, Running};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where things are and which ports they take.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Launcher of an Odoo 19 that is already there, `{version}` standing for the 19; otherwise it is installed under .dev
    #[arg(long, env = "INSTANCE_ODOO")]
    pub(crate) odoo: Option<String>,
    /// Directory with PostgreSQL's programs (initdb, postgres, psql); otherwise Debian's
    #[arg(long, env = "INSTANCE_POSTGRES_BIN")]
    pub(crate) postgres_bin: Option<PathBuf>,
    /// Directory for data, logs and passwords; otherwise .dev. Other users must be able to enter it
    #[arg(long, env = "INSTANCE_DEV_DIRECTORY")]
    directory: Option<PathBuf>,
    /// Port of the API
    #[arg(long, env = "INSTANCE_DEV_API_PORT", default_value_t = 8003)]
    api_port: u16,
    /// Port of the worker's health pages
    #[arg(long, env = "INSTANCE_DEV_WORKER_PORT", default_value_t = 8004)]
    worker_port: u16,
    /// Port of the local user service and mail catcher
    #[arg(long, env = "INSTANCE_DEV_SERVICES_PORT", default_value_t = 8005)]
    services_port: u16,
    /// Port of the platform's server
    #[arg(long, env = "INSTANCE_DEV_POSTGRES1_PORT", default_value_t = 54331)]
    postgres1_port: u16,
    /// Port of the Odoo server
    #[arg(long, env = "INSTANCE_DEV_POSTGRES2_PORT", default_value_t = 54332)]
    postgres2_port: u16,
}

/// One checkout's stack.
#[derive(Debug)]
pub(crate) struct Stack {
    dev: PathBuf,
    options: Options,
}

impl Stack {
    pub(crate) fn open(options: Options) -> Result<Self> {
        let dev = match &options.directory {
            Some(directory) => {
                std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
                directory.canonicalize()?
            }
            None => checkout::dev()?,
        };
        Ok(Self { dev, options })
    }

    fn at(&self, part: &str) -> PathBuf {
        self.dev.join(part)
    }

    fn log(&self, name: &str) -> Result<PathBuf> {
        let logs = self.at("logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        Ok(logs.join(format!("{name}.log")))
    }

    /// The data directories of the instances.
    fn instances(&self) -> PathBuf {
        self.at("instances")
    }

    /// The backups.
    fn backups(&self) -> PathBuf {
        self.at("backups")
    }

    fn processes(&self) -> Processes {
        Processes::new(&self.at("processes.json"))
    }

    /// Stops everything that was started for this checkout, the Odoos included; answers how many processes that were.
    fn stop(&self) -> Result<usize> {
        let mut stopped = 0;
        // Those that start others go first.
        let started = self.processes().all()?;
        for process in started.iter().rev() {
            stopped += usize::from(process.stop(Duration::from_secs(70))?);
        }
        let odoos = processes::working_in(&self.instances())?;
        for odoo in &odoos {
            odoo.signal(rustix::process::Signal::TERM)?;
        }
        for odoo in &odoos {
            stopped += usize::from(odoo.stop(Duration::from_secs(20))?);
        }
        stopped += databases::stop(self)?;
        self.processes().forget()?;
        Ok(stopped)
    }

    /// Whether nothing of it has to be started.
    fn is_whole(&self) -> Result<bool> {
        let all = self.processes().all()?;
        let servers = databases::Side::BOTH.iter().all(|side| databases::is_up(self, *side));
        Ok(servers && all.len() == services::COUNT && all.iter().all(Running::is_alive))
    }

    /// The services that run now; `None` when none does.
    fn running(&self) -> Result<Option<Vec<Running>>> {
        let all = self.processes().all()?;
        let alive: Vec<Running> = all.into_iter().filter(Running::is_alive).collect();
        Ok((!alive.is_empty()).then_some(alive))
    }
}

/// `cargo dev down`.
pub(crate) fn down(options: Options) -> Result<()> {
    let stack = Stack::open(options)?;
    match stack.stop()? {
        0 => println!("nothing was running"),
        count => println!("stopped {count} processes; the data are kept (cargo dev reset removes them)"),
    }
    Ok(())
}

/// `cargo dev reset`: as if it had never run, but for the installed Odoo.
pub(crate) fn reset(options: Options) -> Result<()> {
    let stack = Stack::open(options)?;
    stack.stop()?;
    for entry in std::fs::read_dir(&stack.dev)? {
        let entry = entry?;
        if entry.file_name() == "odoo" || entry.file_name() == "tools" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            testkit::seed::remove(&entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    println!("removed databases, instances, mails, logs and passwords; an installed Odoo stays");
    Ok(())
}

/// The path as a setting.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
