//! One deployment of the sweep, and one kill in it.

use super::{Measured, Point, Way};
use crate::faults::{Action, Armed, Kind};
use crate::invariants::{self, Bystander, Secrets};
use crate::{Runtime, Stack, StackOptions, eventually, until};
use anyhow::{Context, Result, bail, ensure};
use runtime::fake::{Call, Effect, Fault};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Longest time from a kill to the next owner's first step (engine 7).
const TAKEOVER: Duration = Duration::from_secs(10);
/// Longest time until an armed point is reached.
const REACHED: Duration = Duration::from_secs(60);
/// Longest time of an operation that nothing disturbs, and of one that is taken over; on real Odoo a template is built in it.
const PATIENCE: Duration = Duration::from_secs(120);
const REAL_PATIENCE: Duration = Duration::from_secs(300);
/// Leases are renewed more often than this.
const RENEWALS: u64 = 5_000;

/// A deployment with two workers whose operations are killed one after the other.
pub struct Lane {
    // Before the stack: its session ends first.
    bystander: Bystander,
    stack: Stack,
    secrets: Secrets,
    patience: Duration,
    undisturbed: BTreeMap<(String, Way), Duration>,
    /// What the next import brings: made before anything is armed.
    archive: Option<Vec<u8>>,
    /// Deletes that tidy up behind earlier points.
    tidying: Vec<String>,
    serial: u32,
}

/// An operation under way, and the instance that brought it about.
struct Started {
    operation: String,
    instance: String,
}

/// What postgres1 knows of an operation.
#[derive(Deserialize)]
struct Kept {
    state: String,
    error: Option<serde_json::Value>,
    /// In microseconds since 1970, by the clock that the test reads as well.
    created: i64,
    finished: Option<i64>,
}

impl Lane {
    /// A durable deployment with a template that is ready, and a bystander.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(runtime: &Runtime) -> Result<Self> {
        let patience = if *runtime == Runtime::Fake { PATIENCE } else { REAL_PATIENCE };
        // A backup that stops Odoo has all the steps of one that does not.
        let environment = vec![("BACKUP_MODE".to_owned(), "offline".to_owned())];
        let options =
            StackOptions { workers: 2, durable: true, runtime: runtime.clone(), environment, ..StackOptions::default() };
        let stack = Stack::start(&options)?;
        let bystander = Bystander::settle(&stack, patience)?;
        let secrets = Secrets::of_all();
        Ok(Self {
            bystander,
            stack,
            secrets,
            patience,
            undisturbed: BTreeMap::new(),
            archive: None,
            tidying: Vec::new(),
            serial: 0,
        })
    }

    /// Kills the worker that reaches the point, and judges what follows.
    ///
    /// # Errors
    /// When the point is never reached, takeover or end are late, or an invariant is broken.
    pub fn kill_at(&mut self, point: &Point) -> Result<Measured> {
        let undisturbed = self.undisturbed(point)?;
        let subject = self.prepare(&point.kind)?;
        self.arm(point)?;
        let started = self.begin(&point.kind, subject)?;
        let killed = self.await_kill(&started)?;
        let expected = if point.way == Way::Back { "failed" } else { "succeeded" };
        let kept = self.ends(&started.operation, expected)?;
        let caught = self.stack.faults().caught(0)?;
        self.stack.faults().disarm()?;
        let measured = Measured { caught, ..self.measure(&started.operation, &kept, killed)? };
        if let Some(takeover) = measured.takeover {
            ensure!(takeover <= TAKEOVER, "the next owner's first step came after {takeover:?}");
        }
        let slowed = if point.slow { Duration::from_millis(RENEWALS) } else { Duration::ZERO };
        let limit = TAKEOVER + 3 * undisturbed + slowed;
        let took = measured.convergence;
        ensure!(took <= limit, "it ended after {took:?}; undisturbed it takes {undisturbed:?}");
        self.stack.start_worker()?;
        self.invariants()?;
        self.tidy(&started.instance)?;
        Ok(measured)
    }

    fn invariants(&mut self) -> Result<()> {
        let mut violations = invariants::check(&self.stack, &mut self.secrets)?;
        violations.extend(self.bystander.check(&self.stack)?);
        let text: Vec<String> = violations.iter().map(ToString::to_string).collect();
        ensure!(text.is_empty(), "{}", text.join("; "));
        Ok(())
    }

    /// How long the same operation takes that nobody kills, measured once.
    fn undisturbed(&mut self, point: &Point) -> Result<Duration> {
        let key = (point.kind.clone(), point.way);
        if let Some(known) = self.undisturbed.get(&key) {
            return Ok(*known);
        }
        let subject = self.prepare(&point.kind)?;
        let turn = point.turn.iter().map(|turn| Armed::once(turn, Action::Error(Kind::Permanent)));
        self.stack.faults().arm(&turn.collect::<Vec<_>>())?;
        let started = self.begin(&point.kind, subject)?;
        let kept = self.ends(&started.operation, if point.way == Way::Back { "failed" } else { "succeeded" })?;
        self.tidy(&started.instance)?;
        let took = between(kept.created, kept.finished.context("it has ended")?);
        self.undisturbed.insert(key, took);
        Ok(took)
    }

    fn arm(&self, point: &Point) -> Result<()> {
        let mut armed = vec![Armed::once(&point.name, Action::Kill)];
        armed.extend(point.turn.iter().map(|turn| Armed::once(turn, Action::Error(Kind::Permanent))));
        if let Some(fake) = &self.stack.fake {
            fake.clear_faults()?;
        }
        if point.slow {
            let fake = self.stack.fake.as_ref().context("only the fake runtime can be slowed down")?;
            fake.fault(Fault { call: Call::Ensure, service: None, times: 1, effect: Effect::Delay(RENEWALS) })?;
        }
        self.stack.faults().arm(&armed)
    }

    /// What has to be there before the operation can be started: the instance that it is about.
    fn prepare(&mut self, kind: &str) -> Result<Option<String>> {
        for operation in std::mem::take(&mut self.tidying) {
            self.ends(&operation, "succeeded")?;
        }
        if matches!(kind, "provision" | "build_template") {
            return Ok(None);
        }
        let started = self.begin("provision", None)?;
        self.ends(&started.operation, "succeeded")?;
        self.secrets.learn(&self.stack)?;
        let before = match kind {
            "start" => Some(self.stack.act(&started.instance, "stop")?),
            "unpause" => Some(self.stack.act(&started.instance, "suspend")?),
            "reactivate" => Some(self.stack.terminate(&started.instance)?),
            "restore" | "forget_replaced" | "undo_restore" | "verify_backup" | "prune_backups" | "export" | "import" => {
                Some(self.stack.act(&started.instance, "backup")?)
            }
            _ => None,
        };
        if let Some(before) = before {
            self.ends(&before, "succeeded")?;
        }
        if matches!(kind, "forget_replaced" | "undo_restore") {
            let backup = self.stack.backups(&started.instance)?.into_iter().next().context("there is no backup")?;
            let restore = self.stack.restore(&started.instance, &backup)?;
            self.ends(&restore, "succeeded")?;
        }
        if kind == "import" {
            let backup = self.stack.backups(&started.instance)?.into_iter().next().context("there is no backup")?;
            self.archive = Some(self.stack.export(&backup, self.patience)?);
        }
        if kind == "prune_backups" {
            let second = self.stack.act(&started.instance, "backup")?;
            self.ends(&second, "succeeded")?;
        }
        if kind == "unpause" {
            self.stack.note_billing(&started.instance, "paid")?;
        }
        Ok(Some(started.instance))
    }

    fn begin(&mut self, kind: &str, subject: Option<String>) -> Result<Started> {
        let instance = |subject: Option<String>| subject.context("nothing was prepared");
        match kind {
            "provision" => {
                self.serial += 1;
                let order = self.stack.order(&format!("shop_{}", self.serial))?;
                let (instance, operation) = self.stack.provision(&order)?;
                Ok(Started { operation, instance })
            }
            "build_template" => self.rebuild(),
            "delete" => {
                let instance = instance(subject)?;
                Ok(Started { operation: self.stack.remove(&instance)?, instance })
            }
            "terminate" => {
                let instance = instance(subject)?;
                Ok(Started { operation: self.stack.terminate(&instance)?, instance })
            }
            "restore" => {
                let instance = instance(subject)?;
                let backup = self.stack.backups(&instance)?.into_iter().next().context("there is no backup")?;
                // A backup that was taken just now would do as the copy that is taken first.
                let old =
                    r#"UPDATE instance_service.backups SET summary = jsonb_set(summary, '{taken_at}', '"2020-01-01T00:00:00Z"')"#;
                self.stack.platform_sql(&format!("{old} WHERE instance_id = '{instance}'"))?;
                Ok(Started { operation: self.stack.restore(&instance, &backup)?, instance })
            }
            "update" => {
                let instance = instance(subject)?;
                let body = serde_json::json!({ "action": "update", "parameters": { "version": "19" } });
                let asked = self.stack.post(&format!("/api/v1/instances/{instance}/actions"), &body)?.expect(200)?;
                Ok(Started { operation: asked.text("job_id")?, instance })
            }
            "undo_restore" => {
                let instance = instance(subject)?;
                let path = format!("/api/v1/instances/{instance}/undo-restore");
                let asked = self.stack.post(&path, &serde_json::json!({}))?.expect(200)?;
                Ok(Started { operation: asked.text("job_id")?, instance })
            }
            "verify_backup" => {
                let instance = instance(subject)?;
                let backup = self.stack.backups(&instance)?.into_iter().next().context("there is no backup")?;
                let path = format!("/api/v1/backups/{backup}/verify");
                let asked = self.stack.post(&path, &serde_json::json!({ "restore": true }))?.expect(200)?;
                Ok(Started { operation: asked.text("job_id")?, instance })
            }
            "export" => {
                let instance = instance(subject)?;
                let backup = self.stack.backups(&instance)?.into_iter().next().context("there is no backup")?;
                let asked = self.stack.get(&format!("/api/v1/backups/{backup}/export"))?.expect(202)?;
                Ok(Started { operation: asked.text("operation_id")?, instance })
            }
            "import" => {
                let instance = instance(subject)?;
                let archive = self.archive.take().context("no archive was prepared")?;
                Ok(Started { operation: self.stack.import(&instance, &archive)?, instance })
            }
            "prune_backups" => {
                let instance = instance(subject)?;
                let backup = self.stack.backups(&instance)?.into_iter().next().context("there is no backup")?;
                let asked = self.stack.delete(&format!("/api/v1/backups/{backup}"))?.expect(200)?;
                Ok(Started { operation: asked.text("job_id")?, instance })
            }
            "forget_replaced" => {
                let instance = instance(subject)?;
                let due = format!(
                    "UPDATE instance_service.replaced_data SET keep_until = '-infinity' WHERE instance_id = '{instance}'"
                );
                self.stack.platform_sql(&due)?;
                Ok(Started { operation: self.forgets(&instance)?, instance })
            }
            "start" | "stop" | "restart" | "unpause" | "suspend" | "backup" => {
                let instance = instance(subject)?;
                Ok(Started { operation: self.stack.act(&instance, kind)?, instance })
            }
            "reactivate" => {
                let instance = instance(subject)?;
                Ok(Started { operation: self.stack.reactivate(&instance)?, instance })
            }
            "apply_resources" => {
                let instance = instance(subject)?;
                Ok(Started { operation: self.stack.resize(&instance, "3G")?, instance })
            }
            "reconcile" => {
                let begun = self.stack.post("/api/v1/monitoring/start", &serde_json::json!({}))?.expect(200)?;
                Ok(Started { operation: begun.text("task_id")?, instance: instance(subject)? })
            }
            other => bail!("nobody knows how to start a {other}"),
        }
    }

    /// The removal that the retention loop would order within the hour.
    fn forgets(&self, instance: &str) -> Result<String> {
        let id = "gen_random_uuid()";
        self.stack.platform_sql(&format!(
            "INSERT INTO instance_service.operations (id, scope, instance_id, kind, class, def_version, params, priority, door, actor)
             VALUES ({id}, 'instance:{instance}', '{instance}', 'forget_replaced', 'maintenance', 1, '{{}}', 0, 'worker', 'retention')
             RETURNING id"
        ))
    }

    /// The template counts as made with an older image: the next provisioning orders a new one.
    fn rebuild(&mut self) -> Result<Started> {
        self.stack.platform_sql("UPDATE instance_service.templates SET image = 'an older one' WHERE state = 'ready'")?;
        let ordered = "SELECT id FROM instance_service.operations WHERE kind = 'build_template' ORDER BY seq DESC LIMIT 1";
        let before = self.stack.platform_sql(ordered)?;
        let customer = self.begin("provision", None)?;
        let operation = eventually(REACHED, "the order of a new template", || {
            let newest = self.stack.platform_sql(ordered)?;
            Ok((newest != before).then_some(newest))
        })?;
        Ok(Started { operation, instance: customer.instance })
    }

    /// Waits until a worker was killed at the armed point; answers when.
    fn await_kill(&mut self, started: &Started) -> Result<SystemTime> {
        let faults = self.stack.faults();
        let reached = until(REACHED, "the armed point", || faults.fired(0));
        let killed = reached.with_context(|| format!("never reached by operation {}", started.operation))?;
        let mut dead = 0;
        until(Duration::from_secs(10), "a worker that was killed", || {
            dead += self.stack.bury_workers()?;
            Ok((dead > 0).then_some(()))
        })?;
        Ok(killed)
    }

    /// Waits for the end of an operation, on postgres1, and checks how it ended.
    fn ends(&self, operation: &str, state: &str) -> Result<Kept> {
        let query = format!(
            "SELECT state, error, (extract(epoch FROM created_at) * 1e6)::bigint AS created,
                    (extract(epoch FROM finished_at) * 1e6)::bigint AS finished
               FROM instance_service.operations WHERE id = '{operation}'"
        );
        let mut last = String::new();
        let ended = eventually(self.patience, &format!("the end of operation {operation}"), || {
            let kept: Vec<Kept> = self.stack.platform_rows(&query)?;
            let kept = kept.into_iter().next().with_context(|| format!("operation {operation} is gone"))?;
            last = format!("{} {:?}", kept.state, kept.error);
            let over = kept.finished.is_some() || kept.state == "needs_attention";
            Ok(over.then_some(kept))
        });
        let kept = ended.with_context(|| format!("last seen: {last}"))?;
        ensure!(kept.state == state, "operation {operation} should have {state}: {last}");
        Ok(kept)
    }

    /// The next owner's first word is the start of its first step: it writes nothing before.
    fn measure(&self, operation: &str, kept: &Kept, killed: SystemTime) -> Result<Measured> {
        let killed = i64::try_from(killed.duration_since(UNIX_EPOCH)?.as_micros())?;
        let first = self.stack.platform_sql(&format!(
            "SELECT (extract(epoch FROM min(created_at)) * 1e6)::bigint FROM instance_service.operation_events
              WHERE operation_id = '{operation}' AND created_at > to_timestamp({killed} / 1e6)"
        ))?;
        let takeover = if first.is_empty() { None } else { Some(between(killed, first.parse()?)) };
        Ok(Measured { takeover, convergence: between(killed, kept.finished.context("it has ended")?), caught: None })
    }

    /// Removes the instance; the next point waits for it.
    fn tidy(&mut self, instance: &str) -> Result<()> {
        let gone = self.stack.instance(instance)?["purged_at"].is_string();
        if !gone {
            self.secrets.learn(&self.stack)?;
            self.tidying.push(self.stack.remove(instance)?);
        }
        Ok(())
    }
}

/// From one moment to another, both in microseconds; nothing if the order is the other way round.
fn between(from: i64, to: i64) -> Duration {
    Duration::from_micros(u64::try_from(to - from).unwrap_or(0))
}
