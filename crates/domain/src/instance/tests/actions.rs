//! What may be asked of an instance, against contract 7, copied by hand.

use super::*;
use crate::operation::Kind as K;

const CONTRACT: &str = "\
| status | start | stop | restart | unpause | backup | restore | update | suspend | unsuspend | terminate |
|---|---|---|---|---|---|---|---|---|---|---|
| creating, not yet provisioning | – | – | – | – | – | – | – | A | – | A |
| creating / starting, provisioning | N | Q | – | N | – | – | – | A | – | A |
| starting | N | A¹ | – | N | Q | Q | – | A | – | A |
| running | N | A | A | N | A | A | A | A | – | A |
| stopping | Q | N | – | – | Q | Q | – | A | – | A |
| stopped | $ | – | – | – | A | A | – | A | – | A |
| restarting | N | A¹ | N | N | Q | Q | – | A | – | A |
| updating | N | Q | – | N | Q | Q | – | A | – | A |
| maintenance, will run afterwards | N | Q | Q | N | Q | Q | – | A | – | A |
| maintenance, will not run afterwards | Q | – | – | – | Q | Q | – | A | – | A |
| error | $ | A | $ | – | A | A | – | A | – | A |
| container_missing | $ | – | – | – | A | A | – | A | – | A |
| paused | $ | – | – | $ | – | – | – | N | A | A |
| terminated | – | – | – | – | – | – | – | – | – | N |
";

#[test]
fn the_table_is_that_of_the_contract() {
    assert_eq!(actions_table(), CONTRACT);
    for situation in Situation::ALL {
        assert_eq!(ACTIONS.iter().filter(|(row, _)| row == situation).count(), 1, "{situation}");
    }
}

#[test]
fn what_waits_decides_before_the_row_does() {
    let up = running();
    let down = after(up, &[Ev::StopAccepted, Ev::StopDone]);
    let stopping = after(up, &[Ev::StopAccepted]);
    assert_eq!(Situation::with(&stopping, &[K::Stop]), Situation::Stopping, "the row shows what is under way");
    assert_eq!(Situation::with(&down, &[K::Start]), Situation::Running, "accepted, and not in the row yet");
    assert_eq!(Situation::with(&stopping, &[K::Stop, K::Start]), Situation::Running);
    assert_eq!(Situation::with(&stopping, &[K::Stop, K::Start, K::Stop]), Situation::Stopped);
    assert_eq!(Situation::with(&after(up, &[Ev::BackupBegins]), &[K::Backup]), Situation::MaintenanceUp);
    assert_eq!(Situation::with(&after(up, &[Ev::BackupBegins]), &[K::Backup, K::Backup]), Situation::Running);
    assert_eq!(Situation::with(&after(down, &[Ev::BackupBegins]), &[K::Backup, K::Backup]), Situation::Stopped);
    assert_eq!(Situation::with(&up, &[K::ApplyResources]), Situation::Running);
}

#[test]
fn what_has_no_data_is_neither_stopped_nor_copied() {
    let fresh = create(BillingStatus::Paid);
    let failed = after(fresh, &[Ev::ProvisionAccepted, Ev::ProvisionBegins, Ev::ProvisionFailed]);
    for action in [Action::Stop, Action::Backup, Action::Restore, Action::Update] {
        for axes in [fresh, failed] {
            assert_eq!(action.answer(&axes, &[]), Answer::Refused, "{action}");
            assert_eq!(action.refusal(&axes).to_string(), "Instance has not been provisioned yet");
        }
    }
    let ordered = after(fresh, &[Ev::ProvisionAccepted]);
    assert_eq!(Action::Stop.answer(&ordered, &[K::Provision]), Answer::Queued);
    assert_eq!(Action::Restart.answer(&failed, &[]), Answer::IfPaid);
    let gone = after(fresh, &[Ev::Terminate]);
    assert_eq!(Action::Stop.refusal(&gone).to_string(), "Instance cannot be stopped while it is terminated");
}

#[test]
fn an_unpaid_instance_without_data_is_not_started() {
    let unpaid = create(BillingStatus::PaymentRequired);
    assert_eq!(may_start(&unpaid), Err(Closed::Unprovisioned));
    assert_eq!(may_start(&create(BillingStatus::Trial)), Ok(()));
    let over = after(running(), &[Ev::BillingUpdated(BillingStatus::PaymentRequired), Ev::StopAccepted, Ev::StopDone]);
    assert_eq!(may_start(&over), Ok(()), "a trial that ended takes nothing down");
    assert_eq!(may_start(&after(over, &[Ev::SuspendForDebt])), Err(Closed::Debt));
}
