//! The real program: what it prints, and its exit codes.
#![allow(clippy::unwrap_used, reason = "tests")]

use domain::endpoint::Endpoint;
use secrecy::ExposeSecret;
use std::process::{Command, Output};
use testkit::cluster::Options;
use testkit::pair::{Pair, SERVICE};

fn admin(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_instance-admin"));
    command.args(arguments).env_clear().envs(environment.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn address(endpoint: &Endpoint) -> [(String, String); 3] {
    [
        ("PLATFORM_POSTGRES_HOST".to_owned(), endpoint.host.clone()),
        ("PLATFORM_POSTGRES_PORT".to_owned(), endpoint.port.to_string()),
        ("PLATFORM_POSTGRES_DB".to_owned(), endpoint.database.clone()),
    ]
}

fn run(arguments: &[&str], environment: Vec<(String, String)>) -> Output {
    let environment: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    admin(arguments, &environment)
}

fn migrate(pair: &Pair) -> Output {
    let owner = pair.platform_owner();
    let mut environment = address(&owner).to_vec();
    environment.push(("PLATFORM_MIGRATION_USER".to_owned(), owner.user.clone()));
    environment.push(("PLATFORM_MIGRATION_PASSWORD".to_owned(), owner.password.expose_secret().to_owned()));
    environment.push(("PLATFORM_POSTGRES_USER".to_owned(), SERVICE.to_owned()));
    run(&["migrate"], environment)
}

fn as_service(pair: &Pair, arguments: &[&str]) -> Output {
    let service = pair.platform();
    let mut environment = address(&service).to_vec();
    environment.push(("PLATFORM_POSTGRES_USER".to_owned(), service.user.clone()));
    environment.push(("PLATFORM_POSTGRES_PASSWORD".to_owned(), service.password.expose_secret().to_owned()));
    run(arguments, environment)
}

#[test]
fn a_database_is_migrated_again_and_again_and_the_runtime_role_can_use_it() {
    let pair = Pair::unmigrated(&Options::default()).unwrap();
    let before = as_service(&pair, &["servers", "list"]);
    assert_eq!(code(&before), 1, "{}", text(&before.stderr));
    for _ in 0..2 {
        let migrated = migrate(&pair);
        assert_eq!(code(&migrated), 0, "{}", text(&migrated.stderr));
        assert_eq!(text(&migrated.stdout), "The schema is up to date; instance_service may use it.\n");
    }
    for arguments in [["servers", "list"], ["operations", "list"]] {
        let listed = as_service(&pair, &arguments);
        assert_eq!((code(&listed), text(&listed.stdout).as_str()), (0, ""), "{}", text(&listed.stderr));
    }
}

#[test]
fn a_server_is_listed_with_its_deviations() {
    let pair = Pair::start(&Options::default()).unwrap();
    let register = r#"INSERT INTO instance_service.odoo_servers (id, name, admin_host, admin_port, default_database, admin_user,
                                                                 secret_name, tenant_host, tenant_port, healthy, deviations)
                      VALUES (gen_random_uuid(), 'default', 'pg2', 5432, 'postgres', 'odoo_admin', 's', 'pg2', 5432, true,
                              '["PUBLIC may CONNECT to template1"]')"#;
    pair.postgres1.server().psql("instance", register).unwrap();
    let listed = as_service(&pair, &["servers", "list"]);
    let expected =
        "default  pg2:5432  probing  shared  0/1000 instances  healthy\n    deviates: PUBLIC may CONNECT to template1\n";
    assert_eq!((code(&listed), text(&listed.stdout).as_str()), (0, expected), "{}", text(&listed.stderr));
}

#[test]
fn an_unreachable_server_is_a_failure_that_names_no_password() {
    let output = admin(
        &["migrate"],
        &[
            ("PLATFORM_POSTGRES_HOST", "127.0.0.1"),
            ("PLATFORM_POSTGRES_PORT", "1"),
            ("PLATFORM_MIGRATION_USER", "owner"),
            ("PLATFORM_MIGRATION_PASSWORD", "hunter2"),
        ],
    );
    assert_eq!(code(&output), 1);
    assert!(text(&output.stderr).contains("cannot be reached"), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains("hunter2") && !text(&output.stdout).contains("hunter2"));
}

#[test]
fn wrong_settings_are_told_together_with_their_own_exit_code() {
    let output = admin(&["check", "worker"], &[("LOG_FORMAT", "xml")]);
    assert_eq!(code(&output), 3);
    for name in ["PLATFORM_POSTGRES_PASSWORD", "ODOO_POSTGRES_ADMIN_PASSWORD", "INSTANCE_SECRETS_KEY", "LOG_FORMAT"] {
        assert!(text(&output.stderr).contains(name), "{name}: {}", text(&output.stderr));
    }
    assert_eq!(code(&admin(&["migrate"], &[])), 3);
    assert_eq!(code(&admin(&["conquer"], &[])), 2);
}

#[test]
fn effective_settings_show_no_secret() {
    let output = admin(&["check", "api"], &[("PLATFORM_POSTGRES_PASSWORD", "hunter2"), ("RABBITMQ_USER", "x")]);
    assert_eq!(code(&output), 0);
    let shown = text(&output.stdout);
    assert!(
        shown.contains("PLATFORM_POSTGRES_PASSWORD=(set)\n") && shown.contains("PLATFORM_POSTGRES_HOST=postgres1\n"),
        "{shown}"
    );
    assert!(shown.contains("# warning: RABBITMQ_USER is ignored"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn the_reference_needs_no_settings() {
    let output = admin(&["configuration"], &[]);
    assert_eq!(code(&output), 0);
    assert_eq!(text(&output.stdout), bootstrap::settings::reference::markdown());
}

/// An operation of this kind that needs attention, with a failed step; its id ends with `number`.
fn stuck(pair: &Pair, kind: &str, number: u8) -> String {
    let id = format!("00000000-0000-0000-0000-0000000000{number:02}");
    let sql = format!(
        "INSERT INTO instance_service.operations (id, scope, kind, class, def_version, state, attempts, claims, error, created_at, deadline_at)
         VALUES ('{id}', 'own:{id}', '{kind}', 'control', 1, 'needs_attention', 3, 4, '{{\"code\": \"c\", \"message\": \"m\"}}',
                 clock_timestamp() - interval '2 hours', clock_timestamp() - interval '1 hour');
         INSERT INTO instance_service.operation_steps (operation_id, step, phase, step_version, position, place, status, attempt, lease_token)
         VALUES ('{id}', 's', 'apply', 1, 0, 'postgres1', 'failed', 15, 1)"
    );
    pair.postgres1.server().psql("instance", &sql).unwrap();
    id
}

fn look(pair: &Pair, id: &str) -> String {
    let sql = format!(
        "SELECT state, direction, attempts, claims, error IS NULL, (SELECT attempt FROM instance_service.operation_steps WHERE operation_id = o.id),
                (SELECT count(*) FROM apalis.jobs WHERE idempotency_key LIKE o.id || ':%'),
                (SELECT string_agg(action || ' ' || actor, ',') FROM instance_service.audit_log a WHERE a.operation_id = o.id)
           FROM instance_service.operations o WHERE id = '{id}'"
    );
    pair.postgres1.server().psql("instance", &sql).unwrap().trim().to_owned()
}

#[test]
fn an_operator_decides_about_what_needs_attention_once_and_on_record() {
    let pair = Pair::start(&Options::default()).unwrap();
    let (retried, undone, resolved) = (stuck(&pair, "provision", 1), stuck(&pair, "provision", 2), stuck(&pair, "delete", 3));
    let decide = |what: &str, id: &str| as_service(&pair, &["operations", what, id, "--actor", "operator"]);
    let listed = text(&as_service(&pair, &["operations", "list", "--state", "needs_attention"]).stdout);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert_eq!(code(&decide("undo", &resolved)), 1, "a delete only goes forward");
    for (what, id) in [("retry", &retried), ("undo", &undone), ("resolve", &resolved)] {
        let done = decide(what, id);
        assert_eq!(code(&done), 0, "{what}: {}", text(&done.stderr));
        assert_eq!(code(&decide(what, id)), 1, "{what} a second time");
    }
    assert_eq!(look(&pair, &retried), "waiting|forward|0|0|t|0|1|attention_retry operator");
    assert_eq!(look(&pair, &undone), "waiting|undo|0|0|f|0|1|attention_undo operator");
    assert_eq!(look(&pair, &resolved), "cancelled|forward|3|4|f|15|0|attention_resolve operator");
    let in_time =
        "SELECT count(*) FROM instance_service.operations WHERE state = 'waiting' AND deadline_at IS NULL AND started_at IS NULL";
    assert_eq!(pair.postgres1.server().psql("instance", in_time).unwrap().trim(), "2", "the next claim sets the time limit anew");
    assert_eq!(code(&decide("retry", "00000000-0000-0000-0000-000000000099")), 1);
}

#[test]
fn a_mail_that_was_given_up_is_listed_and_sent_after_all() {
    let pair = Pair::start(&Options::default()).unwrap();
    let (operation, mail) = (stuck(&pair, "provision", 1), "00000000-0000-0000-0000-0000000000a1");
    let sql = format!(
        "INSERT INTO instance_service.outbox (id, operation_id, customer_id, template, variables, state, attempts, last_error)
         VALUES ('{mail}', '{operation}', '{operation}', 'instance_stopped', '{{\"instance_name\": \"Shop\"}}', 'dead', 9, 'HTTP 503')"
    );
    pair.postgres1.server().psql("instance", &sql).unwrap();
    let listed = text(&as_service(&pair, &["mails", "list"]).stdout);
    assert!(listed.contains(mail) && listed.contains("9 attempts  HTTP 503"), "{listed}");
    assert!(!listed.contains("Shop"), "what it says is the customer's: {listed}");
    assert_eq!(code(&as_service(&pair, &["mails", "replay", mail])), 0);
    assert_eq!(code(&as_service(&pair, &["mails", "replay", mail])), 1, "it is due now");
    assert_eq!(code(&as_service(&pair, &["mails", "replay", &operation])), 1);
    assert_eq!(text(&as_service(&pair, &["mails", "list"]).stdout), "");
}

#[test]
fn backups_of_the_earlier_service_are_looked_at_and_told_one_by_one() {
    let pair = Pair::start(&Options::default()).unwrap();
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("active")).unwrap();
    let adopt = |arguments: &[&str]| {
        let service = pair.platform();
        let mut environment = address(&service).to_vec();
        environment.push(("PLATFORM_POSTGRES_USER".to_owned(), service.user.clone()));
        environment.push(("PLATFORM_POSTGRES_PASSWORD".to_owned(), service.password.expose_secret().to_owned()));
        environment.push(("CEPHFS_BACKUPS_PATH".to_owned(), place.path().display().to_string()));
        run(arguments, environment)
    };
    let told = |output: &Output| (code(output), text(&output.stdout), text(&output.stderr));
    let none = "0 entered, 0 entered as failed, 0 known, 0 changed, 0 not entered\n".to_owned();
    assert_eq!(told(&adopt(&["backups", "adopt"])), (0, none, String::new()));
    assert!(!place.path().join(".root").exists());
    let id = "018f3c5e-0000-7000-8000-000000000001";
    let metadata = format!("{{\"instance_id\": \"{id}\", \"created_at\": \"2025-03-04T05:06:07\"}}");
    std::fs::write(place.path().join("active/shop_1_metadata.json"), metadata).unwrap();
    let line = format!(
        "shop_1  not entered: there is no instance {id}\n0 entered, 0 entered as failed, 0 known, 0 changed, 1 not entered"
    );
    let dry = adopt(&["backups", "adopt", "--dry-run"]);
    assert_eq!(told(&dry), (0, format!("{line} (dry run: nothing was done)\n"), String::new()));
    assert!(!place.path().join(".root").exists());
    assert_eq!(told(&adopt(&["backups", "adopt"])), (0, format!("{line}\n"), String::new()));

    // Another directory than the one that is known, or one that is not mounted.
    let known = "INSERT INTO instance_service.settings (name, value) VALUES ('backups_root', '\"another\"')";
    pair.postgres1.server().psql("instance", known).unwrap();
    let refused = adopt(&["backups", "adopt"]);
    assert!(code(&refused) == 1 && text(&refused.stderr).contains("is not where the backups"), "{refused:?}");
    std::fs::remove_file(place.path().join(".root")).unwrap();
    let refused = adopt(&["backups", "adopt"]);
    assert!(code(&refused) == 1 && text(&refused.stderr).contains("mount its file system"), "{refused:?}");
}

#[test]
fn what_the_workers_found_is_told() {
    let pair = Pair::start(&Options::default()).unwrap();
    let nothing = text(&as_service(&pair, &["drift"]).stdout);
    assert_eq!(nothing, "reconcile: no worker has looked yet\ndrift: no worker has looked yet\n");
    let sql = r#"INSERT INTO instance_service.monitor_state (name, value) VALUES
        ('reconcile', '{"ok": true, "report": {"drift": [{"instance_id": "i-1", "what": "runs although it should not"}], "orphans": ["odoo-1"]}}'),
        ('drift', '{"ok": true, "report": {"wrong": [{"instance_id": null, "what": "its role is missing"}], "unreachable": ["second"],
            "strays": [{"kind": "role", "server": "default", "name": "lost"}, {"kind": "directory", "server": null, "name": "odoo_1"}]}}')"#;
    pair.postgres1.server().psql("instance", sql).unwrap();
    let told = text(&as_service(&pair, &["drift"]).stdout);
    for line in [
        "  instance i-1: runs although it should not\n",
        "  service odoo-1 has no row\n",
        "  a template: its role is missing\n",
        "  role lost on default has no row\n",
        "  directory odoo_1 has no row\n",
        "  server second could not be asked\n",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
}
