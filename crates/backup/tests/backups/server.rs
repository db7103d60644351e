//! A server with tenants, each with a role and a database of its own.

use backup::tools::{ClientTools, Target};
use secrecy::{ExposeSecret, SecretString};
use testkit::{Cluster, Options};

pub(crate) const PASSWORD: &str = "kept-to-itself-4711";

pub(crate) struct Server {
    pub(crate) cluster: Cluster,
    pub(crate) tools: ClientTools,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let cluster = Cluster::start(&Options::default()).unwrap();
        let installation = cluster.server().installation();
        let number = installation.version().rsplit_once(") ").unwrap().1;
        let major = number.split(['.', ' ']).next().unwrap().parse().unwrap();
        let tools = ClientTools::find(major, &[installation.bin().to_owned()]).await.unwrap();
        cluster.psql("postgres", &format!("CREATE ROLE tenant LOGIN PASSWORD '{PASSWORD}'")).unwrap();
        Self { cluster, tools }
    }

    /// A new and empty database of the tenant.
    pub(crate) fn database(&self, name: &str) -> Target {
        let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' OWNER tenant");
        self.cluster.psql("postgres", &create).unwrap();
        self.cluster.psql("postgres", &format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC")).unwrap();
        Target {
            host: "127.0.0.1".to_owned(),
            port: self.cluster.port(),
            database: name.to_owned(),
            user: "tenant".to_owned(),
            password: SecretString::from(PASSWORD),
            ssl_mode: "disable",
            ssl_root_cert: None,
        }
    }

    /// Runs SQL as the tenant.
    pub(crate) fn run(&self, target: &Target, sql: &str) -> String {
        assert_eq!(target.password.expose_secret(), PASSWORD);
        self.cluster.psql(&target.database, &format!("SET SESSION AUTHORIZATION tenant; {sql}")).unwrap()
    }
}
