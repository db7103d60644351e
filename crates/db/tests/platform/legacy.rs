//! Databases of the earlier service: both generations, with old data, migrated while a replica of it still writes.

use crate::rig::{Rig, TAKEOVER, raw};
use db::migrate::{MigrateError, Patience, SchemaState, run_patiently, schema_state};
use db::platform::acceptance::{Created, Deleted, Provision, Provisioned, Trigger};
use db::platform::instances::{self, Instance, ListFilter};
use domain::ids::{CustomerId, InstanceId, SubscriptionId};
use domain::instance::{BillingStatus, DesiredState, InstanceType, Phase, ProvisioningStatus, Status, Suspension};
use domain::names::{HostLabel, ReservedHosts};
use rust_decimal::Decimal;
use std::time::Duration;
use testkit::pair::{PLATFORM_DATABASE, SERVICE};
use tokio::time::timeout;
use uuid::Uuid;

pub(crate) const FIRST: &str = include_str!("../fixtures/legacy-first.sql");
pub(crate) const SECOND: &str = include_str!("../fixtures/legacy-second.sql");
const TAIL: u128 = 0x0000_0000_0000_4000_8000_0000_0000_0000;

fn uuid(tail: u128) -> Uuid {
    Uuid::from_u128(TAIL | tail)
}

fn id(number: u128) -> InstanceId {
    InstanceId::from_uuid(uuid(number))
}

pub(crate) fn earlier(generations: &[&str]) -> Rig {
    let rig = Rig::empty();
    for sql in generations {
        rig.sql(sql);
    }
    rig
}

async fn taken_over(generations: &[&str]) -> Rig {
    let rig = earlier(generations);
    take_over(&rig);
    rig.migrate().await.unwrap();
    rig
}

/// As the runbook says: both scripts once more, then the migration.
pub(crate) fn take_over(rig: &Rig) {
    testkit::pair::bootstrap_platform(rig.cluster.server()).unwrap();
    rig.sql(TAKEOVER);
}

#[tokio::test]
async fn a_table_that_was_not_handed_over_is_left_alone() {
    let rig = earlier(&[FIRST]);
    let error = rig.migrate().await.unwrap_err();
    assert!(matches!(&error, MigrateError::NotTakenOver { table, .. } if table == "instances"), "{error}");
    assert_eq!(rig.sql("SELECT count(*) FROM pg_namespace WHERE nspname IN ('instance_service', 'apalis')"), "0");
}

#[tokio::test]
async fn both_generations_migrate_and_again() {
    for generations in [&[FIRST][..], &[FIRST, SECOND][..]] {
        let rig = taken_over(generations).await;
        assert_eq!(schema_state(&rig.db).await.unwrap(), SchemaState::Fits);
        rig.sql(TAKEOVER);
        rig.migrate().await.unwrap();
        let rows = if generations.len() == 1 { "8" } else { "9" };
        assert_eq!(rig.sql("SELECT count(*) FROM instances"), rows, "every row is still there");
        assert_eq!(rig.sql("SELECT has_database_privilege('instance_service', 'instance', 'CREATE')"), "f");
    }
}

#[tokio::test]
async fn data_is_normalised_where_that_is_certain() {
    let rig = taken_over(&[FIRST, SECOND]).await;
    let columns = rig.sql(
        "SELECT right(id::text, 1), odoo_version, status, billing_status, provisioning_status, cpu_limit, phase IS NULL
           FROM instances ORDER BY id",
    );
    let expected = "1|17|running|paid|completed|2.5|t\n\
                    2|17|stopped|paid|completed|1.0|t\n\
                    3|master|exploded|unknown|half||t\n\
                    4|17|creating|payment_required|pending|1.0|t\n\
                    5|18|paused|payment_required|completed|1.0|t\n\
                    6|16|terminated|paid|pending|1.0|t\n\
                    7|17|running|trial|completed|1.0|t\n\
                    8|17|paused|payment_required|pending|1.0|t\n\
                    9||creating|payment_required|pending|NaN|t";
    assert_eq!(columns, expected);
    assert_eq!(
        rig.sql("SELECT db_name, db_user, plan_tier FROM instances WHERE db_server_id IS NOT NULL"),
        "odoo_0000000000004000_00000000|odoo_0000000000004000_00000000_user|large"
    );
}

#[tokio::test]
async fn duplicates_and_odd_values_survive_and_can_be_read() {
    let rig = taken_over(&[FIRST]).await;
    let customer = CustomerId::from_uuid(uuid(0xc1));
    let page =
        instances::list(&rig.db, &ListFilter { customer_id: customer, status: None, page: 1, page_size: 100 }).await.unwrap();
    assert_eq!(page.total, 3);
    assert_eq!(page.instances.iter().map(|i| i.id).collect::<Vec<_>>(), [id(2), id(1), id(3)], "newest first, no date last");

    let odd = rig.get(id(3)).await;
    assert_odd_row_reads(&odd);
    let errors = ListFilter { customer_id: customer, status: Some(Status::Error), page: 1, page_size: 100 };
    let errors = instances::list(&rig.db, &errors).await.unwrap();
    assert_eq!((errors.total, errors.instances[0].id), (1, id(3)), "found under the status it is shown with");
}

fn assert_odd_row_reads(odd: &Instance) {
    assert_eq!((odd.axes.status, odd.axes.billing), (Status::Error, BillingStatus::PaymentRequired));
    assert_eq!(odd.axes.provisioning, ProvisioningStatus::Failed, "never an invitation to provision");
    assert_eq!(odd.odoo_version, "master");
    assert!(odd.version().is_err());
    assert_eq!(odd.instance_type, InstanceType::Development);
    assert_eq!((odd.memory_limit.to_string().as_str(), odd.storage_limit.to_string().as_str()), ("1G", "10G"));
    assert_eq!(odd.cpu_limit, Decimal::ONE);
    assert_eq!((odd.custom_addons.len(), odd.disabled_modules.as_slice()), (0, &["web".to_owned()][..]));
    assert!(odd.environment_vars.is_empty() && odd.metadata.is_empty() && !odd.demo_data);
    assert!(!odd.adopted && odd.placement.is_none());
}

#[tokio::test]
async fn what_is_missing_is_filled_in_when_it_is_read() {
    let rig = taken_over(&[FIRST]).await;
    let blank = rig.get(id(9)).await;
    assert_eq!((blank.name.as_str(), blank.odoo_version.as_str(), blank.cpu_limit), ("blank", "17", Decimal::ONE));
    let filter = ListFilter { customer_id: CustomerId::from_uuid(uuid(0xc3)), status: None, page: 1, page_size: 100 };
    assert_eq!(instances::list(&rig.db, &filter).await.unwrap().total, 2);
}

#[tokio::test]
async fn axes_of_rows_not_adopted_follow_from_their_status() {
    let rig = taken_over(&[FIRST]).await;
    let running = rig.get(id(1)).await.axes;
    assert_eq!((running.phase, running.desired), (Phase::Ready, DesiredState::Running));
    let fresh = rig.get(id(4)).await.axes;
    assert_eq!((fresh.phase, fresh.desired), (Phase::Registered, DesiredState::None));
    let paused = rig.get(id(5)).await.axes;
    assert_eq!((paused.suspension, paused.resume_to), (Suspension::Debt, Some(DesiredState::Stopped)));
    let never_made = rig.get(id(8)).await.axes;
    assert_eq!((never_made.phase, never_made.suspension), (Phase::Registered, Suspension::Debt));
    for number in [1, 2, 3, 4, 5, 6, 8, 9] {
        assert_eq!(rig.get(id(number)).await.axes.contradiction(), None, "{number}");
    }
}

#[tokio::test]
async fn a_replica_of_the_earlier_service_goes_on_writing() {
    let rig = taken_over(&[FIRST]).await;
    let insert = "INSERT INTO instances (customer_id, subscription_id, name, admin_email, database_name, subdomain, odoo_version,
                                         billing_status, provisioning_status, status, cpu_limit)
                  VALUES ('00000000-0000-4000-8000-0000000000c1', '00000000-0000-4000-8000-0000000000a1', 'Third', 'x@y.example', 'My_Shop',
                          'shop', '17.0', 'pending_payment', 'pending', 'creating', 1.5)";
    rig.sql_as(SERVICE, insert).await.unwrap();
    let update = "UPDATE instances SET status = 'running', service_name = 'odoo-My_Shop-00000000', db_host = 'postgres',
                                       error_message = NULL, updated_at = now() WHERE name = 'Third'";
    assert_eq!(rig.sql_as(SERVICE, update).await.unwrap(), 1);
    let third = InstanceId::from_uuid(rig.sql("SELECT id FROM instances WHERE name = 'Third'").parse().unwrap());
    let third = rig.get(third).await;
    assert_eq!((third.odoo_version.as_str(), third.axes.billing), ("17", BillingStatus::PaymentRequired));
}

#[tokio::test]
async fn rows_not_adopted_hold_their_names_against_new_orders() {
    let rig = taken_over(&[FIRST]).await;
    let mut same_subscription = raw("other");
    same_subscription.customer_id = Some(uuid(0xc2).to_string());
    same_subscription.subscription_id = Some(uuid(0xa5).to_string());
    match rig.create(same_subscription).await {
        Created::Replayed(instance) => assert_eq!(instance.id, id(5)),
        other => panic!("{other:?}"),
    }
    let mut same_label = raw("my_shop");
    same_label.customer_id = Some(uuid(0xc1).to_string());
    assert!(matches!(rig.create(same_label).await, Created::LabelTaken(_)));
    for taken in ["shop", "my-shop", "fresh"] {
        let label = HostLabel::parse(taken, &ReservedHosts::default()).unwrap();
        assert!(instances::host_taken(&rig.db, &label).await.unwrap(), "{taken}");
    }
    let mut again = raw("gone");
    again.customer_id = Some(uuid(0xc2).to_string());
    again.subscription_id = Some(uuid(0xa6).to_string());
    assert!(matches!(rig.create(again).await, Created::New(_)), "only an older terminated one has it");
}

#[tokio::test]
async fn a_row_not_adopted_takes_billing_and_terminate_and_nothing_that_touches_data() {
    let rig = taken_over(&[FIRST]).await;
    let provision = |number, trigger| Provision {
        instance_id: id(number),
        subscription_id: None,
        billing_status: BillingStatus::Paid,
        trigger,
        reason: None,
    };
    let update = Trigger::BillingUpdate { write_off: false };
    assert!(matches!(rig.provision_as(provision(5, update)).await, Provisioned::BillingUpdated(_)));
    assert_eq!(rig.get(id(5)).await.axes.billing, BillingStatus::Paid);
    assert!(matches!(rig.provision_as(provision(4, Trigger::Start)).await, Provisioned::NotAdopted));
    assert!(matches!(rig.delete(id(1)).await, Deleted::NotAdopted));

    let (terminated, operation) = rig.terminate(id(1), None).await;
    assert_eq!(terminated.axes.status, Status::Terminated);
    assert!(operation.is_some(), "its service may be up");
    assert_eq!(rig.sql("SELECT phase IS NULL, desired_state FROM instances WHERE name = 'Shop'"), "t|none", "left to adoption");
}

/// Contract 14.1: unknown values are reported, not guessed.
#[tokio::test]
async fn words_that_are_not_known_stay_until_something_changes_them() {
    let rig = taken_over(&[FIRST]).await;
    let words = || rig.sql("SELECT status, billing_status, provisioning_status FROM instances WHERE right(id::text, 1) = '3'");
    let update = Provision {
        instance_id: id(3),
        subscription_id: None,
        billing_status: BillingStatus::Paid,
        trigger: Trigger::BillingUpdate { write_off: false },
        reason: None,
    };
    assert!(matches!(rig.provision_as(update).await, Provisioned::BillingUpdated(_)));
    assert_eq!(words(), "exploded|paid|half");
    rig.terminate(id(3), None).await;
    assert_eq!(words(), "terminated|paid|half");
}

#[tokio::test]
async fn by_subscription_prefers_the_live_one() {
    let rig = taken_over(&[FIRST]).await;
    rig.sql("UPDATE instances SET status = 'terminated' WHERE id = '00000000-0000-4000-8000-000000000002'");
    let subscription = |tail| SubscriptionId::from_uuid(uuid(tail));
    let find = |tail| instances::by_subscription(&rig.db, subscription(tail));
    assert_eq!(find(0xa1).await.unwrap().unwrap().id, id(1), "although the terminated one is newer");
    assert_eq!(find(0xa6).await.unwrap().unwrap().id, id(6));
    assert!(find(0xff).await.unwrap().is_none());
}

/// What a replica of the earlier service does to the table that a migration changes.
#[tokio::test]
async fn a_table_in_use_is_waited_for_a_little_and_often() {
    let rig = earlier(&[FIRST]);
    take_over(&rig);
    let mut replica = rig.cluster.superuser(PLATFORM_DATABASE).await.unwrap();
    sqlx::raw_sql("BEGIN; LOCK TABLE public.instances IN ACCESS SHARE MODE").execute(&mut replica).await.unwrap();
    let patience =
        Patience { table: Duration::from_millis(50), pause: Duration::from_millis(10), tries: 2, ..Patience::default() };
    let owner = rig.owner_endpoint();
    let migrate = |patience| timeout(Duration::from_secs(60), run_patiently(&owner, SERVICE, patience));
    let refused = migrate(&patience).await.unwrap();
    assert!(matches!(refused, Err(MigrateError::InUse(2))), "{refused:?}");

    let patience = Patience { tries: u32::MAX, ..patience };
    let release = async {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'public.instances'::regclass";
        while rig.sql(waits) == "0" {
            tokio::task::yield_now().await;
        }
        sqlx::raw_sql("COMMIT").execute(&mut replica).await.unwrap();
    };
    let (migrated, ()) = tokio::join!(migrate(&patience), release);
    migrated.unwrap().unwrap();
    assert_eq!(schema_state(&rig.db).await.unwrap(), SchemaState::Fits);
}
