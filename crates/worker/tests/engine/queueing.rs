//! One operation at a time for each instance, in what order, and how many of one customer.

use crate::rig::{Act, Rig, hurried};
use db::platform::operations::Enqueued;
use db::platform::progress;
use domain::operation::{Kind, State};
use domain::sources::random_uuid;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn one_at_a_time_in_order_of_acceptance_with_the_front_for_those_that_close() {
    let rig = Rig::start();
    let instance = rig.instance();
    let backup = rig.enqueue(Kind::Backup, instance).await;
    let restart = rig.enqueue(Kind::Restart, instance).await;
    let terminate = rig.enqueue(Kind::Terminate, instance).await;
    for (id, position) in [(terminate, 1), (restart, 3)] {
        assert_eq!(progress::view(&rig.db, id).await.unwrap().unwrap().queue_position, Some(position));
    }
    let _running = rig.run(hurried("one"));
    for id in [backup, restart, terminate] {
        rig.reaches(id, State::Succeeded).await;
    }
    let order = rig.psql("SELECT string_agg(kind, ' ' ORDER BY started_at) FROM instance_service.operations");
    assert_eq!(order, "terminate backup restart");
    let overlaps = "SELECT count(*) FROM instance_service.operations a JOIN instance_service.operations b
                        ON a.id < b.id AND a.started_at < b.finished_at AND b.started_at < a.finished_at";
    assert_eq!(rig.psql(overlaps), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_one_wakes_the_next_in_the_same_transaction() {
    let rig = Rig::start();
    let instance = rig.instance();
    let (engine, _stop) = rig.engine(hurried("one"), worker::engine::faults::Faults::default());
    let first = rig.enqueue(Kind::Backup, instance).await;
    let second = rig.enqueue(Kind::Restart, instance).await;
    assert_eq!(rig.get(second).await.wake_no, 0);
    worker::engine::Handler::handle(&engine, second).await.unwrap();
    assert_eq!(rig.get(second).await.state, State::Queued, "its turn had not come");
    worker::engine::Handler::handle(&engine, first).await.unwrap();
    assert_eq!((rig.get(first).await.state, rig.get(second).await.wake_no), (State::Succeeded, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_wait_and_the_eleventh_is_refused_but_closing_access_never_is() {
    let rig = Rig::start();
    let instance = rig.instance();
    for _ in 0..10 {
        rig.enqueue(Kind::Backup, instance).await;
    }
    assert_eq!(rig.try_enqueue(rig.new_operation(Kind::Backup, instance)).await, Enqueued::QueueFull);
    rig.enqueue(Kind::Delete, instance).await;
    rig.enqueue(Kind::Backup, rig.instance()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_joins_the_equal_one_that_is_last() {
    let rig = Rig::start();
    let instance = rig.instance();
    let start = rig.enqueue(Kind::Start, instance).await;
    assert_eq!(rig.try_enqueue(rig.new_operation(Kind::Start, instance)).await, Enqueued::Joined(start));
    rig.enqueue(Kind::Restart, instance).await;
    let again = rig.try_enqueue(rig.new_operation(Kind::Start, instance)).await;
    assert!(matches!(again, Enqueued::Accepted(id) if id != start));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_has_its_share_and_others_do_not_wait_for_it() {
    let rig = Rig::start();
    let greedy = random_uuid(&bootstrap::OsEntropy);
    rig.world.script("apply a", &[Act::Sleep(600)]);
    let mut settings = hurried("one");
    settings.share = 2;
    let _running = rig.run(settings);
    let mut ids = Vec::new();
    for _ in 0..6 {
        ids.push(rig.enqueue(Kind::Provision, rig.instance_of(greedy)).await);
    }
    let modest = rig.provision().await;
    let (modest, last) = (rig.reaches(modest, State::Succeeded).await, rig.reaches(ids[5], State::Succeeded).await);
    assert!(modest.started_at < last.started_at);
    let together = format!(
        "WITH o AS (SELECT o.* FROM instance_service.operations o JOIN public.instances i ON i.id = o.instance_id WHERE customer_id = '{greedy}')
         SELECT max(n) FROM (SELECT count(*) AS n FROM o a JOIN o b ON b.started_at <= a.started_at AND b.finished_at > a.started_at GROUP BY a.id) c"
    );
    assert_eq!(rig.psql(&together), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweeper_wakes_the_least_recently_served_first() {
    let rig = Rig::start();
    // In the order of their acceptance the customer who was served last comes first, and so would its wake-up.
    let customers: Vec<_> = (0..4).map(|_| random_uuid(&bootstrap::OsEntropy)).collect();
    let mut waiting = Vec::new();
    for (minutes, customer) in customers.iter().enumerate() {
        let before = rig.enqueue(Kind::Provision, rig.instance_of(*customer)).await;
        rig.psql(&format!(
            "UPDATE instance_service.operations SET state = 'succeeded', started_at = now() - interval '{minutes} min' WHERE id = '{before}'"
        ));
        waiting.push(rig.enqueue(Kind::Provision, rig.instance_of(*customer)).await);
    }
    waiting.push(rig.provision().await);
    rig.psql("DELETE FROM apalis.jobs; UPDATE instance_service.operations SET woken_at = NULL");
    let claimant = db::platform::claims::Claimant {
        owner: "sweeper".to_owned(),
        ttl: Duration::from_secs(6),
        known: vec![db::platform::claims::Known { kind: Kind::Provision, version: 1, plan: Vec::new(), limit: None }],
        share: 4,
    };
    assert_eq!(db::queue::sweep(&rig.db, &claimant).await.unwrap(), 5);
    assert_eq!(db::queue::sweep(&rig.db, &claimant).await.unwrap(), 0, "just woken");
    // As apalis hands them out.
    let order =
        rig.psql("SELECT string_agg(split_part(idempotency_key, ':', 1), ' ' ORDER BY priority DESC, run_at) FROM apalis.jobs");
    let expected: Vec<String> = waiting.iter().rev().map(ToString::to_string).collect();
    assert_eq!(order, expected.join(" "));
    assert_eq!(rig.psql("SELECT count(DISTINCT run_at) || ' ' || bool_and(run_at <= now()) FROM apalis.jobs"), "5 true");
}
