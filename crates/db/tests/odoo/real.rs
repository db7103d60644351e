//! The same on what Odoo itself makes: whether its tables are as the statements expect them.

use crate::rig::{Rig, Tenant};
use db::odoo::{KEY_TABLES, OdooError, Recorded, Reset, Switch, beside};
use futures::TryStreamExt as _;
use secrecy::ExposeSecret as _;
use std::path::Path;
use std::process::Command;

/// Runs Odoo on a database of the tenant's; returns what it prints.
#[allow(clippy::disallowed_methods, clippy::expect_used, reason = "where Odoo is installed is a matter of the machine")]
fn odoo(rig: &Rig, tenant: &Tenant, place: &Path, words: &[&str], database: &str) -> String {
    let launcher = std::env::var("INSTANCE_TEST_ODOO").expect("INSTANCE_TEST_ODOO must name the launcher of Odoo 19");
    let conf = place.join("odoo.conf");
    let text = format!(
        "[options]\ndb_host = 127.0.0.1\ndb_port = {}\ndb_user = {}\ndb_password = {}\ndb_name = {database}\ndata_dir = {}\n",
        rig.cluster.port(),
        tenant.name,
        tenant.password.expose_secret(),
        place.display()
    );
    std::fs::write(&conf, text).unwrap();
    let (command, arguments) = words.split_at(usize::from(!words[0].starts_with('-')));
    let mut odoo = Command::new(launcher);
    odoo.args(command).arg("-c").arg(&conf).args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", place);
    let output = odoo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
#[ignore = "needs real Odoo: INSTANCE_TEST_ODOO=/opt/odoo-19/bin/odoo"]
async fn a_real_odoo_is_copied_reset_neutralised_and_exchanged() {
    let (rig, place) = (Rig::start(), tempfile::tempdir().unwrap());
    let tenant = rig.tenant().await;
    let name = &tenant.name;
    odoo(&rig, &tenant, place.path(), &["-i", "base,mail", "--stop-after-init"], name.as_str());

    let mut snapshot = rig.server.snapshot(name, name, &tenant.password).await.unwrap();
    let counts = snapshot.row_counts(KEY_TABLES).await.unwrap();
    assert!(counts.len() >= 8 && counts["res_users"] >= 2, "{counts:?}");
    assert!(snapshot.modules().await.unwrap()["base"].starts_with("19.0.") && !snapshot.is_in_database().await.unwrap());
    snapshot.verify_restored(&counts).await.unwrap();
    let files: Vec<_> = snapshot.attachments().try_collect().await.unwrap();
    assert!(files.len() > 5 && snapshot.unusable_attachments().await.unwrap() == 0, "{files:?}");
    for file in &files {
        let stored = place.path().join("filestore").join(name.as_str()).join(&file.sha1[..2]).join(&file.sha1);
        assert_eq!(Some(std::fs::metadata(stored).unwrap().len()), file.size);
    }
    let (original, before) = (snapshot.uuid().await.unwrap().unwrap(), snapshot.data_digest().await.unwrap());
    drop(snapshot);

    let mut fence = rig.fence(&tenant.mark).await;
    let live_oid = fence.catalogue().database(name, &tenant.mark).await.unwrap().unwrap().oid;
    let recorded = Recorded { oid: Some(live_oid), owner: name };
    let (incoming, outgoing) = (beside(name, 'n', 1).unwrap(), beside(name, 'o', 1).unwrap());
    fence.shut_database(name, recorded).await.unwrap();
    let incoming_oid = fence.copy_database(name, recorded, &incoming).await.unwrap();
    fence.inside(&incoming).await.unwrap().repair(name).await.unwrap();
    let script = odoo(&rig, &tenant, place.path(), &["neutralize", "--stdout"], incoming.as_str());
    let mut session = fence.as_tenant(&incoming, name, &tenant.password).await.unwrap();
    let reset = Reset { base_url: "http://copy.example".to_owned(), renew_identity: true };
    assert_eq!(session.reset_state(&reset).await.unwrap(), Vec::<String>::new());
    drop(session);
    let copy = async || rig.server.snapshot(&incoming, name, &tenant.password).await.unwrap();
    let error = copy().await.verify_neutralised(Some(&original)).await.unwrap_err();
    assert!(matches!(&error, OdooError::Unfit { faults, .. } if faults.len() == 2), "{error}");
    fence.as_tenant(&incoming, name, &tenant.password).await.unwrap().neutralise(&script).await.unwrap();
    copy().await.verify_neutralised(Some(&original)).await.unwrap();
    copy().await.verify_restored(&counts).await.unwrap();
    fence.inside(&incoming).await.unwrap().repair(name).await.unwrap();

    let switch = Switch { live: name.clone(), live_oid, incoming: incoming.clone(), incoming_oid, outgoing, owner: name.clone() };
    let took = fence.switch(&switch).await.unwrap().unwrap();
    fence.open_database(name, Recorded { oid: Some(incoming_oid), owner: name }).await.unwrap();
    odoo(&rig, &tenant, place.path(), &["-u", "base", "--stop-after-init"], name.as_str());
    let back = fence.switch(&switch.back()).await.unwrap().unwrap();
    eprintln!("the two renames took {took:?}, and back {back:?}");
    fence.open_database(name, recorded).await.unwrap();
    let after = rig.server.snapshot(name, name, &tenant.password).await.unwrap().data_digest().await.unwrap();
    assert_eq!(before.differences(&after), Default::default(), "{} rows of {} tables", before.rows(), before.tables());
}
