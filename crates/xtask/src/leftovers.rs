//! Processes that a run left behind.
//!
//! Whoever loses its parent below us becomes our child, whatever it is called and whoever it runs as: so what is left of a
//! run is known for certain, and what belongs to somebody else's run at the same time is not mistaken for it.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, WaitOptions};
use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

/// What tidies up after a test that was killed needs a moment itself.
const PATIENCE: Duration = Duration::from_secs(15);
const GLANCE: Duration = Duration::from_millis(100);

/// Runs a command to its end; whether it succeeded. From now on orphans below us become our children, and what of them ends is
/// buried: a test that waits for a process to be gone must not find its corpse.
pub(crate) fn attend(command: &mut Command) -> Result<bool> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context("cannot adopt orphans")?;
    let mut child = command.spawn().context("cannot run cargo")?;
    let own = i32::try_from(child.id())?;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        bury(own)?;
        std::thread::sleep(GLANCE);
    }
}

/// Takes the exit status of every dead child but this one.
fn bury(own: i32) -> Result<()> {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    for process in processes()?.iter().filter(|process| process.is_dead && process.parent == me && process.pid != own) {
        // One that is not ours to wait for is somebody else's to bury.
        rustix::process::waitpid(Pid::from_raw(process.pid), WaitOptions::NOHANG).ok();
    }
    Ok(())
}

struct Process {
    pid: i32,
    parent: i32,
    is_dead: bool,
}

fn processes() -> Result<Vec<Process>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc").context("cannot list processes")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else { continue };
        // A process may end while we look at it.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((_, fields)) = stat.rsplit_once(") ") else { continue };
        let mut fields = fields.split(' ');
        if let (Some(state), Some(Ok(parent))) = (fields.next(), fields.next().map(str::parse::<i32>)) {
            all.push(Process { pid, parent, is_dead: state == "Z" });
        }
    }
    Ok(all)
}

/// Fails if anything that was started below us is still there, and names it.
pub(crate) fn none() -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = descendants(rustix::process::getpid().as_raw_nonzero().get())?;
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            for (pid, line) in &left {
                eprintln!("left running: {pid} {line}");
            }
            bail!("{} process(es) of the tests are left running", left.len());
        }
        std::thread::sleep(GLANCE);
    }
}

/// Living processes below `ancestor`, with their command lines.
fn descendants(ancestor: i32) -> Result<BTreeMap<i32, String>> {
    let living = processes()?.into_iter().filter(|process| !process.is_dead);
    let parents: BTreeMap<i32, i32> = living.map(|process| (process.pid, process.parent)).collect();
    let is_below = |pid: i32| {
        let mut above = parents.get(&pid);
        while let Some(parent) = above {
            if *parent == ancestor {
                return true;
            }
            above = parents.get(parent);
        }
        false
    };
    let line = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
    Ok(parents.keys().copied().filter(|pid| is_below(*pid)).map(|pid| (pid, line(pid).trim().to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_orphan_is_found_and_its_end_is_seen() {
        assert!(attend(&mut Command::new("true")).unwrap());
        let me = rustix::process::getpid().as_raw_nonzero().get();
        let output = Command::new("sh").args(["-c", "sleep 654 >/dev/null 2>&1 & echo $!"]).output().unwrap();
        let orphan: i32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        // The shell may not have become another program yet, so only its id counts.
        assert!(descendants(me).unwrap().contains_key(&orphan));
        rustix::process::kill_process(rustix::process::Pid::from_raw(orphan).unwrap(), rustix::process::Signal::KILL).unwrap();
        none().unwrap();
    }
}
