//! The exchange of the live database for one beside it: whole or not at all, repeatable, and back again.

use crate::rig::{Rig, System, Tenant, confirmed};
use db::odoo::{Fence, OdooError, Recorded, Switch, SwitchState, beside};
use domain::names::Mark;
use std::time::{Duration, Instant};

struct Pair {
    rig: Rig,
    tenant: Tenant,
    switch: Switch,
}

/// A live database and one beside it, each with a table that says which it is.
async fn pair(options: &testkit::cluster::Options) -> Pair {
    let rig = Rig::with(options);
    let tenant = rig.tenant().await;
    let (incoming, outgoing) = (beside(&tenant.name, 'n', 1).unwrap(), beside(&tenant.name, 'o', 1).unwrap());
    let mut fence = rig.fence(&tenant.mark).await;
    let live_oid = fence.catalogue().database(&tenant.name, &tenant.mark).await.unwrap().unwrap().oid;
    let incoming_oid = fence.create_fresh_database(&incoming, &tenant.name, &[live_oid]).await.unwrap();
    fence.release().await.unwrap();
    for (database, which) in [(&tenant.name, "old"), (&incoming, "new")] {
        rig.cluster
            .psql(
                database.as_str(),
                &format!("CREATE TABLE public.which AS SELECT '{which}' AS which; GRANT ALL ON public.which TO PUBLIC"),
            )
            .unwrap();
    }
    let switch = Switch { live: tenant.name.clone(), live_oid, incoming, incoming_oid, outgoing, owner: tenant.name.clone() };
    Pair { rig, tenant, switch }
}

impl Pair {
    async fn fence(&self) -> Fence {
        self.rig.fence(&self.tenant.mark).await
    }

    /// Opens what serves, and asks it which it is.
    async fn serving(&self, fence: &mut Fence, oid: u32) -> String {
        fence.open_database(&self.switch.live, Recorded { oid: Some(oid), owner: &self.tenant.name }).await.unwrap();
        let mut theirs = self.rig.log_in(&self.tenant, self.switch.live.as_str()).await.unwrap();
        sqlx::query_scalar("SELECT which FROM which").fetch_one(&mut theirs).await.unwrap()
    }

    fn names(&self) -> String {
        let names = "SELECT string_agg(datname || '=' || oid, ' ' ORDER BY datname) FROM pg_database WHERE datname LIKE 'odoo%'";
        self.rig.cluster.psql("postgres", names).unwrap()
    }
}

#[tokio::test]
async fn it_is_done_once_and_undone_once() {
    let pair = pair(&Default::default()).await;
    let (switch, back) = (&pair.switch, pair.switch.back());
    assert_eq!(back.back(), *switch);
    let mut theirs = pair.rig.log_in(&pair.tenant, switch.live.as_str()).await.unwrap();
    let mut fence = pair.fence().await;
    let before = pair.names();
    let mark = &pair.tenant.mark;
    for _ in 0..2 {
        assert_eq!(fence.catalogue().switch_state(switch, mark).await.unwrap(), SwitchState::NotYet);
        assert_eq!(fence.catalogue().switch_state(&back, mark).await.unwrap(), SwitchState::Done);
        let took = fence.switch(switch).await.unwrap().unwrap();
        eprintln!("the two renames took {took:?}");
        assert!(took < Duration::from_millis(100), "{took:?}");
        assert_eq!(fence.catalogue().switch_state(switch, mark).await.unwrap(), SwitchState::Done);
        assert_eq!(fence.switch(switch).await.unwrap(), None, "done already");
        assert_eq!(pair.serving(&mut fence, switch.incoming_oid).await, "new");
        // The former one is kept, and closed.
        assert!(pair.rig.log_in(&pair.tenant, switch.outgoing.as_str()).await.is_err());
        assert!(fence.switch(&back).await.unwrap().is_some());
        assert_eq!(fence.switch(&back).await.unwrap(), None);
        assert_eq!(pair.serving(&mut fence, switch.live_oid).await, "old");
        assert_eq!(pair.names(), before);
    }
    assert!(sqlx::query("SELECT 1").execute(&mut theirs).await.is_err(), "its session was ended");
}

#[tokio::test]
async fn what_is_not_as_recorded_is_not_exchanged() {
    let pair = pair(&Default::default()).await;
    let mut fence = pair.fence().await;
    let (before, switch) = (pair.names(), &pair.switch);
    let other = beside(&pair.tenant.name, 'x', 1).unwrap();
    let wrong = [
        Switch { live_oid: switch.live_oid + 1, ..switch.clone() },
        Switch { incoming_oid: switch.incoming_oid + 1, ..switch.clone() },
        Switch { incoming: other.clone(), ..switch.clone() },
        Switch { outgoing: switch.incoming.clone(), ..switch.clone() },
        Switch { owner: other, ..switch.clone() },
    ];
    for wrong in wrong {
        let error = fence.switch(&wrong).await.unwrap_err();
        assert!(matches!(error, OdooError::Mismatch { .. }), "{error}");
    }
    let (oid, other_owner) = (switch.incoming_oid, format!("ALTER DATABASE \"{}\" OWNER TO odoo_admin", switch.incoming));
    for damage in [format!("UPDATE pg_database SET datconnlimit = -2 WHERE oid = {oid}"), other_owner] {
        pair.rig.cluster.psql("postgres", &damage).unwrap();
        let error = fence.switch(switch).await.unwrap_err();
        assert!(matches!(error, OdooError::Mismatch { .. }), "{damage}: {error}");
        pair.rig.cluster.psql("postgres", &format!("UPDATE pg_database SET datconnlimit = -1 WHERE oid = {oid}")).unwrap();
    }
    assert_eq!(pair.names(), before);
    // Nobody was shut out for it.
    pair.rig.log_in(&pair.tenant, switch.live.as_str()).await.unwrap();
    let stranger = Mark::generate(&System);
    let mut theirs = pair.rig.fence(&stranger).await;
    assert!(theirs.switch(switch).await.is_err());
}

#[tokio::test]
async fn who_is_beyond_us_keeps_both_as_they_are() {
    let settings = vec![("max_prepared_transactions".to_owned(), "2".to_owned())];
    let pair = pair(&testkit::cluster::Options { settings, ..Default::default() }).await;
    let mut fence = pair.fence().await;
    let (before, switch) = (pair.names(), &pair.switch);
    // The second rename is the one that fails: the first must not stay.
    let operator = pair.rig.cluster.superuser(switch.incoming.as_str()).await.unwrap();
    let error = fence.switch(switch).await.unwrap_err();
    assert!(matches!(error, OdooError::Busy { .. }), "{error}");
    assert_eq!(pair.names(), before);
    drop(operator);
    assert_eq!(pair.serving(&mut fence, switch.live_oid).await, "old");
    pair.rig.cluster.psql(switch.live.as_str(), "BEGIN; CREATE TABLE t (id int); PREPARE TRANSACTION 'half done'").unwrap();
    let error = fence.switch(switch).await.unwrap_err();
    assert!(matches!(&error, OdooError::Blocked { holders, .. } if holders == &["prepared transaction half done"]), "{error}");
    pair.rig.cluster.psql(switch.live.as_str(), "ROLLBACK PREPARED 'half done'").unwrap();
    assert!(fence.switch(switch).await.unwrap().is_some());
}

/// Whoever is killed in the middle, after however long, leaves it as before or as after, and its successor finishes it.
#[tokio::test]
async fn it_may_be_cut_at_any_time() {
    let pair = pair(&testkit::cluster::Options::durable()).await;
    let (mut token, mut switch) = (2, pair.switch.back());
    let mut fence = pair.fence().await;
    let start = Instant::now();
    fence.switch(&pair.switch).await.unwrap();
    let whole = start.elapsed();
    fence.release().await.unwrap();
    // Over all of it, and closely where the two renames are: in the end.
    let early = (0..6).map(|n| whole * n / 6);
    for delay in early.chain((0..16).map(|n| whole - Duration::from_millis(22) + Duration::from_millis(1) * n)) {
        let mut fence = confirmed(pair.rig.server.fence(&pair.tenant.mark, token).await).await;
        let cut = tokio::time::timeout(delay, fence.switch(&switch)).await;
        drop(fence);
        token += 1;
        let mut successor = confirmed(pair.rig.server.fence(&pair.tenant.mark, token).await).await;
        let state = successor.catalogue().switch_state(&switch, &pair.tenant.mark).await.unwrap();
        eprintln!("cut after {delay:?} of {whole:?}: {} {state:?}", cut.is_err());
        successor.switch(&switch).await.unwrap();
        assert_eq!(successor.catalogue().switch_state(&switch, &pair.tenant.mark).await.unwrap(), SwitchState::Done);
        token += 1;
        switch = switch.back();
    }
}
