//! The engine's figures. The defaults are those of engine 2, 7 and 8; tests use shorter ones.

use domain::operation::Class;
use domain::sources::{Clock, Entropy};
use std::time::Duration;
use ulid::Ulid;

/// How many operations run at once, by class; control has slots of its own, so that a long backup never delays a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Short work that must never wait.
    pub control: usize,
    /// Making instances and templates.
    pub provision: usize,
    /// Long copies.
    pub backup: usize,
    /// Everything that may wait.
    pub maintenance: usize,
}

impl Slots {
    /// Splits a total: provision half, control a quarter, backup and maintenance an eighth; each at least one.
    pub fn split(total: usize) -> Self {
        let part = |divisor: usize| total.div_euclid(divisor).max(1);
        Self { control: part(4), provision: part(2), backup: part(8), maintenance: part(8) }
    }

    /// Slots of one class.
    pub const fn of(&self, class: Class) -> usize {
        match class {
            Class::Control => self.control,
            Class::Provision => self.provision,
            Class::Backup => self.backup,
            Class::Maintenance => self.maintenance,
        }
    }
}

/// Figures of the engine.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Name of this start of this process: host and a ULID, never used twice.
    pub owner: String,
    /// How long a lease holds without renewal.
    pub lease: Duration,
    /// How often it is renewed.
    pub renew_every: Duration,
    /// How long before its end the holder counts it as lost.
    pub fence_margin: Duration,
    /// How long past its limit a step may hang before its lease is no longer renewed.
    pub hang_grace: Duration,
    /// How often lost wake-ups are looked for.
    pub sweep_every: Duration,
    /// How often finished wake-ups are removed.
    pub retain_every: Duration,
    /// Most operations of one customer that run at once, by class.
    pub share: i64,
    /// Slots by class.
    pub slots: Slots,
    /// Tries of one step that make up one whole attempt.
    pub tries_per_attempt: i32,
    /// First pause between tries; it doubles.
    pub backoff_first: Duration,
    /// Longest pause between tries.
    pub backoff_longest: Duration,
    /// How long a stop waits for steps in flight.
    pub drain: Duration,
    /// The process gives up when no poller has lived for so long.
    pub poller_grace: Duration,
}

impl EngineSettings {
    /// The figures of the specification, for a process of this name with so many slots.
    pub fn new(owner: impl Into<String>, slots: Slots) -> Self {
        Self {
            owner: owner.into(),
            lease: Duration::from_secs(6),
            renew_every: Duration::from_secs(1),
            fence_margin: Duration::from_millis(1500),
            hang_grace: Duration::from_secs(5),
            sweep_every: Duration::from_secs(1),
            retain_every: Duration::from_secs(24 * 3600),
            share: 4,
            slots,
            tries_per_attempt: 5,
            backoff_first: Duration::from_secs(1),
            backoff_longest: Duration::from_secs(30),
            drain: Duration::from_secs(30),
            poller_grace: Duration::from_secs(60),
        }
    }

    /// A name for this start of a process on `host`; a later start never has it again.
    pub fn owner(host: &str, clock: &dyn Clock, entropy: &dyn Entropy) -> String {
        let mut random = [0_u8; 16];
        entropy.fill(&mut random);
        let milliseconds = u64::try_from(clock.now().timestamp_millis()).unwrap_or(0);
        format!("{host}-{}", Ulid::from_parts(milliseconds, u128::from_le_bytes(random)))
    }

    /// How long a lease is trusted after its last renewal was sent.
    pub(crate) const fn trusted(&self) -> Duration {
        self.lease.saturating_sub(self.fence_margin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_keeps_a_slot() {
        for total in 0..20 {
            let slots = Slots::split(total);
            assert!(Class::ALL.iter().all(|class| slots.of(*class) >= 1), "{total}: {slots:?}");
        }
        assert_eq!(Slots::split(8), Slots { control: 2, provision: 4, backup: 1, maintenance: 1 });
    }
}
