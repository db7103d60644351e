//! `cargo dev up`: from a bare machine to an Odoo login page, and back on Ctrl-C.

use super::billing::{self, Ready};
use super::databases::{self, Side};
use super::interrupt::Interrupt;
use super::prepare::{at_once, build, ensure_odoo, ensure_packages};
use super::status;
use super::{Options, Stack};
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

/// As the tests build it: another set of packages or features would build most of the tree again.
const BUILD: [&str; 4] = ["build", "--workspace", "--all-features", "--bins"];
/// As long as anybody may want to look at it.
const STAYS: Duration = Duration::from_secs(365 * 24 * 3600);

/// Starts everything. Stays until Ctrl-C and stops it again, or, with `detach`, returns and leaves it running.
pub(crate) fn up(options: Options, detach: bool) -> Result<()> {
    let stack = Stack::open(options)?;
    let lock = File::create(stack.at("lock"))?;
    lock.try_lock().context("another `cargo dev up` is at work in this checkout: stop it with Ctrl-C or cargo dev down")?;
    if stack.is_whole()? {
        println!("it runs already; cargo dev down stops it");
        return status::print(&stack, false);
    }
    let interrupt = Interrupt::watch()?;
    // Of a start that was killed, or whose services died.
    stack.stop()?;
    stack.check_ports()?;
    let progress = Progress::new();
    let started = prepare(&stack, &progress).and_then(|odoos| start(&stack, &odoos, &interrupt, &progress));
    let ready = match started {
        Ok(ready) => ready,
        Err(error) => {
            if let Err(left) = stack.stop() {
                eprintln!("not everything that had been started could be stopped: {left:#}");
            }
            return Err(error);
        }
    };
    stack.tell(&ready, detach);
    if detach {
        return Ok(());
    }
    let end = stack.stay(&interrupt);
    eprintln!("stopping");
    stack.stop()?;
    end
}

fn prepare(stack: &Stack, progress: &Progress) -> Result<String> {
    let (build_log, packages_log, odoo_log) = (stack.log("build")?, stack.log("packages")?, stack.log("odoo-install")?);
    let ((), odoos) = at_once(
        || build(&BUILD, &build_log, progress),
        || {
            ensure_packages(&stack.options, &[], &packages_log, progress)?;
            let (odoos, ()) = at_once(|| ensure_odoo(&stack.options, &odoo_log, progress), || servers(stack, progress))?;
            Ok(odoos)
        },
    )?;
    Ok(odoos)
}

fn servers(stack: &Stack, progress: &Progress) -> Result<()> {
    let mut task = progress.task("servers");
    for side in Side::BOTH {
        task.say(&format!("starting {}", side.name()));
        databases::start(stack, side)?;
    }
    task.done(&format!("postgres1 on port {}, postgres2 on port {}", stack.port(Side::Postgres1), stack.port(Side::Postgres2)));
    Ok(())
}

fn start(stack: &Stack, odoos: &str, interrupt: &Interrupt, progress: &Progress) -> Result<Ready> {
    let mut task = progress.task("services");
    task.say("bringing the schema up to date");
    stack.migrate()?;
    stack.start_services(odoos, interrupt, &mut task)?;
    task.done("user service, mail catcher, API and worker are ready");
    billing::instance(stack, interrupt, progress)
}

impl Stack {
    fn check_ports(&self) -> Result<()> {
        let options = &self.options;
        for (port, flag) in [
            (options.api_port, "--api-port"),
            (options.worker_port, "--worker-port"),
            (options.services_port, "--services-port"),
            (options.postgres1_port, "--postgres1-port"),
            (options.postgres2_port, "--postgres2-port"),
        ] {
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
                bail!("port {port} is taken: choose another one with {flag}");
            }
        }
        Ok(())
    }

    fn tell(&self, ready: &Ready, detached: bool) {
        println!();
        println!("  Odoo      {}", ready.url);
        println!("  login     {}", ready.login);
        println!("  password  {}", ready.password);
        println!("  API       {} (described at {0}/docs)", self.api_url());
        println!("  logs      {}", self.at("logs").display());
        println!("  mails     {}", self.mails().display());
        println!();
        println!("{}", if detached { "cargo dev down stops everything." } else { "Ctrl-C stops everything." });
    }

    /// Until somebody interrupts, or one of the services dies.
    fn stay(&self, interrupt: &Interrupt) -> Result<()> {
        let processes = self.processes();
        let died = interrupt.wait("the end", STAYS, || {
            let all = processes.all()?;
            // `down` from another terminal leaves none of them.
            Ok(all
                .iter()
                .find(|process| !process.is_alive())
                .map(|process| process.name.clone())
                .or(all.is_empty().then(String::new)))
        });
        match died {
            Ok(name) if !name.is_empty() && !processes.all()?.is_empty() => {
                bail!("{name} ended by itself: see {}", self.log(&name)?.display())
            }
            Ok(_) => Ok(()),
            Err(_) if interrupt.came() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
