//! Starting an Odoo process: its environment, account, standard streams and process group.

use super::log;
use crate::account::Account;
use crate::directory::conf_path;
use crate::error::{RuntimeError, RuntimeResult};
use crate::workload::Workload;
use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// Starts the launcher with the directory's configuration and `arguments` after it. `lock` becomes its standard input and so lives
/// with it; this process keeps no copy. The log must be open for appending.
pub(super) fn launch(
    workload: &Workload,
    arguments: &[OsString],
    lock: File,
    output: &Path,
    account: Account,
) -> RuntimeResult<Child> {
    let directory = &workload.directory;
    let output = log::open(output)?;
    let second = output.try_clone().map_err(|e| RuntimeError::io("open the log", &e))?;
    let mut command = Command::new(workload.image.as_str());
    command.arg("-c").arg(conf_path(directory)).args(arguments);
    // Odoo obeys PGPASSWORD, PGHOST and others before its own file, and whatever else the worker has is none of its business:
    // the environment is built from nothing. The customer's variables come first, so they replace none of ours.
    command.env_clear();
    command.envs(workload.environment.iter().map(|(name, value)| (name.as_str(), value)));
    command.env("HOME", directory.join("data")).env("PATH", "/usr/local/bin:/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
    command.current_dir(directory.join("data"));
    command.stdin(Stdio::from(lock)).stdout(Stdio::from(output)).stderr(Stdio::from(second));
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
        _ => RuntimeError::io(format!("start {launcher} in {}", directory.display()), &e),
    })
}
