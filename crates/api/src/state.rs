//! What every handler shares: built once at start-up, cheap to clone.

use crate::doors::InternalDoor;
use crate::feed::Feed;
use crate::measure::Measures;
use crate::public_door::PublicDoor;
use crate::schema_gate::SchemaGate;
use bootstrap::settings::{CorsOrigins, TransferSettings};
use clients::SessionStore;
use db::platform::PlatformDb;
use domain::backup::schedule::Schedule;
use domain::order::OrderRules;
use domain::sources::{Clock, Entropy};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What the settings decide for the routes.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Whom browsers may come from.
    pub cors: CorsOrigins,
    /// Who may call what on the internal door.
    pub internal_door: InternalDoor,
    /// What an order may contain.
    pub order: OrderRules,
    /// Most removals accepted within an hour; none for no limit.
    pub delete_brake: Option<u32>,
    /// When instances without a schedule of their own are backed up.
    pub backup_schedule: Schedule,
    /// Archives that are fetched and brought.
    pub transfer: TransferSettings,
    /// What the path of the billing webhook ends in; none while the webhook is off.
    pub webhook_secret: Option<SecretString>,
    /// How long a request may take.
    pub request_limit: Duration,
    /// How long a request may take that brings an archive.
    pub upload_limit: Duration,
    /// How long a change may take, its retry included (contract 1).
    pub change_limit: Duration,
    /// How long the logs of an instance are waited for.
    pub logs_wait: Duration,
    /// How long a comparison is waited for.
    pub reconcile_wait: Duration,
    /// How long a customer's stream of events lasts, before the session has to be shown again.
    pub longest_stream: Duration,
}

/// What the state is made of.
pub struct Parts {
    /// postgres1.
    pub db: PlatformDb,
    /// What the settings decide.
    pub policy: Policy,
    /// Whose a login session is.
    pub sessions: Arc<dyn SessionStore>,
    /// Time, for answers that carry the present moment.
    pub clock: Arc<dyn Clock>,
    /// Randomness, for ids.
    pub entropy: Arc<dyn Entropy>,
    /// Ends streams and background work.
    pub shutdown: CancellationToken,
}

/// Shared by all handlers.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

struct Shared {
    parts: Parts,
    measures: Measures,
    schema: SchemaGate,
    feed: Feed,
    public_door: PublicDoor,
}

impl AppState {
    /// Starts the shared background work (the event feed) on the current runtime.
    pub fn new(parts: Parts) -> Self {
        let feed = Feed::start(parts.db.clone(), parts.shutdown.clone());
        let public_door = PublicDoor::new(parts.sessions.clone());
        Self(Arc::new(Shared { measures: Measures::new(), schema: SchemaGate::new(), feed, public_door, parts }))
    }

    /// The pool on postgres1.
    pub fn db(&self) -> &PlatformDb {
        &self.0.parts.db
    }

    /// What the settings decide.
    pub fn policy(&self) -> &Policy {
        &self.0.parts.policy
    }

    /// The public door.
    pub fn public_door(&self) -> &PublicDoor {
        &self.0.public_door
    }

    /// The present moment.
    pub fn clock(&self) -> &dyn Clock {
        self.0.parts.clock.as_ref()
    }

    /// Randomness.
    pub fn entropy(&self) -> &dyn Entropy {
        self.0.parts.entropy.as_ref()
    }

    /// Trips when the process is to end.
    pub fn shutdown(&self) -> &CancellationToken {
        &self.0.parts.shutdown
    }

    /// Figures for Prometheus.
    pub fn measures(&self) -> &Measures {
        &self.0.measures
    }

    /// Whether the schema fits.
    pub fn schema(&self) -> &SchemaGate {
        &self.0.schema
    }

    /// Events of operations, as they are written.
    pub fn feed(&self) -> &Feed {
        &self.0.feed
    }
}
