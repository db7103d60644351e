//! The process table, read from `/proc`: which processes belong to a data directory.
//!
//! A process belongs to it if its standard input is the directory's lock file, or if it is in the process group of one that is.
//! Where the kernel hides other users' open files even from root (a container without SYS_PTRACE), the argument list decides.
//! Nothing is remembered between looks, so a pid that was used again cannot be mistaken for ours.

use super::lock::FileId;
use crate::error::{RuntimeError, RuntimeResult};
use chrono::{DateTime, Utc};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[derive(Debug)]
struct Process {
    pid: i32,
    group: i32,
    started: u64,
    arguments: Vec<Vec<u8>>,
    stdin: Stdin,
}

#[derive(Debug, PartialEq, Eq)]
enum Stdin {
    File(FileId),
    Hidden,
    None,
}

/// All live processes at one moment. Zombies are not live.
#[derive(Debug)]
pub(super) struct ProcessTable {
    processes: Vec<Process>,
    boot: u64,
}

/// What a process of a directory does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Service,
    OneOff,
    /// A child of one of the two, or one that is just being started.
    Other,
}

/// The live processes of one directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    /// Their process groups.
    pub(super) groups: BTreeSet<i32>,
    /// When the service's process began, if there is one.
    pub(super) service: Option<DateTime<Utc>>,
    /// Whether something is among them that nobody waits for: a one-off run, or children of a process that is gone.
    pub(super) leftover: bool,
}

impl Members {
    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }
}

impl ProcessTable {
    /// Reads the table as it is now.
    pub(super) fn read() -> RuntimeResult<Self> {
        let unreadable = |e: io::Error| RuntimeError::Unreachable(format!("read /proc: {e}"));
        let stat = fs::read_to_string("/proc/stat").map_err(unreadable)?;
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or(0);
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc").map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let pid = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // One that ends while we look is gone, which is what we would have seen a moment later.
            processes.extend(pid.and_then(|pid| Process::read(pid, &entry.path())));
        }
        Ok(Self { processes, boot })
    }

    /// The processes of the directory with this configuration file and lock.
    pub(super) fn of(&self, conf: &Path, lock: Option<FileId>) -> Members {
        let ours = |p: &Process| p.is_marked(conf, lock);
        // Between fork and exec a child of a worker already has the lock, but is still in the worker's group. A group is ours
        // only if its leader is, or is gone.
        let led_by_ours = |group: i32| self.processes.iter().find(|p| p.pid == group).is_none_or(ours);
        let mut members = Members::default();
        for process in self.processes.iter().filter(|p| ours(p) && p.group > 1 && led_by_ours(p.group)) {
            members.groups.insert(process.group);
            match process.role(conf) {
                Role::Service => members.service = Some(self.time(process.started)),
                Role::OneOff => members.leftover = true,
                // Its leader is ours, or is gone; one that is just being started leads its own group already.
                Role::Other => members.leftover |= !self.processes.iter().any(|p| p.pid == process.group),
            }
        }
        members
    }

    fn time(&self, ticks: u64) -> DateTime<Utc> {
        let seconds = self.boot + ticks / rustix::param::clock_ticks_per_second().max(1);
        i64::try_from(seconds).ok().and_then(|s| DateTime::from_timestamp(s, 0)).unwrap_or_default()
    }
}

/// Processes that have a lock open anywhere, workers excepted: those only look at it, or are about to start something. What a
/// tenant's code forked may have moved the lock away from its standard input, or have lost its first thread.
pub(super) fn holders(lock: Option<FileId>) -> Vec<i32> {
    let ours = fs::metadata("/proc/self/exe").map(|exe| (exe.dev(), exe.ino())).ok();
    let numbers =
        fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_worker = |pid: &i32| {
        let exe = fs::metadata(format!("/proc/{pid}/exe")).map(|exe| (exe.dev(), exe.ino())).ok();
        exe.is_some() && exe == ours
    };
    let has_open = |pid: &i32| {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        let open = threads.flat_map(|thread| fs::read_dir(thread.path().join("fd")).into_iter().flatten().flatten());
        open.filter_map(|file| fs::metadata(file.path()).ok()).any(|file| Some((file.dev(), file.ino())) == lock)
    };
    if lock.is_none() {
        return Vec::new();
    }
    numbers.filter(|pid| !is_worker(pid) && has_open(pid)).collect()
}

impl Process {
    fn read(pid: i32, place: &Path) -> Option<Self> {
        let stat = fs::read_to_string(place.join("stat")).ok()?;
        // The command name in parentheses may hold anything, so count from the last one.
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        let line = fs::read(place.join("cmdline")).ok()?;
        let stdin = match fs::metadata(place.join("fd/0")) {
            Ok(file) => Stdin::File((file.dev(), file.ino())),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Stdin::Hidden,
            Err(_) => Stdin::None,
        };
        Some(Self {
            pid,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            arguments: line.strip_suffix(b"\0").unwrap_or(&line).split(|b| *b == 0).map(<[u8]>::to_vec).collect(),
            stdin,
        })
    }

    fn is_marked(&self, conf: &Path, lock: Option<FileId>) -> bool {
        match &self.stdin {
            Stdin::File(file) => Some(*file) == lock,
            Stdin::Hidden => self.role(conf) != Role::Other,
            Stdin::None => false,
        }
    }

    /// `... -c <conf>` is the service, `... -c <conf> <more>` a one-off run.
    fn role(&self, conf: &Path) -> Role {
        let conf = conf.as_os_str().as_bytes();
        let position = self.arguments.windows(2).position(|pair| pair[0] == b"-c" && pair[1] == conf);
        match position {
            Some(at) if at + 2 == self.arguments.len() => Role::Service,
            Some(_) => Role::OneOff,
            None => Role::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: FileId = (7, 42);

    fn process(pid: i32, group: i32, line: &str, stdin: Stdin) -> Process {
        let arguments = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        Process { pid, group, started: 100, arguments, stdin }
    }

    fn members(processes: Vec<Process>) -> Members {
        ProcessTable { processes, boot: 1_000 }.of(Path::new("/i/a/conf/odoo.conf"), Some(LOCK))
    }

    #[test]
    fn a_service_is_known_by_its_lock_and_arguments() {
        let found = members(vec![
            process(10, 10, "python odoo -c /i/a/conf/odoo.conf", Stdin::File(LOCK)),
            process(20, 20, "python odoo -c /i/b/conf/odoo.conf", Stdin::File((7, 43))),
            process(30, 30, "grep -c /i/a/conf/odoo.conf", Stdin::None),
        ]);
        assert_eq!(found.groups, BTreeSet::from([10]));
        assert!(found.service.is_some() && !found.leftover);
    }

    #[test]
    fn a_one_off_run_is_not_the_service() {
        let found = members(vec![process(10, 10, "odoo -c /i/a/conf/odoo.conf -i base --stop-after-init", Stdin::File(LOCK))]);
        assert!(found.leftover && found.service.is_none());
    }

    #[test]
    fn a_worker_that_is_just_forking_is_never_a_member() {
        let found =
            members(vec![process(5, 5, "instance-worker", Stdin::None), process(10, 5, "instance-worker", Stdin::File(LOCK))]);
        assert!(found.is_empty());
    }

    #[test]
    fn children_whose_leader_is_gone_are_members() {
        let found = members(vec![process(11, 10, "wkhtmltopdf", Stdin::File(LOCK))]);
        assert_eq!(found, Members { groups: BTreeSet::from([10]), service: None, leftover: true });
    }

    #[test]
    fn arguments_decide_where_open_files_are_hidden() {
        let found = members(vec![
            process(10, 10, "python odoo -c /i/a/conf/odoo.conf", Stdin::Hidden),
            process(20, 20, "bash", Stdin::Hidden),
        ]);
        assert_eq!(found.groups, BTreeSet::from([10]));
    }
}
