//! Both servers at start: waits for postgres1, and makes sure that postgres2 is another one (contract 2.1).

use super::Refusal;
use bootstrap::settings::{WorkerSettings, named_secret};
use bootstrap::{Environment, OsEntropy};
use db::migrate::{SchemaState, schema_state};
use db::odoo::{Identity, OdooServer, OdooServers, ServerAddress};
use db::platform::PlatformDb;
use db::platform::servers::{self, DEFAULT_SERVER, PlatformIdentity};
use domain::ids::ServerId;
use domain::sources::random_uuid;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use worker::reconcile::servers::{DEFAULT_SECRET, Permitted, Separation, Servers, separation};

/// The pause between two looks at postgres1.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits until postgres1 answers with a schema that this release knows; `None` when `stop` came first.
pub(super) async fn wait(db: &PlatformDb, stop: &CancellationToken) -> Option<PlatformIdentity> {
    let mut told = String::new();
    loop {
        let obstacle = match obstacle(db).await {
            Ok(identity) => return Some(identity),
            Err(obstacle) => obstacle,
        };
        if obstacle != told {
            tracing::warn!(obstacle, "waiting for postgres1");
            told = obstacle;
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

async fn obstacle(db: &PlatformDb) -> Result<PlatformIdentity, String> {
    match schema_state(db).await.map_err(|error| error.to_string())? {
        SchemaState::Fits => servers::platform_identity(db).await.map_err(|error| error.to_string()),
        SchemaState::TooOld => Err("the schema is too old: run `instance-admin migrate`".to_owned()),
        SchemaState::TooNew => Err("the schema is newer than this release".to_owned()),
    }
}

/// The probe of all Odoo servers. Secrets of further servers are read from the environment when they are needed.
pub(super) fn servers(
    settings: &WorkerSettings,
    db: &PlatformDb,
    registry: &Arc<OdooServers>,
    environment: Environment,
) -> Servers {
    let server = settings.odoo_server.clone();
    let password = server.admin.password.clone();
    let secrets = move |name: &str| match name {
        DEFAULT_SECRET => Ok(password.clone()),
        other => named_secret(&environment, other),
    };
    Servers {
        db: db.clone(),
        registry: registry.clone(),
        secrets: Arc::new(secrets),
        permitted: Permitted { shared: server.allow_shared, superuser: server.allow_superuser },
        settings: server,
        troubled: AtomicBool::new(false),
    }
}

/// Enters the Odoo server of the settings, unless it is postgres1 itself and nobody permits that. A server that does not
/// answer yet is entered all the same: the probe goes on looking, and until then nothing is placed on it.
pub(super) async fn register(servers: &Servers, platform: &PlatformIdentity) -> anyhow::Result<()> {
    let settings = &servers.settings;
    let server = OdooServer::new(ServerAddress {
        id: ServerId::from_uuid(random_uuid(&OsEntropy)),
        name: DEFAULT_SERVER.to_owned(),
        admin: settings.admin.clone(),
        tenant_host: settings.tenant_host.clone(),
        tenant_port: settings.tenant_port,
        identity: Identity::default(),
    });
    let separated = match separation(platform, &server).await {
        Separation::Same if !settings.allow_shared => {
            let text = "ODOO_POSTGRES_* leads to the platform's own server; set ALLOW_SHARED_POSTGRES=true to permit it";
            return Err(Refusal(text.to_owned()).into());
        }
        Separation::Same => {
            tracing::warn!("the Odoo server is the platform's own server, as ALLOW_SHARED_POSTGRES permits");
            false
        }
        Separation::Separate | Separation::Unknown => true,
    };
    servers.register_default(separated, &OsEntropy).await?;
    Ok(())
}
