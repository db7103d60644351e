//! Fault points that do something: armed by a script in the process, or by a control file from outside.
//!
//! The control file holds one [`Armed`] as JSON on each line. Whoever reaches a point takes one of its turns, by making the file
//! `….<line>.<turn>.fired` (both from 0), and then acts: so it acts `times` times over all workers, whatever is killed. The file
//! of a `during` point says `under way` or `over`: whether the effect was caught in its middle. A pause lasts until `….resume`
//! exists.

use crate::engine::faults::{Point, RENEW};
use crate::engine::keeper::Lease;
use crate::engine::{Cx, StepError, Verdict};
use domain::operation::Place;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(10);

/// What happens at an armed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// SIGKILL to this process.
    Kill,
    /// A panic.
    Panic,
    /// An error of this kind.
    Error(ErrorKind),
    /// Nothing goes on until it is resumed.
    Pause,
    /// The lease runs out without the holder being told.
    LeaseLoss,
    /// The run ends without another word, as if its worker was killed, and its lease runs out at once.
    Vanish,
    /// Every connection of our role to postgres1 is cut.
    Disconnect,
}

/// Kind of an error that a point ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Passing trouble.
    Retry,
    /// Not now.
    Snooze,
    /// A server is away.
    Unreachable,
    /// Will never work.
    Permanent,
    /// A safety check failed.
    NeedsAttention,
}

/// An armed point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Armed {
    /// Name of the point, as listed.
    pub point: String,
    /// What happens there.
    pub action: Action,
    /// How many times.
    #[serde(default = "once")]
    pub times: u32,
}

const fn once() -> u32 {
    1
}

/// Tells whether the effect of a step on postgres2 is seen active there: a `during` point waits for it.
pub type EffectSeen = Arc<dyn Fn(Cx) -> BoxFuture<'static, bool> + Send + Sync>;

/// The armed points of this process.
#[derive(Clone, Default)]
pub struct Faults {
    control: Option<PathBuf>,
    script: Arc<Mutex<Vec<Armed>>>,
    reached: Arc<Mutex<Vec<String>>>,
    effect_seen: Option<EffectSeen>,
    resumed: Arc<tokio::sync::Notify>,
}

impl Faults {
    /// Armed from outside, by this file.
    pub fn controlled_by(control: Option<PathBuf>) -> Self {
        if let Some(control) = &control {
            db::mutation::controlled_by(control.clone());
        }
        Self { control, ..Self::default() }
    }

    /// Armed from within, by this script.
    pub fn scripted(script: Vec<Armed>) -> Self {
        Self { script: Arc::new(Mutex::new(script)), ..Self::default() }
    }

    /// With a way to see effects on postgres2.
    #[must_use]
    pub fn seeing(mut self, effect_seen: EffectSeen) -> Self {
        self.effect_seen = Some(effect_seen);
        self
    }

    /// Lets a scripted pause go on.
    pub fn resume(&self) {
        self.resumed.notify_one();
    }

    /// Every point reached so far, in order.
    pub fn reached(&self) -> Vec<String> {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether part of the script has not acted yet.
    pub fn is_left(&self) -> bool {
        !self.script.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Arms one more point of the script.
    pub fn arm(&self, armed: Armed) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).push(armed);
    }

    /// Takes everything off the script that was not reached.
    pub fn disarm(&self) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn is_armed(&self, name: &str) -> bool {
        let script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        script.iter().any(|armed| armed.point == name) || self.turns(name).iter().any(|(_, turn)| !turn.exists())
    }

    /// The turns that the control file gives to a point: what happens, and the file whose maker has it.
    fn turns(&self, name: &str) -> Vec<(Action, PathBuf)> {
        let Some(control) = &self.control else { return Vec::new() };
        let text = std::fs::read_to_string(control).unwrap_or_default();
        let lines = text.lines().enumerate().filter_map(|(line, text)| Some((line, serde_json::from_str::<Armed>(text).ok()?)));
        let turns = lines.filter(|(_, armed)| armed.point == name).flat_map(|(line, armed)| {
            (0..armed.times).map(move |turn| (armed.action, beside(control, &format!("{line}.{turn}.fired"))))
        });
        turns.collect()
    }

    /// Takes a turn, with a note of what it found.
    fn take(&self, name: &str, note: &str) -> Option<(Action, Option<PathBuf>)> {
        for (action, turn) in self.turns(name) {
            let Ok(mut mark) = std::fs::File::create_new(turn) else { continue };
            if let Err(error) = mark.write_all(note.as_bytes()) {
                tracing::warn!(%error, "nobody will know what the fault point found");
            }
            return Some((action, self.control.clone()));
        }
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let index = script.iter().position(|armed| armed.point == name)?;
        script[index].times = script[index].times.saturating_sub(1);
        let action = script[index].action;
        if script[index].times == 0 {
            script.remove(index);
        }
        Some((action, None))
    }

    pub(crate) async fn reach(&self, point: Point, cx: &Cx, lease: &Lease) -> Result<(), StepError> {
        self.strike(point, "", cx, lease).await
    }

    async fn strike(&self, point: Point, note: &str, cx: &Cx, lease: &Lease) -> Result<(), StepError> {
        let name = point.to_string();
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).push(name.clone());
        let Some((action, control)) = self.take(&name, note) else { return Ok(()) };
        tracing::warn!(point = name, ?action, "fault point acts");
        match action {
            Action::LeaseLoss => {
                lease.forget();
                Ok(db::platform::disturb::expire_lease(&cx.services().db, cx.operation().id).await?)
            }
            Action::Vanish => {
                db::platform::disturb::expire_lease(&cx.services().db, cx.operation().id).await?;
                Err(StepError::new(Verdict::LeaseLost, "fault", "A fault was injected.", format!("fault point {name}")))
            }
            Action::Disconnect => Ok(db::platform::disturb::disconnect(&cx.services().db).await?),
            other => self.act(other, &name, control.as_deref()).await,
        }
    }

    async fn act(&self, action: Action, name: &str, control: Option<&Path>) -> Result<(), StepError> {
        match action {
            Action::Kill => kill().await,
            Action::Panic => panic_at(name),
            Action::Error(kind) => Err(error(kind, name)),
            Action::Pause => {
                self.wait(control).await;
                Ok(())
            }
            Action::LeaseLoss | Action::Vanish | Action::Disconnect => Ok(()),
        }
    }

    async fn wait(&self, control: Option<&Path>) {
        let Some(control) = control else { return self.resumed.notified().await };
        while !beside(control, "resume").exists() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Runs an effect, and disturbs it once it is under way.
    pub(crate) async fn during<T>(
        &self,
        point: Point,
        cx: &Cx,
        lease: &Lease,
        effect: impl Future<Output = Result<T, StepError>>,
    ) -> Result<T, StepError> {
        if !self.is_armed(&point.to_string()) {
            self.reached.lock().unwrap_or_else(PoisonError::into_inner).push(point.to_string());
            return effect.await;
        }
        let mut effect = std::pin::pin!(effect);
        let done = tokio::select! {
            biased;
            done = &mut effect => Some(done),
            () = self.under_way(point, cx) => None,
        };
        let note = if done.is_some() { "over" } else { "under way" };
        self.strike(point, note, cx, lease).await?;
        match done {
            Some(done) => done,
            None => effect.await,
        }
    }

    /// Ready once the effect was left pending, and, on postgres2, seen active there.
    async fn under_way(&self, point: Point, cx: &Cx) {
        let Some(seen) = self.effect_seen.as_ref().filter(|_| acts_on_postgres2(point, cx)) else { return };
        while !seen(cx.clone()).await {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The point where leases are renewed. Error and lease loss mean nothing there.
    pub(crate) async fn renewing(&self) {
        if let Some((action, control)) = self.take(RENEW, "") {
            tracing::warn!(point = RENEW, ?action, "fault point acts");
            if let Err(error) = self.act(action, RENEW, control.as_deref()).await {
                tracing::warn!(%error, "an error means nothing at this point");
            }
        }
    }
}

fn acts_on_postgres2(point: Point, cx: &Cx) -> bool {
    let Point::Step { step, .. } = point else { return false };
    cx.operation().plan.iter().any(|planned| planned.name == step && planned.place == Place::Postgres2)
}

fn beside(control: &Path, suffix: &str) -> PathBuf {
    let mut name = control.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

async fn kill() -> Result<(), StepError> {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
        .map_err(|error| StepError::permanent("fault", "Internal error.", error))?;
    std::future::pending().await
}

#[allow(clippy::panic, reason = "this is what the point is for")]
fn panic_at(name: &str) -> Result<(), StepError> {
    panic!("fault point {name}")
}

fn error(kind: ErrorKind, name: &str) -> StepError {
    let verdict = match kind {
        ErrorKind::Retry => Verdict::Retry,
        ErrorKind::Snooze => Verdict::Snooze { after: Duration::from_millis(100), unreachable: false },
        ErrorKind::Unreachable => Verdict::Snooze { after: Duration::from_millis(100), unreachable: true },
        ErrorKind::Permanent => Verdict::Permanent,
        ErrorKind::NeedsAttention => Verdict::NeedsAttention,
    };
    StepError::new(verdict, "fault", "A fault was injected.", format!("fault point {name}"))
}
