//! What every driver must do. Each function is one rule; the macro at the end turns them into tests of a stage.

use crate::stage::{Stage, later, new_operation, until};
use domain::ids::InstanceId;
use domain::sources::random_uuid;
use domain::version::OdooVersion;
use runtime::{Class, Cursor, Files, Observed, OneOff, Owner, Readiness, Service, Task, Turn, Workload};
use std::collections::BTreeSet;
use std::time::Duration;

const GRACE: Duration = Duration::from_secs(30);

async fn up(stage: &impl Stage, workload: &Workload) {
    stage.runtime().ensure(workload).await.unwrap();
    answering(stage, workload).await;
}

async fn answering(stage: &impl Stage, workload: &Workload) {
    let runtime = stage.runtime();
    until("Odoo is ready", async || runtime.ready(workload).await.unwrap() == Readiness::Ready).await;
}

fn of_somebody_else(service: &Service) -> Service {
    let owner = Owner::Instance(InstanceId::from_uuid(random_uuid(&crate::stage::SystemEntropy)));
    Service { name: service.name.clone(), owner }
}

pub async fn an_unknown_service_is_absent(stage: impl Stage) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    assert_eq!(runtime.observe(&workload.service).await.unwrap(), Observed::Absent);
    assert_eq!(runtime.logs(&workload.service, 10).await.unwrap(), Vec::<String>::new());
    runtime.stop(&workload.service, workload.turn, GRACE).await.unwrap();
    runtime.remove(&workload.service, workload.turn).await.unwrap();
    assert_eq!(runtime.observe(&workload.service).await.unwrap(), Observed::Absent);
    assert_eq!(runtime.list().await.unwrap(), []);
}

pub async fn ensure_twice_is_one_process(stage: impl Stage) {
    let workload = stage.workload().await;
    up(&stage, &workload).await;
    let before = stage.runtime().observe(&workload.service).await.unwrap();
    assert!(matches!(before, Observed::Running { .. }), "{before:?}");
    // Another operation of another worker asks for the same.
    let again = Workload { turn: Turn { operation: new_operation(), ..workload.turn }, ..workload.clone() };
    assert_eq!(stage.runtime().ensure(&again).await.unwrap(), before);
    assert_eq!(stage.starts(&workload).await, 1);
    assert_eq!(stage.runtime().list().await.unwrap()[0].operation, again.turn.operation);
}

pub async fn a_service_outlives_its_worker_and_is_adopted(stage: impl Stage) {
    let workload = stage.workload().await;
    stage.ensure_and_die(&workload).await;
    answering(&stage, &workload).await;
    assert!(stage.runtime().ensure(&workload).await.unwrap().is_up());
    assert_eq!(stage.starts(&workload).await, 1);
    stage.runtime().stop(&workload.service, workload.turn, GRACE).await.unwrap();
    assert_eq!(stage.runtime().observe(&workload.service).await.unwrap(), Observed::Stopped);
}

pub async fn a_changed_workload_replaces_the_process(stage: impl Stage) {
    let mut workload = stage.workload().await;
    up(&stage, &workload).await;
    workload.limits.memory = "2G".parse().unwrap();
    up(&stage, &workload).await;
    assert_eq!(stage.starts(&workload).await, 2);
    assert_eq!(stage.runtime().list().await.unwrap().len(), 1);
}

pub async fn a_crash_is_seen_and_repaired_by_ensure(stage: impl Stage) {
    let workload = stage.workload().await;
    up(&stage, &workload).await;
    stage.crash(&workload).await;
    let runtime = stage.runtime();
    until("the crash is seen", async || !runtime.observe(&workload.service).await.unwrap().is_up()).await;
    let Observed::Failed { reason } = runtime.observe(&workload.service).await.unwrap() else {
        panic!("a crash must read as failed");
    };
    assert!(reason.starts_with("Odoo exited by itself"), "{reason}");
    assert_ne!(runtime.ready(&workload).await.unwrap(), Readiness::Ready);
    up(&stage, &workload).await;
    assert_eq!(stage.starts(&workload).await, 2);
}

pub async fn stop_is_final_and_repeatable(stage: impl Stage) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    up(&stage, &workload).await;
    for _ in 0..2 {
        runtime.stop(&workload.service, workload.turn, GRACE).await.unwrap();
        assert_eq!(runtime.observe(&workload.service).await.unwrap(), Observed::Stopped);
        assert!(matches!(runtime.ready(&workload).await.unwrap(), Readiness::NotYet { .. }));
    }
    up(&stage, &workload).await;
    assert_eq!(stage.starts(&workload).await, 2);
}

pub async fn stop_of_a_failed_service_leaves_it_stopped(stage: impl Stage) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    up(&stage, &workload).await;
    stage.crash(&workload).await;
    runtime.stop(&workload.service, workload.turn, GRACE).await.unwrap();
    assert_eq!(runtime.observe(&workload.service).await.unwrap(), Observed::Stopped);
}

pub async fn remove_is_repeatable_and_keeps_the_data(stage: impl Stage) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    up(&stage, &workload).await;
    for _ in 0..2 {
        runtime.remove(&workload.service, workload.turn).await.unwrap();
        assert_eq!(runtime.observe(&workload.service).await.unwrap(), Observed::Absent);
        assert_eq!(runtime.logs(&workload.service, 10).await.unwrap(), Vec::<String>::new());
    }
    assert!(workload.directory.join("data/filestore").is_dir());
    up(&stage, &workload).await;
}

pub async fn two_starters_make_one_process(stage: impl Stage) {
    let workload = stage.workload().await;
    let (one, two) = (stage.runtime(), stage.runtime());
    let (first, second) = tokio::join!(one.ensure(&workload), two.ensure(&workload));
    assert!(first.unwrap().is_up() && second.unwrap().is_up());
    answering(&stage, &workload).await;
    assert_eq!(stage.starts(&workload).await, 1);
}

pub async fn a_missing_version_is_permanent_and_clear(stage: impl Stage) {
    let error = stage.runtime().resolve_image(OdooVersion::new(3)).await.unwrap_err();
    assert_eq!(error.class(), Class::Permanent);
    assert_eq!(error.public(), "Odoo 3 is not available on this platform");
    let image = stage.runtime().resolve_image(stage.version()).await.unwrap();
    assert_eq!(image, stage.workload().await.image);
}

pub async fn no_service_without_its_directory(stage: impl Stage) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    stage.ground().directories.remove(&workload.directory, workload.service.owner, workload.turn).await.unwrap();
    assert_eq!(runtime.ensure(&workload).await.unwrap_err().class(), Class::Permanent);
    std::fs::create_dir(&workload.directory).unwrap();
    assert_eq!(runtime.ensure(&workload).await.unwrap_err().class(), Class::Foreign);
    assert_eq!(runtime.observe(&workload.service).await.unwrap(), Observed::Absent);
}

pub async fn what_belongs_to_another_is_not_touched(stage: impl Stage) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    up(&stage, &workload).await;
    let wrong = of_somebody_else(&workload.service);
    assert_eq!(runtime.observe(&wrong).await.unwrap_err().class(), Class::Foreign);
    assert_eq!(runtime.stop(&wrong, workload.turn, GRACE).await.unwrap_err().class(), Class::Foreign);
    assert_eq!(runtime.remove(&wrong, workload.turn).await.unwrap_err().class(), Class::Foreign);
    assert_eq!(runtime.logs(&wrong, 1).await.unwrap_err().class(), Class::Foreign);
    let stolen = Workload { service: wrong, ..workload.clone() };
    assert_eq!(runtime.ensure(&stolen).await.unwrap_err().class(), Class::Foreign);
    assert!(runtime.observe(&workload.service).await.unwrap().is_up());
}

pub async fn the_list_shows_every_mark(stage: impl Stage) {
    let runtime = stage.runtime();
    let (running, stopped) = (stage.workload().await, stage.workload().await);
    up(&stage, &running).await;
    up(&stage, &stopped).await;
    runtime.stop(&stopped.service, stopped.turn, GRACE).await.unwrap();
    let listed = runtime.list().await.unwrap();
    assert_eq!(listed.len(), 2);
    for (workload, is_up) in [(&running, true), (&stopped, false)] {
        let entry = listed.iter().find(|entry| entry.name == workload.service.name).unwrap();
        assert_eq!((entry.owner, entry.operation), (workload.service.owner, workload.turn.operation));
        assert_eq!((&entry.image, &entry.directory), (&workload.image, &workload.directory));
        assert_eq!(entry.observed.is_up(), is_up);
    }
}

pub async fn logs_are_the_last_lines_oldest_first(stage: impl Stage) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    up(&stage, &workload).await;
    runtime.stop(&workload.service, workload.turn, GRACE).await.unwrap();
    let all = runtime.logs(&workload.service, 1000).await.unwrap();
    assert!(all.len() >= 2, "{all:?}");
    assert!(all.iter().all(|line| !line.contains(crate::stage::PASSWORD)));
    assert_eq!(runtime.logs(&workload.service, 1).await.unwrap(), all[all.len() - 1..]);
}

pub async fn free_ports_leave_out_those_taken(stage: impl Stage) {
    let runtime = stage.runtime();
    let Some(first) = runtime.free_port(&BTreeSet::new()).await.unwrap() else { return };
    let second = runtime.free_port(&BTreeSet::from([first])).await.unwrap().unwrap();
    assert_ne!(first, second);
}

pub async fn unreachable_is_not_absent(stage: impl Stage) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    up(&stage, &workload).await;
    runtime.stop(&workload.service, workload.turn, GRACE).await.unwrap();
    stage.lose_sight().await;
    assert_eq!(runtime.observe(&workload.service).await.unwrap_err().class(), Class::Unreachable);
    assert_eq!(runtime.list().await.unwrap_err().class(), Class::Unreachable);
    assert_eq!(runtime.events(None, Duration::ZERO).await.unwrap_err().class(), Class::Unreachable);
    assert_eq!(runtime.stop(&workload.service, workload.turn, GRACE).await.unwrap_err().class(), Class::Unreachable);
}

pub async fn what_happens_while_nobody_reads_is_told_later(stage: impl Stage) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    let begin = runtime.events(None, GRACE).await.unwrap();
    assert_eq!((begin.events.len(), begin.gap), (0, false), "what was before is nobody's news");
    up(&stage, &workload).await;
    let started = runtime.events(Some(&begin.next), GRACE).await.unwrap();
    assert!(!started.gap && started.events.iter().all(|event| event.service == workload.service), "{started:?}");
    assert!(!started.events.is_empty());
    let again = stage.runtime().events(Some(&begin.next), GRACE).await.unwrap();
    assert_eq!(again.events[0].id, started.events[0].id, "told twice, it is known again");
    // Another reader goes on where this one stood.
    stage.crash(&workload).await;
    let (other, mut cursor) = (stage.runtime(), started.next);
    until("the crash is told", async || {
        let told = other.events(Some(&cursor), Duration::ZERO).await.unwrap();
        assert!(!told.gap);
        cursor = told.next;
        !told.events.is_empty() && !other.observe(&workload.service).await.unwrap().is_up()
    })
    .await;
    runtime.remove(&workload.service, workload.turn).await.unwrap();
    let removed = other.events(Some(&cursor), GRACE).await.unwrap();
    assert_eq!(removed.events.first().map(|event| &event.service), Some(&workload.service), "{removed:?}");
    let quiet = other.events(Some(&removed.next), Duration::ZERO).await.unwrap();
    assert_eq!((quiet.events.len(), quiet.gap), (0, false), "nothing is told twice");
}

pub async fn a_cursor_that_says_nothing_is_a_gap(stage: impl Stage) {
    let runtime = stage.runtime();
    let strange: Cursor = serde_json::from_value("of another engine".into()).unwrap();
    let told = runtime.events(Some(&strange), GRACE).await.unwrap();
    assert!(told.gap);
    assert!(!runtime.events(Some(&told.next), Duration::ZERO).await.unwrap().gap);
}

/// The same workload in the turn before.
fn earlier(workload: &Workload) -> Workload {
    Workload { turn: Turn { token: workload.turn.token - 1, ..workload.turn }, ..workload.clone() }
}

fn run_of(workload: Workload) -> OneOff {
    OneOff { workload, task: Task::Initialise, limit: GRACE, files: Files::Live }
}

pub async fn an_overtaken_turn_changes_nothing(stage: impl Stage) {
    let (runtime, first) = (stage.runtime(), stage.workload().await);
    let workload = Workload { turn: later(first.turn), ..first.clone() };
    up(&stage, &workload).await;
    assert_eq!(runtime.ensure(&first).await.unwrap_err().class(), Class::Stale);
    assert_eq!(runtime.stop(&first.service, first.turn, GRACE).await.unwrap_err().class(), Class::Stale);
    assert_eq!(runtime.remove(&first.service, first.turn).await.unwrap_err().class(), Class::Stale);
    assert_eq!(runtime.run_once(&run_of(first)).await.unwrap_err().class(), Class::Stale);
    assert!(runtime.observe(&workload.service).await.unwrap().is_up());
    assert_eq!(stage.starts(&workload).await, 1);
}

pub async fn a_removed_service_stays_removed(stage: impl Stage) {
    let (runtime, first) = (stage.runtime(), stage.workload().await);
    up(&stage, &first).await;
    runtime.remove(&first.service, later(first.turn)).await.unwrap();
    assert_eq!(runtime.ensure(&first).await.unwrap_err().class(), Class::Stale);
    assert_eq!(runtime.run_once(&run_of(first.clone())).await.unwrap_err().class(), Class::Stale);
    assert_eq!(runtime.observe(&first.service).await.unwrap(), Observed::Absent);
}

pub async fn a_service_removed_before_it_was_made_is_not_made(stage: impl Stage) {
    let (runtime, workload) = (stage.runtime(), stage.workload().await);
    runtime.remove(&workload.service, workload.turn).await.unwrap();
    let late = earlier(&workload);
    assert_eq!(runtime.ensure(&late).await.unwrap_err().class(), Class::Stale);
    assert_eq!(runtime.run_once(&run_of(late.clone())).await.unwrap_err().class(), Class::Stale);
    assert_eq!(runtime.stop(&late.service, late.turn, GRACE).await.unwrap_err().class(), Class::Stale);
    assert_eq!(runtime.observe(&workload.service).await.unwrap(), Observed::Absent);
    assert_eq!(stage.starts(&workload).await, 0);
}

/// Calls a macro with the name of every rule.
macro_rules! rules {
    ($each:ident $($with:tt)*) => {
        $each! { $($with)*
            an_unknown_service_is_absent ensure_twice_is_one_process a_service_outlives_its_worker_and_is_adopted
            a_changed_workload_replaces_the_process a_crash_is_seen_and_repaired_by_ensure stop_is_final_and_repeatable
            stop_of_a_failed_service_leaves_it_stopped remove_is_repeatable_and_keeps_the_data two_starters_make_one_process
            a_missing_version_is_permanent_and_clear no_service_without_its_directory what_belongs_to_another_is_not_touched
            the_list_shows_every_mark logs_are_the_last_lines_oldest_first free_ports_leave_out_those_taken
            unreachable_is_not_absent an_overtaken_turn_changes_nothing a_removed_service_stays_removed
            a_service_removed_before_it_was_made_is_not_made
            what_happens_while_nobody_reads_is_told_later a_cursor_that_says_nothing_is_a_gap
        }
    };
}
pub(crate) use rules;

/// Every rule in turn, each on a stage of its own; for stages whose foundation is too dear to make for each.
macro_rules! each_rule_in_turn {
    ($stage:expr; $($rule:ident)+) => {$(
        eprintln!("rule {}", stringify!($rule));
        crate::suite::$rule($stage).await;
    )+};
}
pub(crate) use each_rule_in_turn;

/// One test for each rule, on a stage of its own.
macro_rules! each_rule_is_a_test {
    ($stage:expr; $($rule:ident)+) => {$(
        #[tokio::test]
        async fn $rule() {
            crate::suite::$rule($stage).await;
        }
    )+};
}
pub(crate) use each_rule_is_a_test;
