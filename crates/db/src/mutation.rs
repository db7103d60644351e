//! Mistakes made on purpose, in builds with fault points: with them tests prove that the invariants see a mistake.
//!
//! A line `{"mutate": "<word>"}` of the control file switches one on. Any other build has none of them.

domain::words! {
    /// A mistake.
    Mutation {
        /// A clone keeps the rights that PUBLIC has in every new database.
        SkipRevoke = "skip_revoke",
        /// Each owner of an operation starts a service under another name.
        ServicePerOwner = "service_per_owner",
        /// Neither the lock on postgres2 nor the loss of the lease stops anybody.
        IgnoreFence = "ignore_fence",
        /// Whoever ends a tenant's sessions ends everybody's.
        CutEverybody = "cut_everybody",
        /// No mistake, but the moment for one: whoever has just confirmed its fence stands still, once, until `….resume` exists.
        StallInFence = "stall_in_fence",
    }
}

#[cfg(feature = "faults")]
pub use control::{controlled_by, is_on, stall};

#[cfg(feature = "faults")]
mod control {
    use super::Mutation;
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;
    use std::time::Duration;

    static CONTROL: OnceLock<PathBuf> = OnceLock::new();

    /// Lets this file decide, from now on. Only the first call of a process counts.
    pub fn controlled_by(control: PathBuf) {
        CONTROL.get_or_init(|| control);
    }

    /// Whether the mistake is to be made.
    pub fn is_on(mutation: Mutation) -> bool {
        let Some(text) = CONTROL.get().and_then(|control| std::fs::read_to_string(control).ok()) else { return false };
        let word = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["mutate"].as_str().map(str::to_owned);
        text.lines().any(|line| word(line).as_deref() == Some(mutation.as_str()))
    }

    /// Stands still with the whole thread, as a process does that is stopped: nothing can cancel it.
    pub fn stall() {
        let Some(control) = CONTROL.get().filter(|_| is_on(Mutation::StallInFence)) else { return };
        if std::fs::File::create_new(beside(control, "stall.fired")).is_ok() {
            tracing::warn!("stalls on purpose");
            while !beside(control, "resume").exists() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    fn beside(control: &Path, suffix: &str) -> PathBuf {
        let mut name = control.as_os_str().to_owned();
        name.push(".");
        name.push(suffix);
        PathBuf::from(name)
    }
}

/// Never.
#[cfg(not(feature = "faults"))]
pub const fn is_on(_mutation: Mutation) -> bool {
    false
}

/// Nothing.
#[cfg(not(feature = "faults"))]
pub(crate) const fn stall() {}
