//! What the suite needs of a driver under test, and the data directories that all stages share.

use async_trait::async_trait;
use domain::ids::{InstanceId, OperationId};
use domain::names::PhysicalName;
use domain::size::{ByteSize, CpuLimit};
use domain::sources::{Entropy, random_uuid};
use domain::version::OdooVersion;
use runtime::account::Account;
use runtime::directory::DataDirectories;
use runtime::{Image, InstanceRuntime, Limits, Owner, Service, TenantDatabase, Turn, Workload};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use testkit::port::Port;

pub const PASSWORD: &str = "a-password-that-must-not-leak";

/// A driver with everything around it.
#[async_trait]
pub trait Stage: Send + Sync {
    /// The driver as a new worker would make it.
    fn runtime(&self) -> Arc<dyn InstanceRuntime>;
    /// The data directories.
    fn ground(&self) -> &Ground;
    /// A version that is installed.
    fn version(&self) -> OdooVersion;
    /// A workload that can run, its directory and database made.
    async fn workload(&self) -> Workload;
    /// Lets the service exit by itself.
    async fn crash(&self, workload: &Workload);
    /// How often a process of the service was started so far.
    async fn starts(&self, workload: &Workload) -> usize;
    /// Runs `ensure` in a process of its own, which then dies by SIGKILL.
    async fn ensure_and_die(&self, workload: &Workload);
    /// Takes away what the driver needs in order to see anything.
    async fn lose_sight(&self);
}

/// Randomness of the system.
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        File::open("/dev/urandom").unwrap().read_exact(bytes).unwrap();
    }
}

/// A root for data directories and what was made on it. Processes that a failed test leaves are ended with it.
pub struct Ground {
    pub place: tempfile::TempDir,
    pub directories: DataDirectories,
    ports: std::sync::Mutex<Vec<Port>>,
}

impl Ground {
    pub fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        // Odoo's account must be able to pass through.
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        let root = place.path().join("instances");
        fs::create_dir(&root).unwrap();
        fs::set_permissions(&root, Permissions::from_mode(0o755)).unwrap();
        let directories = DataDirectories::new(root, Account::named("nobody").unwrap()).unwrap();
        Self { place, directories, ports: std::sync::Mutex::default() }
    }

    /// A workload with a directory and a port of its own.
    pub async fn workload(&self, image: Image, version: OdooVersion) -> Workload {
        let id = PhysicalName::generate("odoo", &SystemEntropy);
        let owner = Owner::Instance(InstanceId::from_uuid(random_uuid(&SystemEntropy)));
        let turn = new_turn();
        let directory = self.directories.path(id.as_str()).unwrap();
        self.directories.create(&directory, owner, turn).await.unwrap();
        let port = Port::reserve().unwrap();
        let number = port.number();
        self.ports.lock().unwrap().push(port);
        Workload {
            service: Service { name: id.as_str().replace('_', "-"), owner },
            turn,
            version,
            image,
            directory,
            database: TenantDatabase {
                host: "127.0.0.1".into(),
                port: 5432,
                name: id.clone(),
                user: id,
                password: SecretString::from(PASSWORD),
                connection_limit: 32,
            },
            port: Some(number),
            limits: Limits { cpu: CpuLimit::new(1.into()).unwrap(), memory: ByteSize::parse("1G").unwrap() },
            base_url: "http://shop.example.org".into(),
            behind_proxy: false,
            demo: false,
            environment: BTreeMap::new(),
        }
    }
}

pub fn new_operation() -> OperationId {
    OperationId::from_uuid(random_uuid(&SystemEntropy))
}

/// The first turn of an operation of its own.
pub fn new_turn() -> Turn {
    Turn { operation: new_operation(), token: 1 }
}

/// The same operation in a later turn.
pub fn later(turn: Turn) -> Turn {
    Turn { token: turn.token + 1, ..turn }
}

/// Waits until a condition holds; fails the test with `what` after a minute.
pub async fn until<F: AsyncFnMut() -> bool>(what: &str, mut holds: F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let place = self.place.path().to_str().unwrap().to_owned();
        for pid in processes_where(|word| word.starts_with(&place)).into_iter().filter_map(Pid::from_raw) {
            let leads = getpgid(Some(pid)) == Ok(pid);
            let ended = if leads { kill_process_group(pid, Signal::KILL) } else { kill_process(pid, Signal::KILL) };
            // It may have ended between the two looks.
            ended.or_else(|e| if e == Errno::SRCH { Ok(()) } else { Err(e) }).unwrap();
        }
    }
}

/// Numbers of the live processes whose argument list names this path.
pub fn processes_with(path: &Path) -> Vec<i32> {
    let wanted = path.to_str().unwrap();
    processes_where(|word| word == wanted)
}

fn processes_where(wanted: impl Fn(&str) -> bool) -> Vec<i32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|b| *b == 0).any(|word| std::str::from_utf8(word).is_ok_and(&wanted))
    })
    .collect()
}
