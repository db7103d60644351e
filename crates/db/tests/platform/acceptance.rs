//! The requests that change an instance, one at a time and many at once.

use crate::rig::{Rig, System, by, customer, order, raw, subscription};
use db::platform::acceptance::{CancelRequest, Create, Created, Deleted, Provision, Provisioned, Skip, Trigger, cancel, create};
use db::platform::instances::Instance;
use db::platform::operations::{self, CancelOutcome};
use domain::ids::InstanceId;
use domain::instance::{BillingStatus, DesiredState, Phase, ProvisioningStatus, Status, Suspension};
use domain::names::ReservedHosts;
use domain::operation::{Kind, State};
use domain::problem::Refusal;
use std::collections::BTreeSet;
use std::sync::Arc;

// --- create

#[tokio::test]
async fn create_records_everything_and_queues_nothing() {
    let rig = Rig::start();
    let mut order = raw("My_Shop");
    order.subdomain = Some("Shop-1".to_owned());
    order.description = Some("Ours".to_owned());
    order.environment_vars = Some([("LANG".to_owned(), "de".to_owned())].into());
    order.custom_addons = Some(vec!["crm".to_owned()]);
    let instance = rig.created(order.clone()).await;
    assert_eq!((instance.axes.status, instance.axes.phase), (Status::Creating, Phase::Registered));
    assert_eq!((instance.database_name.as_str(), instance.hostname.as_deref()), ("my_shop", Some("shop-1")));
    assert_eq!(instance.cpu_limit.to_string(), "1.25");
    assert_eq!(instance.environment_vars["LANG"], "de");
    assert_eq!(instance.custom_addons, ["crm"]);
    assert_eq!((instance.operation_id, instance.revision), (None, 0));
    assert!(instance.placement.is_none() && instance.db_secret.is_none());
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations"), "0");
    assert_eq!(
        rig.sql("SELECT door, actor, request_id, action, from_status, to_status FROM instance_service.audit_log"),
        "internal|billing|r-1|create||creating"
    );
}

#[tokio::test]
async fn a_subscription_is_replayed_whatever_the_other_fields_say() {
    let rig = Rig::start();
    let order = raw("shop");
    let first = rig.created(order.clone()).await;
    let mut again = order.clone();
    again.name = Some("Another".to_owned());
    again.database_name = Some("postgres".to_owned());
    match rig.create(again).await {
        Created::Replayed(instance) => assert_eq!((instance.id, instance.name.as_str()), (first.id, "Shop")),
        other => panic!("{other:?}"),
    }
    let mut stranger = order.clone();
    stranger.customer_id = Some(customer().to_string());
    assert!(matches!(rig.create(stranger).await, Created::SubscriptionTaken));

    rig.terminate(first.id, None).await;
    assert!(matches!(rig.create(order.clone()).await, Created::New(_)), "only an older terminated one has it");
    rig.sql("UPDATE instances SET status = 'terminated', desired_state = 'terminated', hostname = NULL");
    rig.sql(&format!("UPDATE instances SET awaiting_reactivation = true WHERE id = '{}'", first.id));
    assert!(matches!(rig.create(order).await, Created::SubscriptionTaken), "one that waits for its payment has it");
}

#[tokio::test]
async fn house_rules_are_asked_after_the_look_for_a_replay() {
    let rig = Rig::start();
    let mut reserved = raw("postgres");
    assert!(matches!(rig.create(reserved.clone()).await, Created::Refused(Refusal::Rule(_))));
    reserved.database_name = Some("fine".to_owned());
    rig.created(reserved).await;
}

#[tokio::test]
async fn labels_belong_to_a_customer_and_hosts_to_nobody_else() {
    let rig = Rig::start();
    let first = raw("shop");
    rig.created(first.clone()).await;
    let mut same_customer = raw("SHOP");
    same_customer.customer_id = first.customer_id.clone();
    assert!(matches!(rig.create(same_customer).await, Created::LabelTaken(label) if label == "shop"));

    let other = rig.created(raw("shop")).await;
    let host = other.hostname.unwrap();
    assert!(host.starts_with("shop-") && host.len() > 5, "adjusted: {host}");

    let mut ordered = raw("mine");
    ordered.subdomain = Some("shop".to_owned());
    assert!(matches!(rig.create(ordered.clone()).await, Created::HostTaken(host) if host == "shop"));
    let holder = rig.sql("SELECT id FROM instances WHERE hostname = 'shop'").parse().unwrap();
    rig.terminate(InstanceId::from_uuid(holder), None).await;
    assert_eq!(rig.created(ordered).await.hostname.as_deref(), Some("shop"), "free at once");
}

#[tokio::test]
async fn fifty_equal_creates_at_once_make_one_row() {
    let rig = Rig::start().crowded().await;
    let order = raw("shop");
    let calls = (0..50).map(|_| {
        let (rig, order) = (Arc::clone(&rig), order.clone());
        tokio::spawn(async move { rig.create(order).await })
    });
    let mut ids = BTreeSet::new();
    let mut new = 0;
    for call in calls.collect::<Vec<_>>() {
        let instance = match call.await.unwrap() {
            Created::New(instance) => {
                new += 1;
                instance
            }
            Created::Replayed(instance) => instance,
            other => panic!("{other:?}"),
        };
        ids.insert(instance.id);
    }
    assert_eq!((new, ids.len()), (1, 1));
    assert_eq!(rig.sql("SELECT count(*) FROM instances"), "1");
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.audit_log"), "1");
}

#[tokio::test]
async fn a_hundred_creates_of_different_customers_share_a_small_pool() {
    let rig = Rig::with_pool(3).crowded().await;
    let calls = (0..100).map(|_| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move { rig.created(raw("shop")).await })
    });
    let mut hosts = BTreeSet::new();
    for call in calls.collect::<Vec<_>>() {
        hosts.insert(call.await.unwrap().hostname.unwrap());
    }
    assert_eq!(hosts.len(), 100, "one host name each, although all asked for the same");
}

#[tokio::test]
async fn creating_with_provisioning_is_one_transaction() {
    let rig = Rig::start();
    let Created::New(instance) = rig.create_with(raw("shop"), true).await else { panic!("not created") };
    let operation = operations::get(&rig.db, instance.operation_id.unwrap()).await.unwrap().unwrap();
    assert_eq!((operation.kind, operation.state), (Kind::Provision, State::Queued));
    assert_eq!(instance.axes.provisioning, ProvisioningStatus::Provisioning);
    assert_eq!(rig.sql("SELECT count(*) FROM apalis.jobs"), "1");

    let mut tx = rig.tx().await;
    let request = Create { order: order(raw("other")), provision: true };
    let created = create(&mut tx, request, &ReservedHosts::default(), &System, &by()).await.unwrap();
    assert!(matches!(created, Created::New(_)));
    tx.rollback().await.unwrap();
    let left = rig.sql(
        "SELECT (SELECT count(*) FROM instances), (SELECT count(*) FROM instance_service.operations),
                               (SELECT count(*) FROM apalis.jobs)",
    );
    assert_eq!(left, "1|1|1", "what is not committed leaves nothing");
}

// --- provision

fn call(id: InstanceId, billing_status: BillingStatus, trigger: &str) -> Provision {
    let trigger = Trigger::parse(Some(trigger));
    Provision { instance_id: id, subscription_id: None, billing_status, trigger, reason: Some("invoice".to_owned()) }
}

#[tokio::test]
async fn provision_starts_once_and_is_skipped_afterwards() {
    let rig = Rig::start();
    let instance = rig.created(raw("shop")).await;
    let Provisioned::Started { instance, operation: Some(operation) } =
        rig.provision_as(call(instance.id, BillingStatus::Trial, "subscription_created")).await
    else {
        panic!("not started")
    };
    assert_eq!((instance.axes.status, instance.axes.billing), (Status::Creating, BillingStatus::Trial));
    assert_eq!((instance.axes.desired, instance.operation_id), (DesiredState::Running, Some(operation)));
    let again = rig.provision_as(call(instance.id, BillingStatus::Paid, "invoice_payment_success")).await;
    assert!(matches!(again, Provisioned::Skipped(Skip::NotPending(ProvisioningStatus::Provisioning))));
    assert_eq!(rig.get(instance.id).await.axes.billing, BillingStatus::Trial, "a skipped call writes nothing");
}

#[tokio::test]
async fn fifty_provisions_at_once_start_one_operation() {
    let rig = Rig::start().crowded().await;
    let id = rig.created(raw("shop")).await.id;
    let calls = (0..50).map(|_| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move { rig.provision(id, BillingStatus::Paid).await })
    });
    let (mut started, mut skipped) = (0, 0);
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            Provisioned::Started { .. } => started += 1,
            Provisioned::Skipped(Skip::NotPending(_)) => skipped += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((started, skipped), (1, 49));
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations"), "1");
}

#[tokio::test]
async fn billing_triggers_note_the_billing_status_and_nothing_else() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    rig.terminate(id, None).await;
    for (trigger, billing) in [
        ("trial_expired_billing_update", BillingStatus::PaymentRequired),
        ("invoice_payment_success_billing_update", BillingStatus::Paid),
        ("invoice_write_off_billing_resolved", BillingStatus::Trial),
    ] {
        let mut request = call(id, billing, trigger);
        request.subscription_id = Some(subscription());
        let Provisioned::BillingUpdated(instance) = rig.provision_as(request).await else { panic!("{trigger}") };
        assert_eq!((instance.axes.billing, instance.axes.status), (billing, Status::Terminated), "{trigger}");
    }
    let before = rig.get(id).await;
    assert!(matches!(
        rig.provision_as(call(id, BillingStatus::Trial, "trial_expired_billing_update")).await,
        Provisioned::BillingUpdated(_)
    ));
    assert_eq!(rig.get(id).await.revision, before.revision, "nothing new: nothing written");
    assert!(matches!(rig.provision(id, BillingStatus::Paid).await, Provisioned::Skipped(Skip::Terminated)));
    assert_eq!(rig.sql("SELECT count(*) FROM instance_service.operations"), "0");
}

fn suspend(rig: &Rig, id: InstanceId, why: &str) {
    rig.sql(&format!(
        "UPDATE instances SET status = 'paused', suspension = '{why}', resume_to = 'none', desired_state = 'stopped',
                billing_status = 'payment_required' WHERE id = '{id}'"
    ));
}

#[tokio::test]
async fn a_paid_provision_lifts_a_debt_and_no_other_suspension() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    suspend(&rig, id, "debt");
    let unpaid = rig.provision(id, BillingStatus::PaymentRequired).await;
    assert!(matches!(unpaid, Provisioned::Skipped(Skip::Suspended(Suspension::Debt))), "{unpaid:?}");
    let Provisioned::Started { instance, .. } = rig.provision(id, BillingStatus::Paid).await else { panic!("not started") };
    assert_eq!((instance.axes.status, instance.axes.suspension), (Status::Starting, Suspension::None));

    let held = rig.created(raw("held")).await.id;
    suspend(&rig, held, "operator");
    let paid = rig.provision(held, BillingStatus::Paid).await;
    assert!(matches!(paid, Provisioned::Skipped(Skip::Suspended(Suspension::Operator))), "{paid:?}");
}

#[tokio::test]
async fn data_is_never_provisioned_over() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    rig.sql(&format!("UPDATE instances SET phase = 'ready', status = 'stopped', desired_state = 'stopped' WHERE id = '{id}'"));
    let Provisioned::Started { instance, operation } = rig.provision(id, BillingStatus::Paid).await else {
        panic!("not started")
    };
    let operation = operations::get(&rig.db, operation.unwrap()).await.unwrap().unwrap();
    assert_eq!((operation.kind, instance.axes.provisioning), (Kind::Start, ProvisioningStatus::Completed));
}

#[tokio::test]
async fn a_running_instance_with_data_that_reads_pending_becomes_completed_without_work() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    rig.sql(&format!("UPDATE instances SET phase = 'ready', status = 'running', desired_state = 'running' WHERE id = '{id}'"));
    let Provisioned::Started { instance, operation } = rig.provision(id, BillingStatus::Paid).await else {
        panic!("not started")
    };
    assert_eq!((operation, instance.axes.status), (None, Status::Running));
    assert_eq!(instance.axes.provisioning, ProvisioningStatus::Completed);
    let again = rig.provision(id, BillingStatus::Paid).await;
    assert!(matches!(again, Provisioned::Skipped(Skip::NotPending(ProvisioningStatus::Completed))), "{again:?}");
}

#[tokio::test]
async fn a_subscription_of_another_live_instance_is_refused() {
    let rig = Rig::start();
    let holder = rig.created(raw("one")).await;
    let other = rig.created(raw("two")).await;
    let mut request = call(other.id, BillingStatus::Paid, "");
    request.subscription_id = holder.subscription_id;
    assert!(matches!(rig.provision_as(request.clone()).await, Provisioned::SubscriptionTaken));
    assert_eq!(rig.get(other.id).await.axes.provisioning, ProvisioningStatus::Pending, "nothing half-written");
    request.subscription_id = Some(subscription());
    assert!(matches!(rig.provision_as(request.clone()).await, Provisioned::Started { .. }));
    assert_eq!(rig.get(other.id).await.subscription_id, request.subscription_id);
    let unknown = rig.provision(InstanceId::from_uuid(uuid::Uuid::nil()), BillingStatus::Paid).await;
    assert!(matches!(unknown, Provisioned::NotFound));
}

// --- terminate, delete, cancel

fn operation_column(rig: &Rig, id: domain::ids::OperationId, column: &str) -> String {
    rig.sql(&format!("SELECT {column} FROM instance_service.operations WHERE id = '{id}'"))
}

fn is_running(rig: &Rig, id: domain::ids::OperationId) {
    rig.sql(&format!("UPDATE instance_service.operations SET state = 'running', lease_token = 1 WHERE id = '{id}'"));
}

#[tokio::test]
async fn terminate_changes_the_row_at_once_and_may_be_repeated() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    let (instance, operation) = rig.terminate(id, Some("expired")).await;
    assert_eq!(operation, None, "nothing was ever made");
    assert_eq!((instance.axes.status, instance.axes.desired), (Status::Terminated, DesiredState::Terminated));
    assert_eq!(instance.error_message.as_deref(), Some("Instance terminated due to subscription cancellation (expired)"));
    assert_eq!(instance.hostname, None);
    let (again, operation) = rig.terminate(id, Some("once more")).await;
    assert_eq!((again.revision, operation), (instance.revision, None));
}

#[tokio::test]
async fn terminate_asks_an_active_provisioning_to_give_up_and_goes_next() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    let provisioning = rig.started(id).await;
    is_running(&rig, provisioning);
    let (instance, operation) = rig.terminate(id, None).await;
    let operation = operation.unwrap();
    assert_eq!(
        operation_column(&rig, provisioning, "cancel_requested_at IS NOT NULL, preempted_by, state"),
        "t|terminate|running"
    );
    assert_eq!(operation_column(&rig, operation, "kind, state"), "terminate|queued");
    assert_eq!(instance.axes.provisioning, ProvisioningStatus::Provisioning, "the one at work takes itself back");
    let (_, again) = rig.terminate(id, None).await;
    assert_eq!(again, Some(operation), "absorbed: the same operation");
}

#[tokio::test]
async fn a_provisioning_that_was_only_queued_is_taken_back_with_its_operation() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    let provisioning = rig.started(id).await;
    let (instance, _) = rig.terminate(id, None).await;
    assert_eq!(operation_column(&rig, provisioning, "state"), "cancelled");
    assert_eq!((instance.axes.status, instance.axes.provisioning), (Status::Terminated, ProvisioningStatus::Pending));
}

#[tokio::test]
async fn terminate_of_a_placed_instance_is_queued_again_while_it_is_seen() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    let server = crate::servers::active(&rig, "one", 10);
    crate::instances::placed(&rig, id, server).await;
    let (_, first) = rig.terminate(id, None).await;
    let first = first.unwrap();
    rig.sql(&format!("UPDATE instance_service.operations SET state = 'succeeded' WHERE id = '{first}'"));
    let (_, second) = rig.terminate(id, None).await;
    assert_ne!(second.unwrap(), first);
    rig.sql("UPDATE instance_service.operations SET state = 'succeeded'; UPDATE instances SET observed_state = 'absent'");
    assert_eq!(rig.terminate(id, None).await.1, None);
}

fn accepted(outcome: Deleted) -> (Instance, domain::ids::OperationId) {
    match outcome {
        Deleted::Accepted { instance, operation } => (instance, operation),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn delete_frees_the_names_and_a_repetition_names_the_same_operation() {
    let rig = Rig::start();
    let order = raw("shop");
    let id = rig.created(order.clone()).await.id;
    let (instance, operation) = accepted(rig.delete(id).await);
    assert_eq!((instance.axes.status, instance.axes.phase), (Status::Terminated, Phase::Purging));
    assert_eq!(instance.operation_id, Some(operation));
    assert_eq!(accepted(rig.delete(id).await).1, operation);
    let mut same_names = raw("shop");
    same_names.customer_id = order.customer_id;
    assert_eq!(rig.created(same_names).await.hostname.as_deref(), Some("shop"));

    rig.sql("UPDATE instance_service.operations SET state = 'succeeded'; UPDATE instances SET phase = 'purged' WHERE phase = 'purging'");
    assert_eq!(accepted(rig.delete(id).await).1, operation, "also when all is gone");
    let unknown = rig.delete(InstanceId::from_uuid(uuid::Uuid::nil())).await;
    assert!(matches!(unknown, Deleted::NotFound));
}

#[tokio::test]
async fn delete_follows_terminate_and_cancels_what_waits() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    let provisioning = rig.started(id).await;
    is_running(&rig, provisioning);
    let (_, terminating) = rig.terminate(id, None).await;
    let (_, deleting) = accepted(rig.delete(id).await);
    assert_ne!(Some(deleting), terminating);
    assert_eq!(operation_column(&rig, provisioning, "preempted_by, state"), "delete|running");
    let (_, absorbed) = rig.terminate(id, None).await;
    assert_eq!(absorbed, Some(deleting), "delete does all that terminate does");
    assert!(matches!(rig.provision(id, BillingStatus::Paid).await, Provisioned::Skipped(Skip::Terminated)));
}

#[tokio::test]
async fn a_failed_delete_is_queued_again() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    let (_, first) = accepted(rig.delete(id).await);
    rig.sql("UPDATE instance_service.operations SET state = 'failed'");
    assert_ne!(accepted(rig.delete(id).await).1, first);
}

#[tokio::test]
async fn deletes_at_once_are_one_operation() {
    let rig = Rig::start().crowded().await;
    let id = rig.created(raw("shop")).await.id;
    let calls = (0..20).map(|_| {
        let rig = Arc::clone(&rig);
        tokio::spawn(async move { accepted(rig.delete(id).await).1 })
    });
    let mut operations = BTreeSet::new();
    for call in calls.collect::<Vec<_>>() {
        operations.insert(call.await.unwrap());
    }
    assert_eq!(operations.len(), 1);
}

#[tokio::test]
async fn cancelling_a_queued_provisioning_says_so_in_the_row() {
    let rig = Rig::start();
    let id = rig.created(raw("shop")).await.id;
    let operation = rig.started(id).await;
    let mut tx = rig.tx().await;
    let request = CancelRequest { operation_id: operation, reason: "changed my mind".to_owned() };
    assert_eq!(cancel(&mut tx, &request, &by()).await.unwrap(), CancelOutcome::Cancelled);
    tx.commit().await.unwrap();
    let instance = rig.get(id).await;
    assert_eq!((instance.axes.status, instance.axes.provisioning), (Status::Error, ProvisioningStatus::Failed));
    assert_eq!(instance.error_message.as_deref(), Some("Provisioning was cancelled"));
    let mut tx = rig.tx().await;
    assert_eq!(cancel(&mut tx, &request, &by()).await.unwrap(), CancelOutcome::Finished);
}
