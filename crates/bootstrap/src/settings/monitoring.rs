//! The loops that compare what should be with what is.

use super::reader::Reader;
use super::variables as v;
use std::time::Duration;

/// Reconcile and health check.
#[derive(Clone, Debug)]
pub struct MonitoringSettings {
    /// Whether the loops run at all.
    pub auto_start: bool,
    /// Period of reconcile.
    pub reconcile_every: Duration,
    /// Period of health checks.
    pub health_check_every: Duration,
    /// How long reconcile waits for the start of a paid instance.
    pub resume_grace: Duration,
}

impl MonitoringSettings {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let auto_start = reader.switch(&v::AUTO_START_MONITORING);
        let reconcile_every = reader.seconds(&v::RECONCILE_INTERVAL_SECONDS, 10..=86_400);
        let health_check_every = reader.seconds(&v::HEALTH_CHECK_INTERVAL_SECONDS, 1..=3_600);
        let resume_grace = reader.seconds(&v::RESUME_GRACE_SECONDS, 0..=86_400);
        Some(Self {
            auto_start: auto_start?,
            reconcile_every: reconcile_every?,
            health_check_every: health_check_every?,
            resume_grace: resume_grace?,
        })
    }
}
