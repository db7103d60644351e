//! Connections as the test superuser, for looking behind the services' back.

use crate::cluster::Cluster;
use crate::server::SUPERUSER;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Error};

impl Cluster {
    /// A connection as the superuser, through the server's socket. Its statements are in the log under the name `test`.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn superuser(&self, database: &str) -> Result<PgConnection, Error> {
        PgConnectOptions::new_without_pgpass()
            .socket(self.server().directory())
            .port(self.port())
            .username(SUPERUSER)
            .database(database)
            .application_name("test")
            .connect()
            .await
    }
}
