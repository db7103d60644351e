//! The fake runtime's process: a socket, one request per connection.

use super::files::Seat;
use super::one_off;
use super::state::State;
use super::wire::{Effect, Order, Reply, Request};
use crate::account::Account;
use crate::directory::{DataDirectories, Place};
use crate::error::{RuntimeError, RuntimeResult};
use crate::observed::{Observed, OneOffEnd, Readiness};
use crate::workload::{Files, Image, Service, Task};
use domain::version::OdooVersion;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// Settings of the fake runtime's process.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// Data directories; a service cannot start without its own.
    pub directories: DataDirectories,
    /// Versions that count as installed.
    pub versions: Vec<OdooVersion>,
    /// Ports to hand out.
    pub ports: RangeInclusive<u16>,
    /// The `psql` that fills databases.
    pub psql: PathBuf,
}

#[derive(Clone)]
struct Server {
    settings: Arc<ServerSettings>,
    state: Arc<Mutex<State>>,
}

/// Serves until the task is dropped.
pub async fn serve(listener: UnixListener, settings: ServerSettings) -> std::io::Result<()> {
    let server = Server { settings: Arc::new(settings), state: Arc::default() };
    loop {
        let (stream, _) = listener.accept().await?;
        let server = server.clone();
        tokio::spawn(async move {
            if let Err(error) = server.converse(stream).await {
                tracing::debug!(%error, "a caller went away");
            }
        });
    }
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a request and answers it. A caller that goes away before the answer takes unfinished work with it.
    async fn converse(&self, mut stream: UnixStream) -> std::io::Result<()> {
        let (reader, mut writer) = stream.split();
        let mut reader = BufReader::new(reader);
        let mut line = String::new();
        reader.read_line(&mut line).await?;
        let request: Request = serde_json::from_str(&line)?;
        let mut rest = [0_u8; 1];
        tokio::select! {
            reply = self.answer(request) => {
                let mut text = serde_json::to_vec(&reply)?;
                text.push(b'\n');
                writer.write_all(&text).await
            }
            end = reader.read(&mut rest) => end.map(drop),
        }
    }

    async fn answer(&self, request: Request) -> Reply {
        let effect = request.subject().and_then(|(call, service)| self.state().take_fault(call, service));
        let crashing = match &request {
            Request::Ensure { order } if effect == Some(Effect::ExitAfterStart) => Some(order.name.clone()),
            _ => None,
        };
        match effect {
            Some(Effect::Hang) => std::future::pending().await,
            Some(Effect::Delay(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Some(Effect::Fail(class)) => return Reply::of(Err(class.error("a scripted fault".into()))),
            Some(Effect::NotReady) => return Reply::of(value(&Readiness::NotYet { reason: "a scripted fault".into() })),
            _ => {}
        }
        let result = self.serve(request).await;
        if let Some(name) = crashing {
            self.state().crash(&name);
        }
        match effect {
            Some(Effect::FailAfter(class)) => Reply::of(Err(class.error("the answer was lost by script".into()))),
            Some(Effect::ExitStatus(status)) => Reply::of(result.map(|mut end| {
                end["exit"] = status.into();
                end
            })),
            _ => Reply::of(result),
        }
    }

    async fn serve(&self, request: Request) -> RuntimeResult<Value> {
        match request {
            Request::ResolveImage { version } => value(&self.image(OdooVersion::new(version))?),
            Request::FreePort { taken } => value(&self.port(&taken)?),
            Request::Ensure { order } => self.require_directory(&order).and_then(|()| value(&self.state().ensure(order)?)),
            Request::Observe { service } => value(&self.state().observe(&service)?),
            Request::Ready { service } => value(&self.ready(&service)?),
            Request::Stop { service, turn } => value(&self.state().stop(&service, turn)?),
            Request::Remove { service, turn } => value(&self.state().remove(&service, turn)?),
            Request::Logs { service, lines } => value(&self.state().logs(&service, lines)?),
            Request::Events { after } => value(&self.state().events(after.as_ref())),
            Request::List => value(&self.state().list()),
            Request::RunOnce { order, task, limit_ms, files } => {
                value(&self.run_once(order, task, Duration::from_millis(limit_ms), files).await?)
            }
            Request::WarmAssets { order } => value(&self.warm(&order).await?),
            control => self.control(control),
        }
    }

    fn control(&self, request: Request) -> RuntimeResult<Value> {
        let mut state = self.state();
        match request {
            Request::AddFault { fault } => state.add_fault(fault),
            Request::ClearFaults => state.clear_faults(),
            Request::Crash { name } => state.crash(&name),
            Request::Counts { name } => return value(&state.counts(&name)),
            _ => return value(&state.faults()),
        }
        Ok(Value::Null)
    }

    fn image(&self, version: OdooVersion) -> RuntimeResult<Image> {
        let image = format!("fake-odoo-{version}");
        match self.settings.versions.contains(&version) {
            true => Ok(Image::new(image)),
            false => Err(RuntimeError::NoInstallation { version, looked_for: image }),
        }
    }

    fn port(&self, taken: &BTreeSet<u16>) -> RuntimeResult<u16> {
        let used = self.state().ports();
        let free = |port: &u16| !taken.contains(port) && !used.contains(port);
        let found = self.settings.ports.clone().find(free);
        found.ok_or_else(|| RuntimeError::Transient("every port of the range is taken".into()))
    }

    fn require_directory(&self, order: &Order) -> RuntimeResult<()> {
        let shown = order.directory.display();
        match self.settings.directories.check_now(&order.directory, order.owner)? {
            Place::Ours(_) => Ok(()),
            Place::Absent => Err(RuntimeError::Permanent(format!("data directory {shown} is missing"))),
            Place::Foreign => Err(RuntimeError::Foreign(format!("{shown} does not carry our mark"))),
        }
    }

    fn ready(&self, service: &Service) -> RuntimeResult<Readiness> {
        Ok(match self.state().observe(service)? {
            Observed::Running { .. } => Readiness::Ready,
            other => Readiness::NotYet { reason: format!("the service is not running: {other:?}") },
        })
    }

    fn account(&self) -> Account {
        self.settings.directories.account()
    }

    async fn run_once(&self, order: Order, task: Task, limit: Duration, files: Files) -> RuntimeResult<OneOffEnd> {
        self.require_directory(&order)?;
        let seat = Seat::of(&order, &files)?;
        let (settings, account, subject, ground) = (self.settings.clone(), self.account(), order.clone(), seat.clone());
        let body =
            async move { tokio::time::timeout(limit, one_off::run(&settings.psql, &subject, &ground, &task, account)).await };
        // The run may begin only when it is known, so that an earlier one has been told to end.
        let (begin, begun) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(async move { if begun.await.is_ok() { Some(body.await) } else { None } });
        let id = self.state().begin_run(&order, &seat, task.abort_handle()).inspect_err(|_| task.abort())?;
        let run = Run { server: self, name: &order.name, seat: &seat, id, task: task.abort_handle() };
        let ended = if begin.send(()).is_ok() { task.await } else { Ok(None) };
        drop(run);
        if matches!(ended, Ok(Some(Ok(_)))) {
            self.state().note_end(&order.name);
        }
        match ended {
            Ok(Some(Ok(end))) => end,
            Ok(Some(Err(_))) => Err(RuntimeError::Transient(format!("the one-off run did not end within {} s", limit.as_secs()))),
            Ok(None) | Err(_) => Err(RuntimeError::Transient("the one-off run was ended by another".into())),
        }
    }

    async fn warm(&self, order: &Order) -> RuntimeResult<usize> {
        let service = Service { name: order.name.clone(), owner: order.owner };
        match self.state().observe(&service)? {
            Observed::Running { .. } => {}
            other => return Err(RuntimeError::Transient(format!("the service is not running: {other:?}"))),
        }
        one_off::warm(&self.settings.psql, order, self.account()).await
    }
}

/// A one-off run under way. It ends with its caller, and `psql` with it.
struct Run<'a> {
    server: &'a Server,
    name: &'a str,
    seat: &'a Seat,
    id: u64,
    task: tokio::task::AbortHandle,
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.task.abort();
        self.server.state().close_run(self.name, self.seat, self.id);
    }
}

fn value(answer: &impl Serialize) -> RuntimeResult<Value> {
    serde_json::to_value(answer).map_err(|e| RuntimeError::Permanent(format!("answer: {e}")))
}
