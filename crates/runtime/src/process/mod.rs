//! The process driver: one Odoo process per instance on this machine.
//!
//! Owns: starting, finding, stopping and forgetting those processes, and their logs. A process is started detached, in a process
//! group of its own, and survives the worker; the next worker finds it by lock and process table and needs no memory. There is
//! no process between a worker and Odoo. A crash is seen, not repaired: that is for whoever reads `Failed`.
//! Leaves to others: directories (`directory`), configuration text (`odoo_conf`), processor limits (this driver sets none;
//! memory is bounded by Odoo's own limits). All instances share one account, so this driver isolates customers from each other by
//! Odoo's rules only; run it for oneself or for people one trusts. Under systemd the worker's unit needs `KillMode=process`.

mod launch;
pub(crate) mod lock;
mod log;
mod one_off;
mod record;
mod seat;
mod start;
mod stop;
mod table;

use crate::InstanceRuntime;
use crate::directory::DataDirectories;
use crate::error::{RuntimeError, RuntimeResult, blocking};
use crate::events::{Cursor, Events, by_looking};
use crate::observed::{Listed, Observed, OneOffEnd, Readiness};
use crate::odoo_http;
use crate::turn::{Asked, in_turn};
use crate::workload::{Image, OneOff, Service, Turn, Workload};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::sources::Entropy;
use domain::version::OdooVersion;
use record::{Record, Records, Wanted};
use seat::Seat;
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use table::{Members, ProcessTable};

/// How long a service gets to end by itself when it is brought down on the way to something else.
const GRACE: Duration = Duration::from_secs(30);
/// How often a condition is looked at while waiting for it.
const POLL: Duration = Duration::from_millis(25);

/// Settings of the process driver.
#[derive(Clone, Debug)]
pub struct ProcessSettings {
    /// Launcher of each version, `{version}` standing for the major number, e.g. `/opt/odoo-{version}/bin/odoo`.
    pub installations: String,
    /// Host ports for instances.
    pub ports: RangeInclusive<u16>,
}

/// The process driver.
#[derive(Clone)]
pub struct ProcessRuntime {
    settings: Arc<ProcessSettings>,
    directories: DataDirectories,
    records: Records,
    client: reqwest::Client,
    entropy: Arc<dyn Entropy>,
}

impl ProcessRuntime {
    /// The driver for the data directories below one root. The client must not go through a proxy: it talks to this machine.
    pub fn new(
        settings: ProcessSettings,
        directories: DataDirectories,
        client: reqwest::Client,
        entropy: Arc<dyn Entropy>,
    ) -> RuntimeResult<Self> {
        let records = Records::open(directories.root())?;
        Ok(Self { settings: Arc::new(settings), directories, records, client, entropy })
    }

    /// Runs a look at files and processes on a thread that may block.
    async fn look<T: Send + 'static>(&self, look: impl FnOnce(&Self) -> RuntimeResult<T> + Send + 'static) -> RuntimeResult<T> {
        let this = self.clone();
        blocking(move || look(&this)).await
    }

    /// Since when the process of a service runs, if it does.
    async fn runs_since(&self, workload: &Workload) -> RuntimeResult<Option<DateTime<Utc>>> {
        let directory = workload.directory.clone();
        self.look(move |_| Ok(members(&ProcessTable::read()?, &Seat::live(&directory))?.service)).await
    }

    /// Every service, with the beginning of its process; without a look at its port, which nobody should feel who is only watched.
    fn processes(&self) -> RuntimeResult<Vec<(Service, String)>> {
        let (records, table) = (self.records.all()?, ProcessTable::read()?);
        let state = |(name, record): (String, Record)| {
            let state = match (members(&table, &Seat::live(&record.directory))?.service, record.wanted) {
                (Some(since), _) => format!("since {since}"),
                (None, Wanted::Running) => "ended".to_owned(),
                (None, Wanted::Stopped) => "stopped".to_owned(),
            };
            Ok((Service { name, owner: record.owner }, state))
        };
        records.into_iter().map(state).collect()
    }

    /// The same for work that changes something. It enters what it changes, and nothing in it takes long.
    async fn act<T: Send + 'static>(
        &self,
        turn: Turn,
        act: impl FnOnce(&Self, &Asked) -> RuntimeResult<T> + Send + 'static,
    ) -> RuntimeResult<T> {
        let this = self.clone();
        in_turn(turn, move |asked| act(&this, asked)).await
    }
}

/// The live processes that work there.
fn members(table: &ProcessTable, seat: &Seat) -> RuntimeResult<Members> {
    Ok(table.of(&seat.conf(), lock::id(&seat.lock())?))
}

/// What a recorded service is doing, by a process table read just now.
fn state(record: &Record, table: &ProcessTable) -> RuntimeResult<Observed> {
    log::rotate(&log::service_log(&record.directory));
    // The lock is read first: a process that ends between the two looks then still counts as one that is there.
    let free = lock::is_free(&lock::path(&record.directory))?;
    let members = members(table, &Seat::live(&record.directory))?;
    Ok(match (members.service, record.wanted) {
        (Some(since), _) if record.port.is_some_and(accepts) => Observed::Running { since },
        (Some(_), _) => Observed::Starting,
        (None, Wanted::Stopped) => Observed::Stopped,
        // Somebody is between taking the lock and running Odoo.
        (None, Wanted::Running) if !free => Observed::Starting,
        (None, Wanted::Running) => Observed::Failed { reason: log::reason(&record.directory)? },
    })
}

fn not_there() -> Readiness {
    Readiness::NotYet { reason: "its process is not there".to_owned() }
}

/// Whether something on this machine accepts connections on the port.
fn accepts(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
        Ok(_) => true,
        // Only a refusal says that nobody listens; a full queue says the opposite.
        Err(e) => e.kind() != std::io::ErrorKind::ConnectionRefused,
    }
}

/// Whether a service may listen on the port now.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The port that every workload of this driver must have.
fn port_of(workload: &Workload) -> RuntimeResult<u16> {
    workload.port.ok_or_else(|| RuntimeError::Permanent("a workload without a port cannot run as a process".into()))
}

fn base(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

#[async_trait]
impl InstanceRuntime for ProcessRuntime {
    fn name(&self) -> &'static str {
        "process"
    }

    async fn resolve_image(&self, version: OdooVersion) -> RuntimeResult<Image> {
        let launcher = self.settings.installations.replace("{version}", &version.to_string());
        blocking(move || match fs::metadata(&launcher) {
            Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => Ok(Image::new(launcher)),
            _ => Err(RuntimeError::NoInstallation { version, looked_for: launcher }),
        })
        .await
    }

    async fn free_port(&self, taken: &BTreeSet<u16>) -> RuntimeResult<Option<u16>> {
        let (taken, mut at_random) = (taken.clone(), [0; 2]);
        self.entropy.fill(&mut at_random);
        let found = self
            .look(move |this| {
                let ports = this.settings.ports.clone();
                // Others on this machine look as well: from a place that they do not begin at.
                let begin = usize::from(u16::from_le_bytes(at_random)) % ports.len().max(1);
                let mut around = ports.clone().skip(begin).chain(ports.take(begin));
                Ok(around.find(|port| !taken.contains(port) && is_free(*port)))
            })
            .await?;
        found.map(Some).ok_or_else(|| RuntimeError::Transient("every port of the range is taken".into()))
    }

    async fn ensure(&self, workload: &Workload) -> RuntimeResult<Observed> {
        start::ensure(self, workload).await
    }

    async fn observe(&self, service: &Service) -> RuntimeResult<Observed> {
        let service = service.clone();
        self.look(move |this| match this.records.load(&service)? {
            Some(record) => state(&record, &ProcessTable::read()?),
            None => Ok(Observed::Absent),
        })
        .await
    }

    /// Whoever listens on the port may answer: it counts only if our process was there all the time.
    async fn ready(&self, workload: &Workload) -> RuntimeResult<Readiness> {
        let Some(before) = self.runs_since(workload).await? else { return Ok(not_there()) };
        let answer = odoo_http::ready(&self.client, &base(port_of(workload)?)).await;
        Ok(if self.runs_since(workload).await? == Some(before) { answer } else { not_there() })
    }

    async fn stop(&self, service: &Service, turn: Turn, grace: Duration) -> RuntimeResult<()> {
        stop::stop(self, service, turn, grace).await
    }

    async fn remove(&self, service: &Service, turn: Turn) -> RuntimeResult<()> {
        stop::remove(self, service, turn).await
    }

    async fn logs(&self, service: &Service, lines: usize) -> RuntimeResult<Vec<String>> {
        let service = service.clone();
        self.look(move |this| match this.records.load(&service)? {
            Some(record) => log::tail(&log::service_log(&record.directory), lines),
            None => Ok(Vec::new()),
        })
        .await
    }

    /// Nobody but us watches these processes, and none of us has to be there when one ends: what changed is seen by looking.
    async fn events(&self, after: Option<&Cursor>, patience: Duration) -> RuntimeResult<Events> {
        by_looking(after, patience, || self.look(Self::processes)).await
    }

    async fn list(&self) -> RuntimeResult<Vec<Listed>> {
        self.look(|this| {
            let (records, table) = (this.records.all()?, ProcessTable::read()?);
            let listed = |(name, record): (String, Record)| {
                let observed = state(&record, &table)?;
                let Record { owner, operation, image, directory, .. } = record;
                Ok(Listed { name, owner, operation, image, directory, observed })
            };
            records.into_iter().map(listed).collect()
        })
        .await
    }

    async fn run_once(&self, one_off: &OneOff) -> RuntimeResult<OneOffEnd> {
        one_off::run(self, one_off).await
    }

    async fn warm_assets(&self, workload: &Workload, login: &str, password: &SecretString) -> RuntimeResult<usize> {
        let base = base(port_of(workload)?);
        odoo_http::warm(&self.client, &base, workload, login, password).await
    }
}
