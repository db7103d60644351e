//! The callers' ends of the fake runtime's socket: the driver, and the control that tests use.

use super::wire::{Counts, Fault, Order, Reply, Request};
use crate::InstanceRuntime;
use crate::error::{RuntimeError, RuntimeResult};
use crate::events::{Cursor, Events};
use crate::observed::{Listed, Observed, OneOffEnd, Readiness};
use crate::workload::{Image, OneOff, Service, Turn, Workload};
use async_trait::async_trait;
use domain::version::OdooVersion;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// How often a reader asks for events.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// The driver that speaks to a fake runtime.
#[derive(Clone, Debug)]
pub struct FakeRuntime {
    socket: PathBuf,
}

/// Scripts faults in a fake runtime and reads its counts.
#[derive(Clone, Debug)]
pub struct FakeControl {
    socket: PathBuf,
}

/// One request and its answer. Dropped before the answer, it closes the connection, and the other side drops the work.
async fn ask<T: DeserializeOwned>(socket: &PathBuf, request: &Request) -> RuntimeResult<T> {
    let talk = async {
        let mut stream = UnixStream::connect(socket).await?;
        let mut text = serde_json::to_vec(request)?;
        text.push(b'\n');
        stream.write_all(&text).await?;
        let mut line = String::new();
        BufReader::new(&mut stream).read_line(&mut line).await?;
        Ok::<_, io::Error>(line)
    };
    let line = talk.await.map_err(|e| RuntimeError::Unreachable(format!("fake runtime: {e}")))?;
    let reply = serde_json::from_str(&line).map_err(|e| RuntimeError::Unreachable(format!("fake runtime: {e}")))?;
    match reply {
        Reply::Done(value) => serde_json::from_value(value).map_err(|e| RuntimeError::Permanent(format!("fake runtime: {e}"))),
        Reply::Failed { class, text } => Err(class.error(text)),
        Reply::NoInstallation { version, looked_for } => {
            Err(RuntimeError::NoInstallation { version: OdooVersion::new(version), looked_for })
        }
    }
}

impl FakeRuntime {
    /// The driver for the runtime behind this socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    async fn ask<T: DeserializeOwned>(&self, request: &Request) -> RuntimeResult<T> {
        ask(&self.socket, request).await
    }
}

#[async_trait]
impl InstanceRuntime for FakeRuntime {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn resolve_image(&self, version: OdooVersion) -> RuntimeResult<Image> {
        self.ask(&Request::ResolveImage { version: version.major() }).await
    }

    async fn free_port(&self, taken: &BTreeSet<u16>) -> RuntimeResult<Option<u16>> {
        self.ask(&Request::FreePort { taken: taken.clone() }).await.map(Some)
    }

    async fn ensure(&self, workload: &Workload) -> RuntimeResult<Observed> {
        self.ask(&Request::Ensure { order: Order::of(workload)? }).await
    }

    async fn observe(&self, service: &Service) -> RuntimeResult<Observed> {
        self.ask(&Request::Observe { service: service.clone() }).await
    }

    async fn ready(&self, workload: &Workload) -> RuntimeResult<Readiness> {
        self.ask(&Request::Ready { service: workload.service.clone() }).await
    }

    async fn stop(&self, service: &Service, turn: Turn, _grace: Duration) -> RuntimeResult<()> {
        self.ask(&Request::Stop { service: service.clone(), turn }).await
    }

    async fn remove(&self, service: &Service, turn: Turn) -> RuntimeResult<()> {
        self.ask(&Request::Remove { service: service.clone(), turn }).await
    }

    async fn logs(&self, service: &Service, lines: usize) -> RuntimeResult<Vec<String>> {
        self.ask(&Request::Logs { service: service.clone(), lines }).await
    }

    async fn events(&self, after: Option<&Cursor>, patience: Duration) -> RuntimeResult<Events> {
        let begin = Instant::now();
        loop {
            let told: Events = self.ask(&Request::Events { after: after.cloned() }).await?;
            if after.is_none() || told.gap || !told.events.is_empty() || begin.elapsed() >= patience {
                return Ok(told);
            }
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    async fn list(&self) -> RuntimeResult<Vec<Listed>> {
        self.ask(&Request::List).await
    }

    async fn run_once(&self, one_off: &OneOff) -> RuntimeResult<OneOffEnd> {
        self.ask(&Request::run_once(one_off)?).await
    }

    async fn warm_assets(&self, workload: &Workload, _login: &str, _password: &SecretString) -> RuntimeResult<usize> {
        self.ask(&Request::WarmAssets { order: Order::of(workload)? }).await
    }
}

impl FakeControl {
    /// The control of the runtime behind this socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Adds a fault behind those that are scripted already.
    pub async fn add_fault(&self, fault: Fault) -> RuntimeResult<()> {
        ask(&self.socket, &Request::AddFault { fault }).await
    }

    /// Drops all scripted faults.
    pub async fn clear_faults(&self) -> RuntimeResult<()> {
        ask(&self.socket, &Request::ClearFaults).await
    }

    /// Faults that have not been used up: a test that scripted one can see that it was hit.
    pub async fn faults_left(&self) -> RuntimeResult<Vec<Fault>> {
        ask(&self.socket, &Request::FaultsLeft).await
    }

    /// Lets a service exit by itself.
    pub async fn crash(&self, service: &str) -> RuntimeResult<()> {
        ask(&self.socket, &Request::Crash { name: service.to_owned() }).await
    }

    /// What happened to a service so far, also when it is gone.
    pub async fn counts(&self, service: &str) -> RuntimeResult<Counts> {
        ask(&self.socket, &Request::Counts { name: service.to_owned() }).await
    }
}
