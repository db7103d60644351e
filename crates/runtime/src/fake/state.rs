//! The fake runtime's memory: services, scripted faults, counts.

use super::files::Seat;
use super::wire::{Call, Counts, Effect, Fault, Order};
use crate::error::{RuntimeError, RuntimeResult};
use crate::events::{Cursor, Events, ServiceEvent};
use crate::observed::{Listed, Observed};
use crate::workload::{Owner, Service, Turn};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, VecDeque};
use std::time::SystemTime;
use tokio::task::AbortHandle;

/// How many events are kept.
const KEPT: usize = 256;

#[derive(Default)]
pub(super) struct State {
    services: BTreeMap<String, Held>,
    faults: Vec<Fault>,
    counts: BTreeMap<String, Counts>,
    /// One-off runs under way, by service and the files they work on.
    runs: BTreeMap<(String, Seat), Run>,
    next_run: u64,
    told: Told,
    /// The highest token that ever acted on a service, also when it is gone.
    tokens: BTreeMap<String, i64>,
}

/// What happened, as far as it is kept.
struct Told {
    /// A cursor of another life of this process says nothing.
    life: DateTime<Utc>,
    kept: VecDeque<(u64, DateTime<Utc>, Service)>,
    last: u64,
}

impl Default for Told {
    fn default() -> Self {
        Self { life: now(), kept: VecDeque::new(), last: 0 }
    }
}

impl Told {
    fn happened(&mut self, name: &str, owner: Owner) {
        self.last += 1;
        self.kept.push_back((self.last, now(), Service { name: name.to_owned(), owner }));
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
    }

    fn since(&self, after: Option<&Cursor>) -> Events {
        let next = Cursor(format!("{}/{}", self.life.timestamp_micros(), self.last));
        let Some(after) = after else { return Events { events: Vec::new(), next, gap: false } };
        let read = after.0.split_once('/').filter(|(life, _)| *life == self.life.timestamp_micros().to_string());
        let first_kept = self.kept.front().map_or(self.last + 1, |(number, ..)| *number);
        match read.and_then(|(_, number)| number.parse::<u64>().ok()) {
            Some(seen) if seen + 1 >= first_kept => {
                let new = self.kept.iter().filter(|(number, ..)| *number > seen);
                let event = |(number, at, service): &(u64, DateTime<Utc>, Service)| ServiceEvent {
                    id: format!("{}/{number}", self.life.timestamp_micros()),
                    at: *at,
                    service: service.clone(),
                };
                Events { events: new.map(event).collect(), next, gap: false }
            }
            _ => Events { events: Vec::new(), next, gap: true },
        }
    }
}

fn now() -> DateTime<Utc> {
    DateTime::<Utc>::from(SystemTime::now())
}

struct Held {
    order: Order,
    status: Observed,
    log: Vec<String>,
}

struct Run {
    id: u64,
    database: String,
    task: AbortHandle,
}

/// The database that an order writes to, as a key.
fn database(order: &Order) -> String {
    format!("{}:{}/{}", order.host, order.database_port, order.database)
}

impl State {
    /// The fault that hits this call, used up by one.
    pub(super) fn take_fault(&mut self, call: Call, service: Option<&str>) -> Option<Effect> {
        let hits = |f: &Fault| f.call == call && f.times > 0 && (f.service.is_none() || f.service.as_deref() == service);
        let fault = self.faults.iter_mut().find(|fault| hits(fault))?;
        fault.times -= 1;
        let effect = fault.effect;
        self.faults.retain(|fault| fault.times > 0);
        Some(effect)
    }

    pub(super) fn add_fault(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(super) fn clear_faults(&mut self) {
        self.faults.clear();
    }

    pub(super) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    pub(super) fn counts(&self, name: &str) -> Counts {
        self.counts.get(name).copied().unwrap_or_default()
    }

    fn count(&mut self, name: &str) -> &mut Counts {
        self.counts.entry(name.to_owned()).or_default()
    }

    fn held(&mut self, service: &Service) -> RuntimeResult<Option<&mut Held>> {
        match self.services.get_mut(&service.name) {
            Some(held) if held.order.owner != service.owner => {
                Err(RuntimeError::Foreign(format!("service {} belongs to {}", service.name, held.order.owner)))
            }
            held => Ok(held),
        }
    }

    /// Refuses a turn that is over; before anything else that changes something.
    fn enter(&mut self, service: &Service, turn: Turn) -> RuntimeResult<()> {
        self.held(service)?;
        let highest = self.tokens.entry(service.name.clone()).or_insert(turn.token);
        if *highest > turn.token {
            return Err(RuntimeError::Stale(format!("{}: turn {highest} came after {}", service.name, turn.token)));
        }
        *highest = turn.token;
        Ok(())
    }

    pub(super) fn observe(&mut self, service: &Service) -> RuntimeResult<Observed> {
        Ok(self.held(service)?.map_or(Observed::Absent, |held| held.status.clone()))
    }

    pub(super) fn logs(&mut self, service: &Service, lines: usize) -> RuntimeResult<Vec<String>> {
        let Some(held) = self.held(service)? else { return Ok(Vec::new()) };
        Ok(held.log[held.log.len().saturating_sub(lines)..].to_vec())
    }

    /// Adopts a service that runs as asked, else (re)starts it.
    pub(super) fn ensure(&mut self, order: Order) -> RuntimeResult<Observed> {
        let service = Service { name: order.name.clone(), owner: order.owner };
        self.enter(&service, order.turn)?;
        let mut log = Vec::new();
        if let Some(held) = self.held(&service)? {
            if held.status.is_up() && held.order.fingerprint == order.fingerprint {
                held.order.turn = order.turn;
                return Ok(held.status.clone());
            }
            log = std::mem::take(&mut held.log);
        }
        self.end_run(&order.name, &Seat::live());
        self.halt(&order.name);
        let name = order.name.clone();
        let status = Observed::Running { since: now() };
        log.push(format!("INFO {} service of {} starts for operation {}", order.database, order.owner, order.turn.operation));
        let written = database(&order);
        self.told.happened(&name, order.owner);
        self.services.insert(name.clone(), Held { order, status: status.clone(), log });
        self.count(&name).starts += 1;
        self.note_writers(&name, &written);
        Ok(status)
    }

    /// The service ends by itself.
    pub(super) fn crash(&mut self, name: &str) {
        if let Some(held) = self.services.get_mut(name).filter(|held| held.status.is_up()) {
            let line = "CRITICAL the service was told to exit".to_owned();
            held.status = Observed::Failed { reason: format!("Odoo exited by itself: {line}") };
            held.log.push(line);
            self.told.happened(name, held.order.owner);
        }
    }

    pub(super) fn stop(&mut self, service: &Service, turn: Turn) -> RuntimeResult<()> {
        self.enter(service, turn)?;
        self.end_runs(&service.name);
        self.halt(&service.name);
        Ok(())
    }

    pub(super) fn remove(&mut self, service: &Service, turn: Turn) -> RuntimeResult<()> {
        self.stop(service, turn)?;
        if self.services.remove(&service.name).is_some() {
            self.told.happened(&service.name, service.owner);
            self.count(&service.name).removes += 1;
        }
        Ok(())
    }

    pub(super) fn events(&self, after: Option<&Cursor>) -> Events {
        self.told.since(after)
    }

    pub(super) fn list(&self) -> Vec<Listed> {
        let listed = |(name, held): (&String, &Held)| Listed {
            name: name.clone(),
            owner: held.order.owner,
            operation: held.order.turn.operation,
            image: held.order.image.clone(),
            directory: held.order.directory.clone(),
            observed: held.status.clone(),
        };
        self.services.iter().map(listed).collect()
    }

    /// Ports of all services, running or not.
    pub(super) fn ports(&self) -> Vec<u16> {
        self.services.values().filter_map(|held| held.order.port).collect()
    }

    fn halt(&mut self, name: &str) {
        let Some(held) = self.services.get_mut(name) else { return };
        let was_up = held.status.is_up();
        held.status = Observed::Stopped;
        if was_up {
            held.log.push("INFO stopped by request".into());
            self.told.happened(name, held.order.owner);
            self.count(name).stops += 1;
        }
    }

    /// Notes a one-off run, which must be the only writer; an earlier one of the same service is ended.
    pub(super) fn begin_run(&mut self, order: &Order, seat: &Seat, task: AbortHandle) -> RuntimeResult<u64> {
        let service = Service { name: order.name.clone(), owner: order.owner };
        self.enter(&service, order.turn)?;
        if *seat == Seat::live() && self.held(&service)?.is_some_and(|held| held.status.is_up()) {
            return Err(RuntimeError::Transient(format!("service {} is up", order.name)));
        }
        self.end_run(&order.name, seat);
        self.next_run += 1;
        let run = Run { id: self.next_run, database: database(order), task };
        self.runs.insert((order.name.clone(), seat.clone()), run);
        self.count(&order.name).one_offs += 1;
        self.note_writers(&order.name, &database(order));
        Ok(self.next_run)
    }

    /// Forgets a run that is over.
    pub(super) fn close_run(&mut self, name: &str, seat: &Seat, id: u64) {
        let key = (name.to_owned(), seat.clone());
        if self.runs.get(&key).is_some_and(|run| run.id == id) {
            self.runs.remove(&key);
        }
    }

    /// Notes that a run came to its own end.
    pub(super) fn note_end(&mut self, name: &str) {
        self.count(name).one_offs_ended += 1;
    }

    fn end_run(&mut self, name: &str, seat: &Seat) {
        if let Some(run) = self.runs.remove(&(name.to_owned(), seat.clone())) {
            run.task.abort();
        }
    }

    /// Those on staged files as well.
    fn end_runs(&mut self, name: &str) {
        let seats: Vec<Seat> = self.runs.keys().filter(|(of, _)| of == name).map(|(_, seat)| seat.clone()).collect();
        for seat in seats {
            self.end_run(name, &seat);
        }
    }

    fn note_writers(&mut self, name: &str, written: &str) {
        let services = self.services.values().filter(|held| held.status.is_up() && database(&held.order) == *written).count();
        let runs = self.runs.values().filter(|run| run.database == *written).count();
        let writers = u32::try_from(services + runs).unwrap_or(u32::MAX);
        let counts = self.count(name);
        counts.most_writers = counts.most_writers.max(writers);
    }
}
