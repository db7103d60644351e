//! What a look at the instances found: as the report of a loop, and as the result of a comparison on request.

use super::drift::Found;
use super::judge::{self, Sight};
use db::platform::instances::Instance;
use domain::ids::InstanceId;
use domain::instance::Status;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many single items a report lists at most.
const LISTED: usize = 100;

/// What one round over the instances found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Rows compared.
    pub(super) checked: u64,
    /// Rows whose status moved, or for which work was queued.
    pub(super) changed: u64,
    /// Rows with an operation at work, or changed meanwhile.
    pub(super) skipped: u64,
    /// Rows that could not be asked about or stored.
    pub(super) errors: u64,
    /// What is for somebody else to repair.
    drift: Vec<Value>,
    /// Services without a row.
    orphans: Vec<String>,
    /// How often in a row an instance has not answered.
    pub(super) failing: BTreeMap<String, u32>,
    /// What is not as its row says, one by one.
    details: Vec<Detail>,
    /// How many there are.
    mismatched: u64,
    /// What is as it should be is told, too.
    pub(super) tells_all: bool,
}

/// One row, or one service, that is not as it should be (contract 8.5).
#[derive(Debug, Serialize)]
pub(super) struct Detail {
    instance_id: InstanceId,
    container_name: Option<String>,
    database_status: Option<Status>,
    docker_status: Option<&'static str>,
    expected_status: Option<Status>,
    needs_update: bool,
    pub(super) updated: bool,
    pub(super) error_message: Option<String>,
}

impl Detail {
    /// A row as it was seen.
    pub(super) fn of(row: &Instance, sight: Sight) -> Self {
        let expected = judge::expected(&row.axes, sight);
        Self {
            instance_id: row.id,
            container_name: row.placement.as_ref().map(|placement| placement.service_name.clone()),
            database_status: Some(row.axes.status),
            docker_status: Some(sight.word()),
            expected_status: Some(expected),
            needs_update: expected != row.axes.status,
            updated: false,
            error_message: judge::drift(&row.axes, sight).map(str::to_owned),
        }
    }
}

impl Findings {
    /// A look at a runtime that could not be asked.
    pub(crate) fn nothing() -> Self {
        Self { errors: 1, ..Self::default() }
    }

    pub(super) fn drift(&mut self, instance: InstanceId, what: &str) {
        self.drift.push(json!({"instance_id": instance, "what": what}));
    }

    /// Keeps what is not as it should be.
    pub(super) fn tell(&mut self, detail: Detail) {
        if detail.needs_update || detail.updated || detail.error_message.is_some() {
            self.mismatched += 1;
            self.details.push(detail);
        } else if self.tells_all {
            self.details.push(detail);
        }
    }

    /// A service without a row.
    pub(super) fn orphan(&mut self, owner: InstanceId, name: String, sight: Sight) {
        self.tell(Detail {
            instance_id: owner,
            container_name: Some(name.clone()),
            database_status: None,
            docker_status: Some(sight.word()),
            expected_status: None,
            needs_update: false,
            updated: false,
            error_message: Some("It has no instance; nothing was done about it".to_owned()),
        });
        self.orphans.push(name);
    }

    /// What a sweep of servers and directories found as well. Names of what no row knows are for operators alone, and not told here.
    pub(crate) fn add(&mut self, found: Found) {
        self.errors += found.unreachable.len() as u64;
        self.mismatched += found.strays.len() as u64;
        for wrong in found.wrong {
            self.mismatched += 1;
            self.details.extend(wrong.instance_id.map(|instance_id| Detail {
                instance_id,
                container_name: None,
                database_status: None,
                docker_status: None,
                expected_status: None,
                needs_update: false,
                updated: false,
                error_message: Some(wrong.what.to_owned()),
            }));
        }
    }

    /// The report of a loop; long lists are cut, and say how long they were.
    pub(crate) fn report(&self) -> Value {
        let (drifted, orphaned) = (self.drift.len(), self.orphans.len());
        let drift: Vec<&Value> = self.drift.iter().take(LISTED).collect();
        let orphans: Vec<&String> = self.orphans.iter().take(LISTED).collect();
        json!({
            "checked": self.checked, "changed": self.changed, "skipped": self.skipped, "errors": self.errors,
            "drifted": drifted, "drift": drift, "orphaned": orphaned, "orphans": orphans, "failing": self.failing,
        })
    }

    /// The result of a comparison on request. Of what is not as it should be 100 are listed; `mismatched` counts what `details` had to leave out as well.
    pub fn result(mut self) -> Value {
        self.details.truncate(LISTED);
        json!({
            "total_checked": self.checked, "mismatched": self.mismatched, "updated": self.changed, "errors": self.errors,
            "details": self.details,
        })
    }
}
