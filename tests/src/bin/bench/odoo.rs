//! Odoo without us: a bare boot on a prepared database, and a full initialisation.

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use stories::until;
use testkit::installation::Account;

/// Odoo as the benchmark starts it: same launcher, user, configuration and clean environment as the service's.
pub(crate) struct Bare<'a> {
    pub(crate) launcher: &'a str,
    pub(crate) user: &'a str,
}

impl Bare<'_> {
    /// From the start of the process until login page and one of its assets answer.
    pub(crate) fn boot(&self, instance: &Path, port: &str) -> Result<Duration> {
        let configuration = instance.join("conf/odoo.conf");
        let begin = Instant::now();
        let mut child = self.spawn(instance, &["-c", &configuration.display().to_string()])?;
        let ready = until_ready(&mut child, &format!("http://127.0.0.1:{port}"));
        let took = begin.elapsed();
        stop(&mut child)?;
        ready.map(|()| took)
    }

    /// `-i base` into the empty database that the configuration names.
    pub(crate) fn initialise(&self, home: &Path, arguments: &[&str]) -> Result<Duration> {
        let begin = Instant::now();
        let status = self.spawn(home, arguments)?.wait()?;
        ensure!(status.success(), "the initialisation ended with {status}");
        Ok(begin.elapsed())
    }

    fn spawn(&self, home: &Path, arguments: &[&str]) -> Result<Child> {
        let mut command = Command::new(self.launcher);
        command
            .args(arguments)
            .env_clear()
            .envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LC_ALL", "C.UTF-8")])
            .env("HOME", home.join("data"))
            .current_dir(home.join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        if rustix::process::geteuid().is_root() {
            let account = Account::named(self.user)?.with_context(|| format!("no user {}", self.user))?;
            command.uid(account.uid).gid(account.gid);
        }
        command.spawn().with_context(|| format!("cannot start {}", self.launcher))
    }
}

fn until_ready(child: &mut Child, base: &str) -> Result<()> {
    until(Duration::from_secs(120), "Odoo's login page and an asset", || {
        if let Some(status) = child.try_wait()? {
            bail!("Odoo ended with {status}");
        }
        Ok(asset_answers(base).unwrap_or(false).then_some(()))
    })
}

fn asset_answers(base: &str) -> Result<bool> {
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(60))).build().into();
    let page = agent.get(format!("{base}/web/login")).call()?.body_mut().read_to_string()?;
    let asset = page.split('"').find(|part| part.starts_with("/web/assets/")).context("no asset named")?;
    Ok(agent.get(format!("{base}{asset}")).call()?.status() == 200)
}

fn stop(child: &mut Child) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(child.id())?).context("no pid")?;
    kill_process_group(pid, Signal::KILL)?;
    child.wait()?;
    Ok(())
}
