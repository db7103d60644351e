//! One moment of a tenant database: its dump's name, its files, its figures; and a tenant that puts something of its own there.

use crate::content::odoo_tables;
use crate::rig::{Rig, Tenant};
use db::odoo::{DataDigest, OdooError, Snapshot, StoredFile};
use futures::TryStreamExt as _;
use std::collections::BTreeMap;
use std::process::Command;

const ATTACHMENTS: &str =
    "CREATE TABLE ir_attachment (id serial PRIMARY KEY, name varchar, store_fname varchar, file_size integer)";

/// An Odoo with one attachment for each of these names.
async fn odoo_with(rig: &Rig, files: &[(&str, &str)]) -> Tenant {
    let tenant = rig.tenant().await;
    odoo_tables(rig, &tenant);
    run(rig, &tenant, ATTACHMENTS);
    for (name, size) in files {
        run(rig, &tenant, &format!("INSERT INTO ir_attachment (store_fname, file_size) VALUES ({name}, {size})"));
    }
    tenant
}

fn run(rig: &Rig, tenant: &Tenant, sql: &str) {
    rig.cluster.psql(tenant.name.as_str(), &format!("SET ROLE \"{}\"; {sql}", tenant.name)).unwrap();
}

async fn snapshot(rig: &Rig, tenant: &Tenant) -> Snapshot {
    rig.server.snapshot(&tenant.name, &tenant.name, &tenant.password).await.unwrap()
}

fn sha1(first: &str) -> String {
    format!("{first:0<40}")
}

fn fname(first: &str) -> String {
    format!("'{}/{}'", &first[..2], sha1(first))
}

async fn files(snapshot: &mut Snapshot) -> Vec<StoredFile> {
    snapshot.attachments().try_collect().await.unwrap()
}

#[tokio::test]
async fn it_sees_one_moment_and_hands_it_on() {
    let rig = Rig::start();
    let tenant = odoo_with(&rig, &[(&fname("ab1"), "1")]).await;
    let mut snapshot = snapshot(&rig, &tenant).await;
    let exported = snapshot.export().await.unwrap();
    run(&rig, &tenant, &format!("INSERT INTO ir_attachment (store_fname) VALUES ({})", fname("cd2")));
    assert_eq!(files(&mut snapshot).await.len(), 1);
    assert_eq!(snapshot.row_counts(["ir_attachment"]).await.unwrap()["ir_attachment"], 1);
    let same = format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{exported}'; SELECT count(*) FROM ir_attachment"
    );
    assert!(rig.cluster.psql(tenant.name.as_str(), &same).unwrap().ends_with('1'));
    // With it, the snapshot goes.
    drop(snapshot);
    rig.until("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_xmin IS NOT NULL AND datname LIKE 'odoo%'").await;
    assert!(rig.cluster.psql(tenant.name.as_str(), &same).is_err());
}

#[tokio::test]
async fn a_dump_of_the_snapshot_has_its_rows() {
    let rig = Rig::start();
    let tenant = odoo_with(&rig, &[(&fname("ab1"), "1")]).await;
    let mut snapshot = snapshot(&rig, &tenant).await;
    let exported = snapshot.export().await.unwrap();
    run(&rig, &tenant, &format!("INSERT INTO ir_attachment (store_fname) VALUES ({})", fname("cd2")));
    let dump = Command::new("pg_dump")
        .args(["-h", rig.cluster.server().directory().to_str().unwrap(), "-p", &rig.cluster.port().to_string(), "-U", "postgres"])
        .args(["--snapshot", &exported, "-t", "ir_attachment", tenant.name.as_str()])
        .output()
        .unwrap();
    let dump = String::from_utf8(dump.stdout).unwrap();
    assert!(dump.contains(&sha1("ab1")) && !dump.contains(&sha1("cd2")), "{dump}");
}

#[tokio::test]
async fn files_are_listed_once_in_the_order_of_their_bytes() {
    let rig = Rig::start();
    let tenant = odoo_with(&rig, &[]).await;
    let many = "INSERT INTO ir_attachment (store_fname, file_size)
                SELECT left(h, 2) || '/' || h, n FROM generate_series(1, 12000) n, left(encode(sha256(n::text::bytea), 'hex'), 40) h;
                INSERT INTO ir_attachment (store_fname, file_size) SELECT store_fname, NULL FROM ir_attachment";
    run(&rig, &tenant, many);
    let mut snapshot = snapshot(&rig, &tenant).await;
    let listed = files(&mut snapshot).await;
    assert_eq!(listed.len(), 12_000);
    assert!(listed.windows(2).all(|pair| pair[0].sha1 < pair[1].sha1) && listed.iter().all(|file| file.size.is_some()));
    // A list that was left in the middle is begun anew.
    let few: Vec<_> = {
        use futures::StreamExt as _;
        snapshot.attachments().take(7).try_collect().await.unwrap()
    };
    assert_eq!((few.len(), &few[..], files(&mut snapshot).await.len()), (7, &listed[..7], 12_000));
}

#[tokio::test]
async fn names_that_no_file_can_have_are_counted_and_left_out() {
    let rig = Rig::start();
    let good = fname("ab1");
    let odd = [
        ("'../../etc/passwd'", "1"),
        ("'/etc/passwd'", "1"),
        ("'ab/../../../../../etc/passwd00000000000000'", "1"),
        (&*format!("'ac/{}'", sha1("ab1")), "1"),
        (&*fname("AB1"), "1"),
        (&*format!("E'ab/{}\\n'", sha1("ab1")), "1"),
        ("repeat('ab', 1000000)", "1"),
        ("''", "1"),
        ("NULL", "1"),
        (&*good, "-5"),
    ];
    let tenant = odoo_with(&rig, &odd).await;
    let mut snapshot = snapshot(&rig, &tenant).await;
    assert_eq!(files(&mut snapshot).await, [StoredFile { sha1: sha1("ab1"), size: None }]);
    assert_eq!(snapshot.unusable_attachments().await.unwrap(), 7);
}

#[tokio::test]
async fn figures_are_those_of_what_is_there() {
    let rig = Rig::start();
    let tenant = odoo_with(&rig, &[]).await;
    run(
        &rig,
        &tenant,
        "ALTER TABLE ir_module_module ADD latest_version varchar; UPDATE ir_module_module SET latest_version = '19.0.1.3'",
    );
    let mut snapshot = snapshot(&rig, &tenant).await;
    assert!(!snapshot.is_in_database().await.unwrap());
    let counts = snapshot.row_counts(db::odoo::KEY_TABLES).await.unwrap();
    let expected = [("ir_attachment", 0), ("ir_module_module", 3), ("res_company", 1), ("res_partner", 3), ("res_users", 2)];
    assert_eq!(counts, BTreeMap::from(expected.map(|(table, rows)| (table.to_owned(), rows))));
    assert_eq!(snapshot.modules().await.unwrap(), BTreeMap::from([("base".to_owned(), "19.0.1.3".to_owned())]));
    assert_eq!(snapshot.uuid().await.unwrap().as_deref(), Some("template"));
    let extent = snapshot.extent().await.unwrap();
    assert!(extent.bytes > 5_000_000 && extent.server_version_number >= 150_000, "{extent:?}");
    run(&rig, &tenant, "INSERT INTO ir_config_parameter (key, value) VALUES ('ir_attachment.location', 'db')");
    assert!(self::snapshot(&rig, &tenant).await.is_in_database().await.unwrap());
}

/// Nobody but Odoo writes there, and a database that is no Odoo yet has none of it.
#[tokio::test]
async fn an_empty_database_has_nothing() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let mut snapshot = snapshot(&rig, &tenant).await;
    assert_eq!(files(&mut snapshot).await, []);
    assert_eq!(snapshot.row_counts(db::odoo::KEY_TABLES).await.unwrap(), BTreeMap::new());
    let error = snapshot.verify_restored(&BTreeMap::new()).await.unwrap_err();
    assert!(matches!(&error, OdooError::Unfit { faults, .. } if faults.len() == 7), "{error}");
}

#[tokio::test]
async fn a_restored_database_has_what_its_manifest_says() {
    let rig = Rig::start();
    let tenant = odoo_with(&rig, &[]).await;
    run(&rig, &tenant, "ALTER TABLE ir_module_module ADD latest_version varchar");
    let mut good = snapshot(&rig, &tenant).await;
    let counts = good.row_counts(db::odoo::KEY_TABLES).await.unwrap();
    good.verify_restored(&counts).await.unwrap();
    good.verify_restored(&BTreeMap::new()).await.unwrap();
    let damages = [
        ("DELETE FROM res_partner WHERE id = 3", "res_partner has 2 rows, not 3"),
        ("DELETE FROM res_users", "there are no users"),
        ("UPDATE ir_module_module SET state = 'uninstalled' WHERE name = 'base'", "module base is not installed"),
        ("DROP TABLE res_company", "res_company is missing"),
    ];
    for (damage, told) in damages {
        drop(good);
        run(&rig, &tenant, damage);
        good = snapshot(&rig, &tenant).await;
        let error = good.verify_restored(&counts).await.unwrap_err();
        assert!(matches!(&error, OdooError::Unfit { faults, .. } if faults.iter().any(|fault| fault == told)), "{told}: {error}");
    }
}

/// A tenant makes something else of a table that we read, to have its own code run with our rights.
#[tokio::test]
async fn nothing_of_a_tenants_runs_in_our_session() {
    let rig = Rig::start();
    let traps = [
        "ALTER TABLE ir_attachment RENAME TO a; CREATE VIEW ir_attachment AS SELECT id, name, spy(store_fname) store_fname, file_size FROM a",
        "ALTER TABLE ir_attachment ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON ir_attachment USING (spy('x') = 'x')",
        "CREATE TYPE odd AS (t text); CREATE FUNCTION cast_odd(odd) RETURNS varchar LANGUAGE sql AS 'SELECT public.spy(''x'')::varchar';
         CREATE CAST (odd AS varchar) WITH FUNCTION cast_odd(odd) AS IMPLICIT; ALTER TABLE ir_attachment DROP store_fname, ADD store_fname odd",
    ];
    for trap in traps {
        let tenant = odoo_with(&rig, &[(&fname("ab1"), "1")]).await;
        let spy = "CREATE TABLE seen (who text); CREATE FUNCTION spy(text) RETURNS text LANGUAGE plpgsql AS
            'BEGIN RESET ROLE; INSERT INTO public.seen VALUES (current_user); RETURN $1; END'";
        run(&rig, &tenant, spy);
        run(&rig, &tenant, trap);
        let mut snapshot = snapshot(&rig, &tenant).await;
        let error = snapshot.attachments().try_collect::<Vec<_>>().await.unwrap_err();
        assert!(matches!(&error, OdooError::Unfit { .. }), "{error}");
        drop(snapshot);
        // The same on a connection that only looks.
        run(
            &rig,
            &tenant,
            "ALTER TABLE ir_module_module RENAME TO m; CREATE VIEW ir_module_module AS SELECT spy(name) AS name, state FROM m",
        );
        let mut looking = rig.server.instance_connection(&tenant.name).await.unwrap();
        assert!(looking.module_states().await.is_err());
        assert_eq!(rig.cluster.psql(tenant.name.as_str(), "SELECT count(*) FROM seen").unwrap(), "0", "{trap}");
    }
}

/// The planner carries out what the predicate of an index calls, whatever the statement asks for.
#[tokio::test]
async fn what_runs_while_a_statement_is_planned_is_the_tenants_own() {
    let rig = Rig::start();
    let tenant = odoo_with(&rig, &[(&fname("ab1"), "1")]).await;
    run(
        &rig,
        &tenant,
        "CREATE FUNCTION tell() RETURNS void LANGUAGE plpgsql VOLATILE AS
            -- Where an index is made, it may not; that is no matter here.
            $$ BEGIN BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN NULL; END; PERFORM set_config('application_name', 'trap:' || current_user, false); END $$;
         CREATE FUNCTION yes(int) RETURNS bool LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM public.tell(); RETURN true; END $$;
         CREATE INDEX ON ir_attachment (id) WHERE yes(1); CREATE INDEX ON ir_module_module (name) WHERE yes(1)",
    );
    let caught = || {
        let names = "SELECT application_name FROM pg_stat_activity WHERE application_name LIKE 'trap:%'";
        rig.cluster.psql("postgres", names).unwrap()
    };
    let own = format!("trap:{}", tenant.name);
    let mut snapshot = snapshot(&rig, &tenant).await;
    assert_eq!(files(&mut snapshot).await.len(), 1);
    assert_eq!(caught(), own, "with rights of its own only");
    drop(snapshot);
    rig.until("SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'trap:%'").await;
    let mut fence = rig.fence(&tenant.mark).await;
    let mut session = fence.as_tenant(&tenant.name, &tenant.name, &tenant.password).await.unwrap();
    session.module_states().await.unwrap();
    assert_eq!(caught(), own, "with rights of its own only");
}

/// The owner of a database may set defaults for all who enter it.
#[tokio::test]
async fn a_tenants_settings_do_not_end_a_long_dump() {
    let rig = Rig::start();
    let tenant = odoo_with(&rig, &[(&fname("ab1"), "1")]).await;
    for setting in
        ["idle_in_transaction_session_timeout = 10", "statement_timeout = 1", "idle_session_timeout = 10", "search_path = trap"]
    {
        rig.cluster.psql("postgres", &format!("ALTER DATABASE \"{}\" SET {setting}", tenant.name)).unwrap();
    }
    let mut snapshot = snapshot(&rig, &tenant).await;
    let settings = "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname LIKE 'odoo%' AND state = 'idle in transaction' \
                    AND now() - state_change > interval '100 milliseconds'";
    rig.until(settings).await;
    assert_eq!(files(&mut snapshot).await.len(), 1);
}

#[tokio::test]
async fn a_snapshot_changes_nothing_and_needs_its_database_open() {
    let rig = Rig::start();
    let tenant = odoo_with(&rig, &[]).await;
    let mut fence = rig.fence(&tenant.mark).await;
    let recorded = db::odoo::Recorded { oid: None, owner: &tenant.name };
    fence.close_database(&tenant.name, recorded).await.unwrap();
    assert!(rig.server.snapshot(&tenant.name, &tenant.name, &tenant.password).await.is_err());
    // Its role may still not log in, and a snapshot is its own session.
    fence.let_in(&tenant.name, recorded).await.unwrap();
    assert!(rig.server.snapshot(&tenant.name, &tenant.name, &tenant.password).await.is_err());
    fence.open_database(&tenant.name, recorded).await.unwrap();
    snapshot(&rig, &tenant).await.export().await.unwrap();
    rig.log_in(&tenant, tenant.name.as_str()).await.unwrap();
}

#[tokio::test]
async fn a_digest_tells_any_change_but_not_the_order() {
    let rig = Rig::start();
    let (one, other) = (odoo_with(&rig, &[]).await, odoo_with(&rig, &[]).await);
    let digest = async |tenant: &Tenant| -> DataDigest { snapshot(&rig, tenant).await.data_digest().await.unwrap() };
    let fill = "INSERT INTO res_partner (name, email) SELECT 'p' || n, n || '@x' FROM generate_series(1, 100) n";
    run(&rig, &one, fill);
    run(&rig, &other, &format!("{fill} ORDER BY n DESC"));
    run(&rig, &other, "UPDATE res_partner SET id = -id");
    assert!(digest(&one).await.differences(&digest(&other).await).contains("public.res_partner"));
    run(
        &rig,
        &other,
        "DELETE FROM res_partner; INSERT INTO res_partner (id, name) VALUES (3, 'Administrator'), (2, 'OdooBot'), (1, 'My Company')",
    );
    run(
        &rig,
        &other,
        "INSERT INTO res_partner (id, name, email) SELECT 3 + n, 'p' || n, n || '@x' FROM generate_series(100, 1, -1) n",
    );
    let (a, b) = (digest(&one).await, digest(&other).await);
    assert_eq!(a.differences(&b), Default::default());
    assert!(a.tables() >= 6 && a.rows() > 100);
    run(&rig, &other, "UPDATE res_partner SET email = '1@y' WHERE name = 'p1'");
    assert_eq!(a.differences(&digest(&other).await).into_iter().collect::<Vec<_>>(), ["public.res_partner"]);
}
