//! How the worker runs operations. The limits are those of contract 11.4: lease at most 30 s, renewed at least every 10 s,
//! swept at least every 15 s.

use super::reader::Reader;
use super::variables as v;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The engine.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Operations at a time.
    pub concurrency: usize,
    /// How long a claim lives without renewal.
    pub lease: Duration,
    /// How often claims are renewed.
    pub renew_every: Duration,
    /// How often lost work is looked for.
    pub sweep_every: Duration,
    /// Health port.
    pub health_addr: SocketAddr,
    /// Arms a fault point, in builds that have them.
    pub faults_file: Option<PathBuf>,
}

impl EngineSettings {
    pub(super) fn read(reader: &mut Reader<'_>, fault_points: bool) -> Option<Self> {
        let concurrency = reader.number(&v::WORKER_CONCURRENCY, 1..=64);
        let lease = reader.seconds(&v::WORKER_LEASE_SECONDS, 4..=30);
        let renew_every = reader.seconds(&v::WORKER_LEASE_RENEW_SECONDS, 1..=10);
        if let (Some(lease), Some(renew)) = (lease, renew_every)
            && renew * 3 > lease
        {
            reader.problem("WORKER_LEASE_RENEW_SECONDS must be at most a third of WORKER_LEASE_SECONDS");
        }
        let sweep_every = reader.seconds(&v::WORKER_SWEEP_SECONDS, 1..=15);
        let health_addr = reader.parsed(&v::WORKER_HEALTH_ADDR, "an address and port such as 127.0.0.1:8004", |t| t.parse().ok());
        let faults_file = reader.optional(&v::FAULTS_FILE).map(PathBuf::from);
        if faults_file.is_some() && !fault_points {
            reader.problem("FAULTS_FILE is set, but this build has no fault points");
        }
        Some(Self {
            concurrency: concurrency?,
            lease: lease?,
            renew_every: renew_every?,
            sweep_every: sweep_every?,
            health_addr: health_addr?,
            faults_file,
        })
    }
}
