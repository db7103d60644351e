//! Odoo's state after a load, and a copy that does no harm; with a tenant whose own code runs meanwhile.

use crate::content::odoo_tables;
use crate::rig::{Rig, Tenant, confirmed};
use db::odoo::{OdooError, Reset, Verdict};
use std::time::Instant;

/// The further tables that resetting and neutralising touch, with the columns that Odoo 19 gives them.
const TABLES: &str = "
    CREATE TABLE ir_model (id serial PRIMARY KEY, model varchar);
    CREATE TABLE ir_act_server (id serial PRIMARY KEY, model_id int, state varchar);
    CREATE TABLE ir_cron (id serial PRIMARY KEY, ir_actions_server_id int, active boolean);
    CREATE TABLE ir_mail_server (id serial PRIMARY KEY, name varchar, smtp_host varchar, active boolean);
    INSERT INTO ir_model (model) VALUES ('ir.module.module'), ('res.partner');
    INSERT INTO ir_act_server (model_id, state) VALUES (1, 'code'), (2, 'code');
    INSERT INTO ir_cron (ir_actions_server_id, active) VALUES (1, true), (2, true), (2, true);
    INSERT INTO ir_mail_server (name, smtp_host, active) VALUES ('ours', 'mail.example', true);
    INSERT INTO ir_module_module (name, state) VALUES ('stock', 'to upgrade'), ('hr', 'to remove');
    INSERT INTO ir_config_parameter (key, value) VALUES ('base.module_upgrade', 'true'), ('database.is_neutralized', 'old');";

async fn odoo(rig: &Rig) -> Tenant {
    let tenant = rig.tenant().await;
    odoo_tables(rig, &tenant);
    run(rig, &tenant, TABLES);
    tenant
}

fn run(rig: &Rig, tenant: &Tenant, sql: &str) -> String {
    let answer = rig.cluster.psql(tenant.name.as_str(), &format!("SET ROLE \"{}\"; {sql}", tenant.name)).unwrap();
    answer.strip_prefix("SET\n").unwrap_or(&answer).to_owned()
}

fn ask(rig: &Rig, tenant: &Tenant, sql: &str) -> String {
    rig.cluster.psql(tenant.name.as_str(), sql).unwrap()
}

fn reset(renew_identity: bool) -> Reset {
    Reset { base_url: "http://it's.example".to_owned(), renew_identity }
}

async fn apply(rig: &Rig, tenant: &Tenant, reset: &Reset) -> Result<Vec<String>, OdooError> {
    let mut fence = rig.fence(&tenant.mark).await;
    fence.as_tenant(&tenant.name, &tenant.name, &tenant.password).await.unwrap().reset_state(reset).await
}

const PARAMETERS: &str = "SELECT string_agg(key || '=' || value, ' ' ORDER BY key) FROM ir_config_parameter";

#[tokio::test]
async fn a_restore_in_place_resets_what_was_under_way_and_nothing_else() {
    let rig = Rig::start();
    let tenant = odoo(&rig).await;
    for _ in 0..2 {
        assert_eq!(apply(&rig, &tenant, &reset(false)).await.unwrap(), Vec::<String>::new());
        let states = "SELECT string_agg(name || '=' || state, ' ' ORDER BY name) FROM ir_module_module";
        assert_eq!(ask(&rig, &tenant, states), "base=installed crm=uninstalled hr=installed sale=uninstalled stock=installed");
        assert_eq!(
            ask(&rig, &tenant, "SELECT string_agg(id || '=' || active, ' ' ORDER BY id) FROM ir_cron"),
            "1=false 2=true 3=true"
        );
        assert_eq!(
            ask(&rig, &tenant, PARAMETERS),
            "base.module_upgrade=false database.create_date=template database.enterprise_code=template \
             database.is_neutralized=old database.secret=template database.uuid=template web.base.url=http://it's.example"
        );
    }
}

#[tokio::test]
async fn a_copy_of_another_instance_gets_an_identity_of_its_own() {
    let rig = Rig::start();
    let tenant = odoo(&rig).await;
    run(&rig, &tenant, "DELETE FROM ir_config_parameter WHERE key IN ('database.secret', 'web.base.url')");
    apply(&rig, &tenant, &reset(true)).await.unwrap();
    let renewed = "SELECT count(DISTINCT value) FROM ir_config_parameter WHERE key IN ('database.uuid', 'database.secret') AND length(value) = 36";
    assert_eq!(ask(&rig, &tenant, renewed), "2");
    let rest = format!("{PARAMETERS} WHERE key NOT IN ('database.uuid', 'database.secret', 'database.create_date')");
    assert_eq!(
        ask(&rig, &tenant, &rest),
        "base.module_upgrade=false database.is_neutralized=old web.base.url=http://it's.example"
    );
    // A tenant that wants to stay its original's twin is refused.
    run(
        &rig,
        &tenant,
        "CREATE RULE mine AS ON DELETE TO ir_config_parameter DO INSTEAD NOTHING; ALTER TABLE ir_config_parameter DROP CONSTRAINT ir_config_parameter_key_key",
    );
    let error = apply(&rig, &tenant, &reset(true)).await.unwrap_err();
    assert_eq!(error.verdict(), Verdict::Permanent, "{error}");
}

#[tokio::test]
async fn what_is_missing_is_left_out_and_told() {
    let rig = Rig::start();
    let tenant = odoo(&rig).await;
    run(&rig, &tenant, "DROP TABLE ir_cron; UPDATE ir_module_module SET state = 'to install'; DELETE FROM ir_config_parameter");
    let skipped = apply(&rig, &tenant, &reset(false)).await.unwrap();
    assert!(skipped.len() == 1 && skipped[0].starts_with("scheduled jobs on modules: "), "{skipped:?}");
    assert_eq!(ask(&rig, &tenant, "SELECT DISTINCT state FROM ir_module_module"), "uninstalled");
    assert_eq!(ask(&rig, &tenant, PARAMETERS), "web.base.url=http://it's.example");
    run(&rig, &tenant, "DROP TABLE ir_config_parameter");
    assert_eq!(apply(&rig, &tenant, &reset(false)).await.unwrap_err().verdict(), Verdict::Permanent);
}

/// With SET ROLE a trigger could take our rights by RESET ROLE. In a session that is the tenant's there are none to take.
#[tokio::test]
async fn a_tenants_triggers_and_scripts_run_with_its_own_rights() {
    let rig = Rig::start();
    let (tenant, neighbour) = (odoo(&rig).await, rig.tenant().await);
    let trap = "CREATE TABLE seen (who text, session text);
        CREATE FUNCTION spy() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN RESET ROLE; RESET SESSION AUTHORIZATION; INSERT INTO public.seen VALUES (current_user, session_user); RETURN NEW; END';
        CREATE TRIGGER spy BEFORE UPDATE ON ir_module_module FOR EACH ROW EXECUTE FUNCTION spy();
        CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON ir_config_parameter DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION spy();";
    run(&rig, &tenant, trap);
    apply(&rig, &tenant, &reset(false)).await.unwrap();
    let mut fence = rig.fence(&tenant.mark).await;
    let mut session = fence.as_tenant(&tenant.name, &tenant.name, &tenant.password).await.unwrap();
    session.neutralise("BEGIN;\nRESET ROLE;\nUPDATE ir_config_parameter SET value = value;\nCOMMIT;\n").await.unwrap();
    let takes = format!("BEGIN;\nALTER ROLE \"{}\" PASSWORD 'x';\nCOMMIT;\n", neighbour.name);
    let error = session.neutralise(&takes).await.unwrap_err();
    assert!(error.verdict() == Verdict::Permanent && error.to_string().contains("42501"), "{error}");
    let who = ask(&rig, &tenant, "SELECT DISTINCT who || '|' || session FROM seen");
    assert_eq!(who, format!("{0}|{0}", tenant.name));
}

/// A worker that was overtaken has such a session open.
#[tokio::test]
async fn a_later_owner_ends_the_session_and_a_tenant_cannot_keep_it_from_the_fence() {
    let rig = Rig::start();
    let tenant = odoo(&rig).await;
    let mut earlier = confirmed(rig.server.fence(&tenant.mark, 7).await).await;
    let mut session = earlier.as_tenant(&tenant.name, &tenant.name, &tenant.password).await.unwrap();
    let cut = format!(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = 'ois' AND application_name LIKE '%{}:7'",
        tenant.mark
    );
    assert_eq!(ask(&rig, &tenant, &cut), "1");
    let mut spoofs = Vec::new();
    for _ in 0..20 {
        let mut spoof = rig.log_in(&tenant, "postgres").await.unwrap();
        let name = format!("SET application_name = 'ois:{}:3'", tenant.mark);
        sqlx::query(sqlx::AssertSqlSafe(name)).execute(&mut spoof).await.unwrap();
        spoofs.push(spoof);
    }
    let start = Instant::now();
    let _later = confirmed(rig.server.fence(&tenant.mark, 8).await).await;
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    let error = session.reset_state(&reset(false)).await.unwrap_err();
    assert!(matches!(error, OdooError::Cut { .. }), "{error}");
    // Who has lost the lock gets no new one either.
    drop(session);
    let error = earlier.as_tenant(&tenant.name, &tenant.name, &tenant.password).await.unwrap_err();
    assert!(matches!(error, OdooError::Unreachable { .. }), "{error}");
}

/// By such words the server says that it goes down, that its disk is full, that it takes no writes.
#[tokio::test]
async fn what_a_tenants_code_says_is_not_taken_for_the_servers_word() {
    let rig = Rig::start();
    let raise = |code: &str| format!("RAISE EXCEPTION USING ERRCODE = '{code}'");
    let words = ["57P01", "57P03", "53100", "53300", "25006", "08006"].map(raise);
    let end = "PERFORM pg_terminate_backend(pg_backend_pid())".to_owned();
    for word in words.iter().chain([&end]) {
        let tenant = odoo(&rig).await;
        let speak = format!(
            "CREATE FUNCTION speak() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {word}; RETURN NEW; END $$;
             CREATE FUNCTION say(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN {word}; RETURN $1; END $$"
        );
        run(&rig, &tenant, &speak);
        let says = async |what: &str, error: OdooError| assert_eq!(error.verdict(), Verdict::Retry, "{what}: {word}: {error}");
        // A statement, an optional one, a commit, a script.
        for (what, trigger) in [
            ("statement", "CREATE TRIGGER t BEFORE UPDATE ON ir_config_parameter FOR EACH ROW EXECUTE FUNCTION speak()"),
            ("optional", "CREATE TRIGGER t BEFORE UPDATE ON ir_cron FOR EACH ROW EXECUTE FUNCTION speak()"),
            (
                "commit",
                "CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON ir_config_parameter DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION speak()",
            ),
        ] {
            run(&rig, &tenant, trigger);
            says(what, apply(&rig, &tenant, &reset(false)).await.unwrap_err()).await;
            run(&rig, &tenant, "DROP TRIGGER IF EXISTS t ON ir_config_parameter; DROP TRIGGER IF EXISTS t ON ir_cron");
        }
        says("script", neutralise(&rig, &tenant, "BEGIN;\nSELECT public.say('x');\nCOMMIT;\n").await.unwrap_err()).await;
        // What the planner carries out while a table is only read.
        let index = "ALTER TABLE ir_module_module ADD latest_version varchar;
                     CREATE FUNCTION is_so() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END';
                     CREATE INDEX trap ON ir_module_module (id) WHERE is_so()";
        run(&rig, &tenant, index);
        let trap = format!(
            "CREATE OR REPLACE FUNCTION is_so() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN {word}; RETURN true; END $$"
        );
        run(&rig, &tenant, &trap);
        let mut snapshot = rig.server.snapshot(&tenant.name, &tenant.name, &tenant.password).await.unwrap();
        says("snapshot", snapshot.modules().await.unwrap_err()).await;
    }
}

/// In the form that Odoo prints it.
const SCRIPT: &str = "BEGIN;
-- deactivate mail servers
UPDATE ir_mail_server SET active = false;
INSERT INTO ir_mail_server (name, smtp_host, active) VALUES ('neutralization - disable emails', 'invalid', true);
UPDATE ir_cron SET active = false WHERE id <> 3;
INSERT INTO ir_config_parameter (key, value) VALUES ('database.is_neutralized', true)
    ON CONFLICT (key) DO UPDATE SET value = true;
COMMIT;
";

async fn neutralise(rig: &Rig, tenant: &Tenant, script: &str) -> Result<(), OdooError> {
    let mut fence = rig.fence(&tenant.mark).await;
    fence.as_tenant(&tenant.name, &tenant.name, &tenant.password).await.unwrap().neutralise(script).await
}

#[tokio::test]
async fn a_neutralised_copy_is_known_by_what_is_in_it() {
    let rig = Rig::start();
    let tenant = odoo(&rig).await;
    let verify = async |uuid| {
        rig.server.snapshot(&tenant.name, &tenant.name, &tenant.password).await.unwrap().verify_neutralised(uuid).await
    };
    let error = verify(Some("template")).await.unwrap_err();
    assert!(matches!(&error, OdooError::Unfit { faults, .. } if faults.len() == 4), "{error}");
    neutralise(&rig, &tenant, SCRIPT).await.unwrap();
    verify(None).await.unwrap();
    let error = verify(Some("template")).await.unwrap_err();
    assert!(matches!(&error, OdooError::Unfit { faults, .. } if faults == &["it has the UUID of its original"]), "{error}");
    apply(&rig, &tenant, &reset(true)).await.unwrap();
    verify(Some("template")).await.unwrap();
    for live in ["UPDATE ir_mail_server SET active = true", "UPDATE ir_cron SET active = true WHERE id < 3"] {
        run(&rig, &tenant, live);
        assert!(verify(None).await.is_err(), "{live}");
        neutralise(&rig, &tenant, SCRIPT).await.unwrap();
        run(&rig, &tenant, "UPDATE ir_mail_server SET active = false");
    }
}

#[tokio::test]
async fn a_script_that_fails_or_is_none_leaves_everything() {
    let rig = Rig::start();
    let tenant = odoo(&rig).await;
    let before = rig.server.snapshot(&tenant.name, &tenant.name, &tenant.password).await.unwrap().data_digest().await.unwrap();
    for bad in [
        "",
        "UPDATE ir_cron SET active = false;",
        &SCRIPT.replace("COMMIT", "SELECT 1/0;\nCOMMIT"),
        &SCRIPT.replace("ir_cron", "no_such"),
    ] {
        neutralise(&rig, &tenant, bad).await.unwrap_err();
        let after = rig.server.snapshot(&tenant.name, &tenant.name, &tenant.password).await.unwrap().data_digest().await.unwrap();
        assert_eq!(before.differences(&after), Default::default(), "{bad}");
    }
    let error = neutralise(&rig, &tenant, "BEGIN;\nCOMMIT;\nSELECT 1;\nCOMMIT;\n").await.unwrap_err();
    assert!(error.verdict() == Verdict::Permanent && error.to_string().contains("ends its own transaction"), "{error}");
}
