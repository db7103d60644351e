//! What happens to services, as drivers tell it, and how a driver tells it whose engine has no events of its own.
//!
//! An event says that a service is worth a look, not what has become of it: whoever reads it asks [`crate::InstanceRuntime::observe`].

use crate::error::{RuntimeError, RuntimeResult};
use crate::workload::{Owner, Service};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

/// How often the services are looked at where nobody tells when they change.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where a reader stands. Only the driver that made it can read it; it may be kept, and used by another process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub(crate) String);

/// Something happened to a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceEvent {
    /// What tells it from every other event; an event that is told twice has the same.
    pub id: String,
    /// When; where the engine does not say, when it was seen.
    pub at: DateTime<Utc>,
    /// To which service. It may be gone by now.
    pub service: Service,
}

/// What happened after a cursor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Oldest first; empty when nothing happened for as long as the reader wanted to wait.
    pub events: Vec<ServiceEvent>,
    /// Where to go on.
    pub next: Cursor,
    /// Something may have happened that nobody knows any more: compare everything.
    pub gap: bool,
}

/// The services at one moment, each with a text that changes with its state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Snapshot(BTreeMap<String, (Owner, String)>);

impl Snapshot {
    fn of(services: Vec<(Service, String)>) -> Self {
        Self(services.into_iter().map(|(service, state)| (service.name, (service.owner, state))).collect())
    }

    fn read(cursor: &Cursor) -> Option<Self> {
        serde_json::from_str(&cursor.0).ok()
    }

    fn cursor(&self) -> RuntimeResult<Cursor> {
        serde_json::to_string(self).map(Cursor).map_err(|e| RuntimeError::Permanent(format!("cursor: {e}")))
    }

    /// The services that are new, gone or otherwise than in `before`, each with what it was and is: told again, it has the same words.
    fn since(&self, before: &Self) -> Vec<(Service, String)> {
        let names: BTreeSet<&String> = self.0.keys().chain(before.0.keys()).collect();
        let change = |name: &String| {
            let (was, is) = (before.0.get(name), self.0.get(name));
            let owner = is.or(was).map(|(owner, _)| *owner).filter(|_| was != is)?;
            let word = |entry: Option<&(Owner, String)>| entry.map_or("none", |(_, state)| state).to_owned();
            Some((Service { name: name.clone(), owner }, format!("{name}: {}, {}", word(was), word(is))))
        };
        names.into_iter().filter_map(change).collect()
    }
}

/// Tells what changes between two looks, for an engine that tells nothing by itself. `look` answers with all services, each with a text
/// that changes with its state. Two changes between two looks are one.
pub(crate) async fn by_looking<L>(after: Option<&Cursor>, patience: Duration, look: impl Fn() -> L) -> RuntimeResult<Events>
where
    L: Future<Output = RuntimeResult<Vec<(Service, String)>>>,
{
    let known = after.map(Snapshot::read);
    let begin = Instant::now();
    loop {
        let now = Snapshot::of(look().await?);
        let before = match &known {
            Some(Some(before)) => before,
            // Another driver's cursor.
            Some(None) => return Ok(Events { events: Vec::new(), next: now.cursor()?, gap: true }),
            None => return Ok(Events { events: Vec::new(), next: now.cursor()?, gap: false }),
        };
        let changed = now.since(before);
        let left = patience.saturating_sub(begin.elapsed());
        if !changed.is_empty() || left.is_zero() {
            let at = DateTime::<Utc>::from(SystemTime::now());
            let event = |(service, id): (Service, String)| ServiceEvent { id, at, service };
            return Ok(Events { events: changed.into_iter().map(event).collect(), next: now.cursor()?, gap: false });
        }
        tokio::time::sleep(LOOK_EVERY.min(left)).await;
    }
}
