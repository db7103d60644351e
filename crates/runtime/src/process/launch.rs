//! Starting an Odoo process: its environment, account, standard streams and process group.

use super::seat::Seat;
use crate::account::Account;
use crate::error::{RuntimeError, RuntimeResult};
use crate::workload::Workload;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// The arguments around `-c <configuration>`.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    /// Odoo's subcommand; none is its server.
    pub(super) command: Option<&'static str>,
    /// Those after the configuration.
    pub(super) arguments: Vec<OsString>,
}

/// The standard streams of a process.
pub(super) struct Streams {
    /// Becomes its standard input and so lives with it; this process keeps no copy.
    pub(super) lock: File,
    /// Where it writes to, open for appending.
    pub(super) log: File,
    /// Where it prints to, if that is to be told apart.
    pub(super) output: Option<File>,
}

/// Starts the launcher with the seat's configuration.
pub(super) fn launch(
    workload: &Workload,
    seat: &Seat,
    words: &Words,
    streams: Streams,
    account: Account,
) -> RuntimeResult<Child> {
    let output = match streams.output {
        Some(output) => output,
        None => streams.log.try_clone().map_err(|e| RuntimeError::io("open the log", &e))?,
    };
    let mut command = Command::new(workload.image.as_str());
    command.args(words.command).arg("-c").arg(seat.conf()).args(&words.arguments);
    // Odoo obeys PGPASSWORD, PGHOST and others before its own file, and whatever else the worker has is none of its business:
    // the environment is built from nothing. The customer's variables come first, so they replace none of ours.
    command.env_clear();
    command.envs(workload.environment.iter().map(|(name, value)| (name.as_str(), value)));
    command.env("HOME", seat.data()).env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
    command.current_dir(seat.data());
    command.stdin(Stdio::from(streams.lock)).stdout(Stdio::from(output)).stderr(Stdio::from(streams.log));
    // A group of its own: signals for the worker's group do not reach it, and it can be ended with all it started.
    command.process_group(0).kill_on_drop(false);
    if let Account::Other { uid, gid } = account {
        // std drops the supplementary groups of root with it.
        command.uid(uid).gid(gid);
    }
    let launcher = workload.image.as_str();
    command.spawn().map_err(|e| match Path::new(launcher).try_exists() {
        Ok(false) => RuntimeError::NoInstallation { version: workload.version, looked_for: launcher.to_owned() },
        // Also a working directory that may not be entered ends here.
        _ => RuntimeError::io(format!("start {launcher} in {}", seat.data().display()), &e),
    })
}
