//! postgres1 of a test that needs no Odoo server: half the files to copy, half the processes to start.

use crate::cluster::{Cluster, Options};
use crate::pair::{PLATFORM_DATABASE, SERVICE, set_passwords};
use crate::random;
use anyhow::Result;
use domain::endpoint::Endpoint;
use secrecy::SecretString;

/// A platform server alone, with a password of its own for the services.
#[derive(Debug)]
pub struct Platform {
    /// The server.
    pub postgres1: Cluster,
    service: SecretString,
}

impl Platform {
    /// Migrated.
    ///
    /// # Errors
    /// When the server cannot be made.
    #[cfg(feature = "platform")]
    pub fn start(options: &Options) -> Result<Self> {
        Self::over(crate::pair::platform_cluster(options)?)
    }

    /// Roles and an empty database only.
    ///
    /// # Errors
    /// When the server cannot be made.
    pub fn unmigrated(options: &Options) -> Result<Self> {
        Self::over(crate::pair::unmigrated_cluster(options)?)
    }

    fn over(postgres1: Cluster) -> Result<Self> {
        let service = SecretString::from(random::password()?);
        set_passwords(postgres1.server(), &[(SERVICE, &service)])?;
        Ok(Self { postgres1, service })
    }

    /// The server as the services use it.
    pub fn platform(&self) -> Endpoint {
        self.postgres1.endpoint(PLATFORM_DATABASE, SERVICE, &self.service)
    }
}
