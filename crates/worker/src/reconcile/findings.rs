//! The report of a loop over instances.

use domain::ids::InstanceId;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many single items a report lists at most.
const LISTED: usize = 100;

/// What one round over the instances found.
#[derive(Debug, Default, Serialize)]
pub(super) struct Findings {
    /// Rows compared.
    pub(super) checked: u64,
    /// Rows whose status moved.
    pub(super) changed: u64,
    /// Rows with an operation at work, or changed meanwhile.
    pub(super) skipped: u64,
    /// Rows that could not be asked about or stored.
    pub(super) errors: u64,
    /// What is for somebody else to repair.
    drift: Vec<Value>,
    /// Services without a row.
    pub(super) orphans: Vec<String>,
    /// How often in a row an instance has not answered.
    pub(super) failing: BTreeMap<String, u32>,
}

impl Findings {
    pub(super) fn drift(&mut self, instance: InstanceId, what: &str) {
        self.drift.push(json!({"instance_id": instance, "what": what}));
    }

    /// The report; long lists are cut, and say how long they were.
    pub(super) fn report(mut self) -> Value {
        let (drifted, orphaned) = (self.drift.len(), self.orphans.len());
        metrics::gauge!("drift", "kind" => "instances").set(drifted as f64);
        metrics::gauge!("drift", "kind" => "services").set(orphaned as f64);
        self.drift.truncate(LISTED);
        self.orphans.truncate(LISTED);
        json!({
            "checked": self.checked, "changed": self.changed, "skipped": self.skipped, "errors": self.errors,
            "drifted": drifted, "drift": self.drift, "orphaned": orphaned, "orphans": self.orphans, "failing": self.failing,
        })
    }
}
