//! One customer's life, and everything that may go wrong on the way.

use crate::rig::Rig;
use clients::KillBillError;
use db::platform::turn::Turn;
use domain::ids::SubscriptionId;
use serde_json::{Value, json};
use worker::billing::{Failure, Looked, Occasion};
use worker::reconcile::Round as _;

#[tokio::test]
async fn a_trial_is_provisioned_owes_is_paid_fails_comes_back_and_ends() {
    let rig = Rig::start();
    let id = rig.subscribed(true);
    rig.push(&rig.engine.event("SUBSCRIPTION_CREATION", &id, Value::Null)).await;
    assert_eq!(rig.at(&id).await, "creating none trial running");
    assert_eq!(rig.instance(&id).await.customer_id.to_string(), rig.customer, "the account's external key");
    rig.play(&id).await;
    assert_eq!(rig.at(&id).await, "running none trial running");

    rig.push(&rig.engine.end_trial(&id)).await;
    assert_eq!(rig.at(&id).await, "running none payment_required running", "it runs on");
    let invoice = rig.engine.bill(&id).unwrap();
    rig.push(&rig.engine.pay(&invoice).unwrap()).await;
    assert_eq!(rig.at(&id).await, "running none paid running");

    let invoice = rig.engine.bill(&id).unwrap();
    rig.push(&rig.engine.fail(&invoice).unwrap()).await;
    assert_eq!(rig.at(&id).await, "paused debt payment_required stopped");
    let message = rig.instance(&id).await.error_message.unwrap();
    assert_eq!(message, "Instance suspended due to billing issues (a payment failed)");
    rig.play(&id).await;
    rig.push(&rig.engine.pay(&invoice).unwrap()).await;
    assert_eq!(rig.at(&id).await, "starting none paid running", "without the customer's help");
    rig.play(&id).await;
    assert_eq!(rig.at(&id).await, "running none paid running");

    rig.push(&rig.engine.cancel(&id)).await;
    assert_eq!(rig.at(&id).await, "terminated none paid terminated");
    assert_eq!(
        rig.sql("SELECT DISTINCT door || ' ' || actor FROM instance_service.audit_log WHERE actor <> 'played'"),
        "worker billing"
    );
}

#[tokio::test]
async fn a_paid_plan_is_made_when_it_is_paid_and_not_before() {
    let rig = Rig::start();
    let id = rig.subscribed(false);
    rig.push(&rig.engine.event("SUBSCRIPTION_CREATION", &id, Value::Null)).await;
    let invoice = rig.engine.bill(&id).unwrap();
    let failed = rig.engine.fail(&invoice).unwrap();
    rig.push(&failed).await;
    assert!(rig.find(&id).await.is_none());
    let mut forged = failed;
    forged["eventType"] = "INVOICE_PAYMENT_SUCCESS".into();
    rig.push(&forged).await;
    assert!(rig.find(&id).await.is_none(), "an event is not believed");
    rig.push(&rig.engine.pay(&invoice).unwrap()).await;
    assert_eq!(rig.at(&id).await, "creating none paid running");
    assert_eq!(rig.events(), "done done done done");
}

#[tokio::test]
async fn forged_events_do_no_harm() {
    let rig = Rig::start();
    let id = rig.subscribed(true);
    rig.push(&rig.engine.event("SUBSCRIPTION_CREATION", &id, Value::Null)).await;
    rig.play(&id).await;
    let (before, revision) = (rig.at(&id).await, rig.instance(&id).await.revision);
    let invoice = rig.engine.bill(&id).unwrap();
    let paid = rig.engine.pay(&invoice).unwrap();
    for kind in ["SUBSCRIPTION_CANCEL", "SUBSCRIPTION_EXPIRED", "SUBSCRIPTION_PHASE"] {
        rig.deliver(&rig.engine.event(kind, &id, Value::Null)).await;
    }
    for kind in ["INVOICE_PAYMENT_FAILED", "OVERDUE_CHANGE"] {
        let mut forged = paid.clone();
        forged["eventType"] = kind.into();
        rig.deliver(&forged).await;
    }
    rig.work().await;
    assert_eq!((rig.at(&id).await, rig.instance(&id).await.revision), (before, revision));
}

#[tokio::test]
async fn a_failure_that_left_no_trace_counts_while_its_invoice_is_unpaid() {
    let rig = Rig::start();
    let id = rig.subscribed(true);
    rig.push(&rig.engine.event("SUBSCRIPTION_CREATION", &id, Value::Null)).await;
    rig.play(&id).await;
    rig.engine.end_trial(&id);
    let invoice = rig.engine.bill(&id).unwrap();
    // Without a payment method the engine tries nothing, and says that it failed.
    let said = json!({"eventType": "INVOICE_PAYMENT_FAILED", "objectType": "INVOICE", "objectId": invoice});
    rig.push(&said).await;
    assert_eq!(rig.at(&id).await, "paused debt payment_required stopped");
    rig.push(&rig.engine.pay(&invoice).unwrap()).await;
    assert_eq!(rig.at(&id).await, "starting none paid running");
    rig.deliver(&said).await;
    rig.work().await;
    assert_eq!(rig.at(&id).await, "starting none paid running", "it is late, and the invoice is paid");
}

#[tokio::test]
async fn a_renewal_disturbs_nothing_and_what_its_customer_stopped_stays_down() {
    let rig = Rig::start();
    let id = rig.subscribed(false);
    rig.push(&rig.engine.pay(&rig.engine.bill(&id).unwrap()).unwrap()).await;
    rig.play(&id).await;
    let row = rig.instance(&id).await;
    rig.sql(&format!("UPDATE public.instances SET status = 'stopped', desired_state = 'stopped' WHERE id = '{}'", row.id));
    rig.push(&rig.engine.pay(&rig.engine.bill(&id).unwrap()).unwrap()).await;
    rig.sweep().await;
    assert_eq!(rig.at(&id).await, "stopped none paid stopped");
    // Down when it was suspended: the suspension is lifted, and it stays down.
    let invoice = rig.engine.bill(&id).unwrap();
    rig.push(&rig.engine.fail(&invoice).unwrap()).await;
    rig.push(&rig.engine.pay(&invoice).unwrap()).await;
    assert_eq!(rig.at(&id).await, "stopped none paid stopped");
}

#[tokio::test]
async fn money_tries_again_what_failed_and_the_sweep_does_not() {
    let rig = Rig::start();
    let id = rig.subscribed(false);
    rig.push(&rig.engine.pay(&rig.engine.bill(&id).unwrap()).unwrap()).await;
    rig.play(&id).await;
    rig.sql("UPDATE public.instances SET status = 'error', observed_state = 'failed'");
    rig.sweep().await;
    assert_eq!(rig.at(&id).await, "error none paid running");
    rig.push(&rig.engine.pay(&rig.engine.bill(&id).unwrap()).unwrap()).await;
    assert_eq!(rig.at(&id).await, "starting none paid running");
}

#[tokio::test]
async fn an_operators_suspension_holds() {
    let rig = Rig::start();
    let id = rig.subscribed(false);
    rig.push(&rig.engine.pay(&rig.engine.bill(&id).unwrap()).unwrap()).await;
    rig.play(&id).await;
    rig.sql("UPDATE public.instances SET status = 'paused', suspension = 'operator', resume_to = 'running', desired_state = 'stopped'");
    rig.push(&rig.engine.pay(&rig.engine.bill(&id).unwrap()).unwrap()).await;
    assert_eq!(rig.at(&id).await, "paused operator paid stopped");
    rig.push(&rig.engine.cancel(&id)).await;
    assert_eq!(rig.at(&id).await, "terminated none paid terminated");
}

#[tokio::test]
async fn custom_fields_are_waited_for() {
    let rig = Rig::start();
    let id = rig.engine.subscribe(&rig.account, true).unwrap();
    rig.push(&rig.engine.event("SUBSCRIPTION_CREATION", &id, Value::Null)).await;
    assert_eq!((rig.events().as_str(), rig.find(&id).await.is_none()), ("pending", true));
    let error = rig.sql("SELECT last_error FROM instance_service.webhook_events");
    assert_eq!(error, "the subscription's custom fields order no instance");
    rig.order(&id);
    rig.work().await;
    assert_eq!((rig.events().as_str(), rig.at(&id).await.as_str()), ("done", "creating none trial running"));
    // A subscription for something else is asked about for some minutes, and then no more.
    let other = rig.engine.subscribe(&rig.account, true).unwrap();
    rig.deliver(&rig.engine.event("SUBSCRIPTION_CREATION", &other, Value::Null)).await;
    for _ in 0..9 {
        rig.work().await;
    }
    assert_eq!(rig.events(), "done ignored");
}

#[tokio::test]
async fn an_order_that_breaks_a_rule_is_told_and_made_once_it_is_mended() {
    let rig = Rig::start();
    let id = rig.subscribed(true);
    rig.engine
        .set_fields(&id, &[("instance_odoo_version", "12"), ("instance_cpu_limit", "2.5"), ("instance_memory_limit", "2G")]);
    rig.push(&rig.engine.event("SUBSCRIPTION_CREATION", &id, Value::Null)).await;
    assert_eq!(rig.sql("SELECT last_error FROM instance_service.webhook_events"), "refused: odoo_version must be one of 17, 19");
    rig.engine.set_fields(&id, &[("instance_odoo_version", "17.0")]);
    rig.work().await;
    let row = rig.instance(&id).await;
    assert_eq!(
        (row.odoo_version.as_str(), row.cpu_limit.to_string(), row.memory_limit.to_string()),
        ("17", "2.5".into(), "2G".into())
    );
}

#[tokio::test]
async fn the_engine_may_be_down_for_a_while() {
    let rig = Rig::start();
    let id = rig.subscribed(true);
    rig.engine.set_down(true);
    rig.push(&rig.engine.event("SUBSCRIPTION_CREATION", &id, Value::Null)).await;
    rig.work().await;
    assert_eq!(rig.events(), "pending");
    let later = "SELECT attempts, next_try_at > clock_timestamp() + interval '3 seconds' FROM instance_service.webhook_events";
    assert_eq!(rig.sql(later), "2|t", "each pause is longer");
    assert!(rig.sync().round().await.is_err(), "a sweep that cannot ask says so");
    rig.engine.set_down(false);
    rig.work().await;
    assert_eq!((rig.events().as_str(), rig.at(&id).await.as_str()), ("done", "creating none trial running"));

    rig.engine.set_down(true);
    rig.deliver(&rig.engine.cancel(&id)).await;
    rig.sql("UPDATE instance_service.webhook_events SET give_up_at = '-infinity' WHERE state = 'pending'");
    rig.work().await;
    assert_eq!((rig.events().as_str(), rig.at(&id).await.as_str()), ("done dead", "creating none trial running"));
    rig.engine.set_down(false);
    assert_eq!(rig.sweep().await["events"], json!({"pending": 0, "dead": 1}));
    assert_eq!(rig.at(&id).await, "terminated none trial terminated", "the sweep repairs what was given up");
}

#[tokio::test]
async fn what_the_engine_does_not_know_is_ignored_and_ends_nothing() {
    let rig = Rig::start();
    let id = rig.subscribed(true);
    rig.push(&rig.engine.event("SUBSCRIPTION_CREATION", &id, Value::Null)).await;
    let unknown = "00000000-0000-0000-0000-000000000007";
    for (kind, object) in [("SUBSCRIPTION_CANCEL", "SUBSCRIPTION"), ("INVOICE_PAYMENT_FAILED", "INVOICE")] {
        rig.deliver(&json!({"eventType": kind, "objectType": object, "objectId": unknown})).await;
    }
    rig.work().await;
    assert_eq!(rig.events(), "done ignored ignored");
    rig.sql(&format!("UPDATE public.instances SET subscription_id = '{unknown}'"));
    let report = rig.sweep().await;
    assert_eq!(report["unknown"], 1, "{report}");
    assert_eq!(rig.sql(&format!("SELECT status FROM public.instances WHERE subscription_id = '{unknown}'")), "creating");
}

#[tokio::test]
async fn lost_events_are_repaired_by_the_sweep() {
    let rig = Rig::start();
    let (new, owing, over) = (rig.subscribed(true), rig.subscribed(true), rig.subscribed(true));
    let other = rig.engine.subscribe(&rig.account, true).unwrap();
    let report = rig.sweep().await;
    assert_eq!((&report["looked"], &report["moved"], &report["errors"]), (&json!(4), &json!(3), &json!(0)), "{report}");
    assert!(rig.find(&other).await.is_none(), "it orders nothing");
    rig.engine.end_trial(&owing);
    rig.engine.fail(&rig.engine.bill(&owing).unwrap()).unwrap();
    rig.engine.expire(&over);
    assert_eq!(rig.sweep().await["moved"], 2);
    assert_eq!(rig.at(&new).await, "creating none trial running");
    assert_eq!(rig.at(&owing).await, "paused debt payment_required stopped");
    assert_eq!(rig.at(&over).await, "terminated none trial terminated");
    assert_eq!(rig.sweep().await["moved"], 0, "a second look changes nothing");
}

#[tokio::test]
async fn a_return_is_ordered_paid_and_keeps_what_it_was() {
    let rig = Rig::start();
    let first = rig.subscribed(false);
    rig.push(&rig.engine.pay(&rig.engine.bill(&first).unwrap()).unwrap()).await;
    rig.play(&first).await;
    rig.push(&rig.engine.cancel(&first)).await;
    rig.play(&first).await;
    let instance = rig.instance(&first).await;

    let second = rig.engine.subscribe(&rig.account, false).unwrap();
    let target = instance.id.to_string();
    rig.engine.set_fields(&second, &[("reactivation", "true"), ("target_instance_id", &target)]);
    rig.push(&rig.engine.event("SUBSCRIPTION_CREATION", &second, Value::Null)).await;
    let waiting = rig.instance(&second).await;
    assert_eq!((waiting.id, rig.at(&second).await.as_str()), (instance.id, "terminated none payment_required terminated"));
    rig.push(&rig.engine.pay(&rig.engine.bill(&second).unwrap()).unwrap()).await;
    let back = rig.instance(&second).await;
    assert_eq!((back.id, rig.at(&second).await.as_str()), (instance.id, "starting none paid running"));
    rig.sweep().await;
    assert_eq!(rig.sql("SELECT count(*) FROM public.instances"), "1", "the ended subscription makes nothing new");
}

#[tokio::test]
async fn nobody_brings_back_what_is_another_customers() {
    let rig = Rig::start();
    let first = rig.subscribed(true);
    rig.push(&rig.engine.event("SUBSCRIPTION_CREATION", &first, Value::Null)).await;
    rig.push(&rig.engine.cancel(&first)).await;
    let target = rig.instance(&first).await.id.to_string();
    let stranger = rig.engine.account("00000000-0000-0000-0000-000000000009").unwrap();
    let theirs = rig.engine.subscribe(&stranger, true).unwrap();
    rig.engine.set_fields(&theirs, &[("reactivation", "true"), ("target_instance_id", &target)]);
    rig.push(&rig.engine.event("SUBSCRIPTION_CREATION", &theirs, Value::Null)).await;
    assert!(rig.find(&theirs).await.is_none());
    let error = rig.sql("SELECT last_error FROM instance_service.webhook_events WHERE state = 'pending'");
    assert_eq!(error, "refused: the instance to come back is not this customer's");
}

#[tokio::test]
async fn limits_follow_the_plan_and_not_the_clock() {
    let rig = Rig::start();
    let id = rig.subscribed(false);
    rig.engine.set_fields(&id, &[("instance_memory_limit", "2G")]);
    rig.push(&rig.engine.pay(&rig.engine.bill(&id).unwrap()).unwrap()).await;
    rig.play(&id).await;
    rig.engine.set_fields(&id, &[("instance_memory_limit", "4G"), ("instance_cpu_limit", "2")]);
    rig.push(&rig.engine.event("SUBSCRIPTION_CHANGE", &id, Value::Null)).await;
    let limits = "SELECT cpu_limit::float, memory_limit FROM public.instances";
    assert_eq!(rig.sql(limits), "2|4G");
    let kinds = "SELECT count(*) FROM instance_service.operations WHERE kind = 'apply_resources'";
    assert_eq!(rig.sql(kinds), "1", "what runs gets them at once");
    // Somebody changed it here: no sweep and no renewal puts that back.
    rig.sql("UPDATE public.instances SET memory_limit = '8G'");
    rig.sweep().await;
    rig.push(&rig.engine.pay(&rig.engine.bill(&id).unwrap()).unwrap()).await;
    assert_eq!(rig.sql(limits), "2|8G");
    // The plan changed, and nobody told.
    rig.engine.set_fields(&id, &[("instance_memory_limit", "1G")]);
    rig.sweep().await;
    assert_eq!(rig.sql(limits), "2|1G");
}

#[tokio::test]
async fn an_overdue_account_counts_only_where_that_is_switched_on() {
    for (switched, expected) in [(false, "running none paid running"), (true, "paused debt payment_required stopped")] {
        let rig = Rig::with_overdue(switched);
        let id = rig.subscribed(false);
        rig.push(&rig.engine.pay(&rig.engine.bill(&id).unwrap()).unwrap()).await;
        rig.play(&id).await;
        rig.push(&rig.engine.set_overdue(&rig.account, true)).await;
        assert_eq!(rig.at(&id).await, expected);
        rig.sweep().await;
        assert_eq!(rig.at(&id).await, expected);
        rig.push(&rig.engine.set_overdue(&rig.account, false)).await;
        rig.play(&id).await;
        assert_eq!(rig.at(&id).await, "running none paid running");
    }
}

#[tokio::test]
async fn a_pause_in_the_engine_is_left_to_who_made_it() {
    let rig = Rig::start();
    let id = rig.subscribed(false);
    rig.push(&rig.engine.pay(&rig.engine.bill(&id).unwrap()).unwrap()).await;
    rig.play(&id).await;
    rig.engine.pause(&id, true);
    // As the billing service does.
    rig.sql(
        "UPDATE public.instances SET status = 'paused', suspension = 'debt', resume_to = 'running', desired_state = 'stopped'",
    );
    rig.sweep().await;
    assert_eq!(rig.at(&id).await, "paused debt paid stopped");
}

#[tokio::test]
async fn one_look_at_a_time_over_all_workers() {
    let rig = Rig::start();
    let id = rig.subscribed(true);
    let subscription: SubscriptionId = id.parse().unwrap();
    let elsewhere = Turn::try_take(&rig.db, &format!("billing {id}")).await.unwrap().unwrap();
    rig.deliver(&rig.engine.event("SUBSCRIPTION_CREATION", &id, Value::Null)).await;
    rig.work().await;
    assert_eq!(
        rig.sql("SELECT state, attempts FROM instance_service.webhook_events"),
        "pending|0",
        "it waits, and that is no attempt"
    );
    assert_eq!(rig.billing.converge(subscription, Occasion::default()).await.unwrap(), Looked::Busy);
    elsewhere.end().await;
    rig.work().await;
    assert_eq!(rig.at(&id).await, "creating none trial running");
}

#[tokio::test]
async fn many_looks_at_once_make_one_instance() {
    let rig = Rig::start();
    let id = rig.subscribed(true);
    let subscription: SubscriptionId = id.parse().unwrap();
    let looks = futures::future::join_all((0..6).map(|_| rig.billing.converge(subscription, Occasion::default()))).await;
    let moved = looks.iter().filter(|looked| matches!(looked, Ok(Looked::Moved))).count();
    assert_eq!(moved, 1, "{looks:?}");
    assert_eq!(rig.sql("SELECT count(*) FROM public.instances"), "1");
}

#[tokio::test]
async fn an_event_that_comes_again_while_it_is_worked_off_is_looked_at_again() {
    let rig = Rig::start();
    let id = rig.subscribed(true);
    let event = rig.engine.event("SUBSCRIPTION_CHANGE", &id, Value::Null);
    rig.deliver(&event).await;
    let taken = db::platform::webhook_events::claim_due(&rig.db, 1, std::time::Duration::from_secs(60)).await.unwrap();
    rig.deliver(&event).await;
    db::platform::webhook_events::finish(&rig.db, &taken[0], db::platform::webhook_events::End::Done).await.unwrap();
    assert_eq!(rig.events(), "pending");
    rig.work().await;
    assert_eq!(rig.events(), "done");
}

#[tokio::test]
async fn a_wrong_password_is_told_and_changes_nothing() {
    let rig = Rig::start();
    let id = rig.subscribed(true);
    let wrong = clients::KillBillAccess {
        username: "nobody".into(),
        password: "wrong".to_owned().into(),
        api_key: "k".to_owned().into(),
        api_secret: "s".to_owned().into(),
    };
    let http = bootstrap::http::client(clients::killbill::TIMEOUT).unwrap();
    let billing = worker::billing::Billing {
        db: rig.db.clone(),
        killbill: clients::KillBill::new(http, rig.engine.url().parse().unwrap(), wrong),
        rules: rig.billing.rules.clone(),
        entropy: rig.billing.entropy.clone(),
        overdue: false,
    };
    let failure = billing.converge(id.parse().unwrap(), Occasion::default()).await.unwrap_err();
    assert!(matches!(failure, Failure::KillBill(KillBillError::Refused(401))), "{failure}");
    assert!(rig.find(&id).await.is_none());
}
