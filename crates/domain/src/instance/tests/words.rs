//! The words of the axes are those that the schema admits; texts are fit for customers.

use super::*;

const INSTANCE_STATE: &str = include_str!("../../../../../migrations/0003_instance_state.sql");

/// The quoted words of the list after `constraint`.
fn admitted(constraint: &str) -> Vec<&'static str> {
    let (_, rest) = INSTANCE_STATE.split_once(constraint).unwrap();
    let (_, rest) = rest.split_once(" IN (").unwrap();
    let (list, _) = rest.split_once(')').unwrap();
    list.split(',').map(|word| word.trim().trim_matches('\'')).collect()
}

fn sorted(words: impl IntoIterator<Item = &'static str>) -> Vec<&'static str> {
    let mut words: Vec<&'static str> = words.into_iter().collect();
    words.sort_unstable();
    words
}

#[test]
fn the_words_are_those_of_the_check_constraints() {
    let desired = || sorted(DesiredState::ALL.iter().map(|w| w.as_str()));
    for (constraint, words) in [
        ("instances_status_known", sorted(Status::ALL.iter().map(|w| w.as_str()))),
        ("instances_billing_known", sorted(BillingStatus::ALL.iter().map(|w| w.as_str()))),
        ("instances_provisioning_known", sorted(ProvisioningStatus::ALL.iter().map(|w| w.as_str()))),
        ("instances_phase_known", sorted(Phase::ALL.iter().map(|w| w.as_str()))),
        ("instances_desired_known", desired()),
        ("instances_resume_known", desired()),
        ("instances_suspension_known", sorted(Suspension::ALL.iter().map(|w| w.as_str()))),
        ("instances_observed_known", sorted(ObservedState::ALL.iter().map(|w| w.as_str()))),
    ] {
        assert_eq!(sorted(admitted(constraint)), words, "{constraint}");
    }
}

#[test]
fn a_word_is_read_back_and_another_one_is_not() {
    for status in Status::ALL {
        assert_eq!(Status::parse(status.as_str()), Some(*status));
        assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
    }
    assert_eq!(Status::parse("Running"), None);
    let refused = "mine".parse::<InstanceType>().unwrap_err();
    assert_eq!(refused.to_string(), "must be one of development, staging, production");
}

#[test]
fn what_a_client_asks_for_is_refused_in_plain_words() {
    let asked = [
        Ev::ProvisionAccepted,
        Ev::StartAccepted,
        Ev::StopAccepted,
        Ev::RestartAccepted,
        Ev::BackupBegins,
        Ev::RestoreBegins,
        Ev::UpdateBegins,
        Ev::Unsuspend,
        Ev::Reactivate(BillingStatus::Paid),
    ];
    for axes in every_axes() {
        for refused in asked.iter().filter_map(|event| apply(&axes, *event).err()) {
            let text = refused.to_string();
            let plain = !text.contains('_') && !text.contains("event") && text.starts_with(char::is_uppercase);
            assert!(plain, "{text}");
        }
    }
}

#[test]
fn refusals_name_the_obstacle() {
    let refused = |axes: &Axes, event| apply(axes, event).unwrap_err().to_string();
    let fresh = create(BillingStatus::Paid);
    assert_eq!(refused(&running(), Ev::StartAccepted), "Instance cannot be started while it is running");
    assert_eq!(refused(&running(), Ev::Reactivate(BillingStatus::Paid)), "Instance cannot be reactivated while it is running");
    assert_eq!(refused(&fresh, Ev::StartAccepted), "Instance cannot be started while it is being created");
    let starting = after(fresh, &[Ev::ProvisionAccepted, Ev::ProvisionBegins]);
    assert_eq!(refused(&starting, Ev::StopAccepted), "Instance has not been provisioned yet");
    let ordered = after(fresh, &[Ev::ProvisionAccepted]);
    assert_eq!(refused(&ordered, Ev::ProvisionAccepted), "Instance is already being provisioned");
    let purged = after(running(), &[Ev::Delete, Ev::Purged]);
    assert_eq!(refused(&purged, Ev::Reactivate(BillingStatus::Paid)), "Instance has been deleted");
    assert_eq!(refused(&purged, Ev::ReactivationOrdered(BillingStatus::Paid)), "Instance has been deleted");
    let debtor = after(running(), &[Ev::SuspendForDebt]);
    assert_eq!(refused(&debtor, Ev::StartAccepted), "This instance is suspended because a payment is outstanding");
    assert_eq!(apply(&debtor, Ev::StartAccepted).unwrap_err().why, Why::PaymentOutstanding);
    let held = after(running(), &[Ev::SuspendByOperator]);
    assert!(refused(&held, Ev::StartAccepted).contains("operator"));
    let gone = after(running(), &[Ev::Terminate]);
    assert_eq!(
        refused(&gone, Ev::Reactivate(BillingStatus::PaymentRequired)),
        "Instance comes back once its payment has arrived"
    );
}

#[test]
fn messages_follow_the_contract() {
    let text = |axes: &Axes, event, reason| find(axes, event).unwrap().message.text(reason);
    let some = |text: &str| Some(Some(text.to_owned()));
    assert_eq!(text(&running(), Ev::SuspendForDebt, None), some("Instance suspended due to billing issues"));
    assert_eq!(
        text(&running(), Ev::SuspendForDebt, Some("Payment failed")),
        some("Instance suspended due to billing issues (Payment failed)")
    );
    assert_eq!(text(&running(), Ev::Terminate, Some("  ")), some("Instance terminated due to subscription cancellation"));
    let debtor = after(running(), &[Ev::SuspendForDebt]);
    assert_eq!(text(&debtor, Ev::Unsuspend, None), some("Instance unsuspended - ready to start"));
    assert_eq!(text(&debtor, Ev::BillingUpdated(BillingStatus::Paid), Some("no")), None);
    let starting = after(create(BillingStatus::Paid), &[Ev::ProvisionAccepted]);
    assert_eq!(text(&starting, Ev::ProvisionBegins, None), Some(None));
    assert_eq!(text(&starting, Ev::ProvisionFailed, Some("No room left")), some("No room left"));
    assert_eq!(text(&starting, Ev::ProvisionFailed, None), None);
}

#[test]
fn gates_ask_for_payment_only_where_the_contract_does() {
    assert_eq!(gate(&create(BillingStatus::PaymentRequired)), Ok(()));
    let trial_over = after(running(), &[Ev::BillingUpdated(BillingStatus::PaymentRequired), Ev::StopAccepted, Ev::StopDone]);
    assert_eq!(gate(&trial_over), Ok(()), "who is not suspended may start and stop");
    let debtor = after(running(), &[Ev::SuspendForDebt]);
    assert_eq!(gate(&debtor), Err(Closed::Debt));
    assert_eq!(gate(&after(debtor, &[Ev::BillingUpdated(BillingStatus::Trial)])), Ok(()));
}
