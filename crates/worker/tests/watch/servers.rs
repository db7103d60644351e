//! The probe of Odoo servers and the separation check.

use crate::rig::Rig;
use bootstrap::OsEntropy;
use bootstrap::settings::OdooServerSettings;
use db::odoo::{OdooServer, OdooServers};
use db::platform::servers::{self, ServerRecord, ServerState};
use domain::endpoint::Endpoint;
use secrecy::SecretString;
use std::sync::Arc;
use testkit::pair::{ODOO_ADMIN, odoo_cluster, set_passwords};
use testkit::{Cluster, Options, Stop};
use worker::reconcile::Round;
use worker::reconcile::servers::{DEFAULT_SECRET, Permitted, Separation, Servers, separation};

/// postgres2, which only these tests of the loops need.
struct Odoo {
    server: Cluster,
    password: SecretString,
}

impl Odoo {
    fn start() -> Self {
        let server = odoo_cluster(&Options::default()).unwrap();
        let password = SecretString::from(testkit::random::password().unwrap());
        set_passwords(server.server(), &[(ODOO_ADMIN, &password)]).unwrap();
        Self { server, password }
    }

    fn admin(&self) -> Endpoint {
        self.server.endpoint("postgres", ODOO_ADMIN, &self.password)
    }
}

fn settings(admin: &Endpoint) -> OdooServerSettings {
    OdooServerSettings {
        admin: admin.clone(),
        tenant_host: admin.host.clone(),
        tenant_port: admin.port,
        allow_shared: false,
        allow_superuser: false,
    }
}

fn probe(rig: &Rig, admin: &Endpoint) -> Servers {
    let password = admin.password.clone();
    let secrets = move |name: &str| if name == DEFAULT_SECRET { Ok(password.clone()) } else { Err(format!("{name} is not set")) };
    Servers {
        db: rig.db.clone(),
        registry: Arc::new(OdooServers::default()),
        secrets: Arc::new(secrets),
        permitted: Permitted { shared: false, superuser: false },
        settings: settings(admin),
        troubled: false.into(),
    }
}

async fn record(rig: &Rig) -> ServerRecord {
    servers::list(&rig.db).await.unwrap().into_iter().find(|server| server.name == "default").unwrap()
}

#[tokio::test]
async fn a_server_is_probed_becomes_active_and_is_known_to_the_steps() {
    let (rig, odoo) = (Rig::start(), Odoo::start());
    let probe = probe(&rig, &odoo.admin());
    let id = probe.register_default(true, &OsEntropy).await.unwrap();
    assert_eq!(record(&rig).await.state, ServerState::Probing);
    let report = probe.round().await.unwrap();
    assert_eq!((&report["servers"], &report["healthy"]), (&1.into(), &1.into()));
    let record = record(&rig).await;
    assert_eq!((record.state, record.health.healthy, record.health.error), (ServerState::Active, Some(true), None));
    assert!(record.system_identifier.is_some() && record.health.version.is_some() && record.health.checked_at.is_some());
    assert_eq!(record.health.deviations, serde_json::json!([]));
    assert!(probe.registry.get(id).is_some());
}

#[tokio::test]
async fn a_dead_server_is_shown_and_comes_back() {
    let (rig, mut odoo) = (Rig::start(), Odoo::start());
    let probe = probe(&rig, &odoo.admin());
    let id = probe.register_default(true, &OsEntropy).await.unwrap();
    probe.round().await.unwrap();
    let server = probe.registry.get(id).unwrap();
    odoo.server.stop(Stop::Immediate).unwrap();
    assert_eq!(probe.round().await.unwrap()["healthy"], 0);
    let down = record(&rig).await;
    for _ in 0..5 {
        server.admin_connection().await.unwrap_err();
    }
    assert_eq!((down.health.healthy, down.health.error.as_deref()), (Some(false), Some("it cannot be reached")));
    assert!(down.health.version.is_some(), "what is known of it stays");
    assert!(probe.period() < std::time::Duration::from_secs(60), "it is looked at more often while it is down");
    odoo.server.start_again().unwrap();
    // Those who wanted it meanwhile may try at once.
    assert_eq!(probe.round().await.unwrap()["healthy"], 1);
    server.admin_connection().await.unwrap();
}

#[tokio::test]
async fn a_server_whose_bootstrap_is_of_an_earlier_release_is_not_used() {
    let (rig, odoo) = (Rig::start(), Odoo::start());
    let probe = probe(&rig, &odoo.admin());
    probe.register_default(true, &OsEntropy).await.unwrap();
    odoo.server.psql("postgres", "DROP DATABASE ois").unwrap();
    assert_eq!(probe.round().await.unwrap()["healthy"], 0);
    let error = record(&rig).await.health.error.unwrap();
    assert_eq!(error, "the database of the fences is missing; run postgres2-bootstrap.sql again");
    assert_eq!(record(&rig).await.state, ServerState::Probing, "nothing is placed on it");
}

#[tokio::test]
async fn another_server_behind_the_address_is_refused() {
    let (rig, odoo) = (Rig::start(), Odoo::start());
    let probe = probe(&rig, &odoo.admin());
    probe.register_default(true, &OsEntropy).await.unwrap();
    rig.sql("UPDATE instance_service.odoo_servers SET system_identifier = 42");
    assert_eq!(probe.round().await.unwrap()["healthy"], 0);
    assert_eq!(record(&rig).await.health.error.as_deref(), Some("another server answers behind its address"));
    assert_eq!(record(&rig).await.system_identifier, Some(42), "the stranger's identity is not learnt");
}

#[tokio::test]
async fn the_platforms_own_server_is_recognised_under_any_address() {
    let rig = Rig::start();
    let platform = servers::platform_identity(&rig.db).await.unwrap();
    let probe = probe(&rig, &rig.platform.platform());
    let id = probe.register_default(true, &OsEntropy).await.unwrap();
    let same: OdooServer = probe.registry.get(id).unwrap();
    assert_eq!(separation(&platform, &same).await, Separation::Same);
    assert_eq!(probe.round().await.unwrap()["healthy"], 0);
    assert_eq!(record(&rig).await.health.error.as_deref(), Some("it is the platform's own server"));
    assert_eq!(record(&rig).await.state, ServerState::Probing, "nothing is ever placed on it");
    assert_eq!(record(&rig).await.system_identifier, None, "and it does not become the identity of the server meant");
}

#[tokio::test]
async fn two_servers_are_separate_and_a_silent_one_is_unknown() {
    let (rig, mut odoo) = (Rig::start(), Odoo::start());
    let platform = servers::platform_identity(&rig.db).await.unwrap();
    let probe = probe(&rig, &odoo.admin());
    let id = probe.register_default(true, &OsEntropy).await.unwrap();
    let server = probe.registry.get(id).unwrap();
    assert_eq!(separation(&platform, &server).await, Separation::Separate);
    odoo.server.stop(Stop::Immediate).unwrap();
    assert_eq!(separation(&platform, &server).await, Separation::Unknown);
}

#[tokio::test]
async fn a_server_whose_secret_is_missing_says_so() {
    let (rig, odoo) = (Rig::start(), Odoo::start());
    let probe = probe(&rig, &odoo.admin());
    probe.register_default(true, &OsEntropy).await.unwrap();
    rig.sql("UPDATE instance_service.odoo_servers SET secret_name = 'SECOND_PASSWORD'");
    probe.round().await.unwrap();
    assert_eq!(record(&rig).await.health.error.as_deref(), Some("SECOND_PASSWORD is not set"));
}

#[tokio::test]
async fn a_permitted_shared_server_is_used_although_nobody_could_look_at_the_start() {
    let rig = Rig::start();
    let platform = rig.platform.platform();
    let probe = Servers { permitted: Permitted { shared: true, superuser: false }, ..probe(&rig, &platform) };
    // Registered while it did not answer: taken for a separate one.
    let id = probe.register_default(true, &OsEntropy).await.unwrap();
    probe.round().await.unwrap();
    // It was never prepared as an Odoo server; that is all there is to say against it.
    let error = record(&rig).await.health.error.unwrap();
    assert!(error.contains("postgres2-bootstrap.sql"), "{error}");
    let own = servers::platform_identity(&rig.db).await.unwrap().system_identifier;
    let identity = probe.registry.get(id).unwrap().address().identity;
    assert_ne!(identity.forbidden, Some(own), "the steps may use it too");
    assert_eq!(record(&rig).await.system_identifier, Some(own));
}
