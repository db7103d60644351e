//! Every variable: default, form, older spellings, files, and what is told about all of them together.
#![allow(clippy::unwrap_used, reason = "tests")]

use bootstrap::Environment;
use bootstrap::settings::variables::{ALL, Fallback, Process};
use bootstrap::settings::{
    AdminSettings, AllProblems, ApiSettings, AuthMode, BuiltIn, CorsOrigins, Driver, LogFormat, MigrateSettings, StorageQuota,
    WorkerSettings, reference,
};
use domain::version::OdooVersion;
use secrecy::ExposeSecret;
use std::time::Duration;

const BUILT_IN: BuiltIn = BuiltIn { drivers: &[Driver::Process], fault_points: false, quotas: false, buckets: true };
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn api(pairs: &[(&str, &str)]) -> Environment {
    let mut all = environment(&[("PLATFORM_POSTGRES_PASSWORD", "p1"), ("CORS_ALLOWED_ORIGINS", "https://app.example")]);
    all.extend(environment(pairs));
    all
}

fn worker(pairs: &[(&str, &str)]) -> Environment {
    let mut all = environment(&[
        ("PLATFORM_POSTGRES_PASSWORD", "p1"),
        ("ODOO_POSTGRES_ADMIN_PASSWORD", "p2"),
        ("INSTANCE_SECRETS_KEY", KEY),
        ("RUNTIME", "process"),
        ("STORAGE_QUOTA", "none"),
    ]);
    all.extend(environment(pairs));
    all
}

fn worker_problems(pairs: &[(&str, &str)]) -> Vec<String> {
    WorkerSettings::load(&worker(pairs), BUILT_IN).unwrap_err().0
}

fn api_problems(pairs: &[(&str, &str)]) -> Vec<String> {
    ApiSettings::load(&api(pairs)).unwrap_err().0
}

fn file(content: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

#[test]
fn the_api_needs_one_password_and_nothing_else() {
    let loaded = ApiSettings::load(&environment(&[("PLATFORM_POSTGRES_PASSWORD", "p1")])).unwrap();
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].starts_with("CORS_ALLOWED_ORIGINS=*"), "{:?}", loaded.warnings);
    let s = loaded.settings;
    let p = &s.platform.endpoint;
    assert_eq!(
        (p.host.as_str(), p.port, p.database.as_str(), p.user.as_str()),
        ("postgres1", 5432, "instance", "instance_service")
    );
    assert_eq!(p.password.expose_secret(), "p1");
    assert_eq!(s.platform.max_connections, 10);
    assert_eq!(s.doors.internal.to_string(), "0.0.0.0:8003");
    assert_eq!((s.doors.public, s.doors.auth_mode, s.doors.cors), (None, AuthMode::Edge, CorsOrigins::Any));
    assert_eq!(s.versions.supported, [16, 17, 18, 19].map(OdooVersion::new));
    assert_eq!(s.versions.default, OdooVersion::new(17));
    assert_eq!(s.log.format, LogFormat::Json);
}

#[test]
fn the_worker_has_the_defaults_of_the_contract() {
    let s = WorkerSettings::load(&worker(&[]), BUILT_IN).unwrap().settings;
    let admin = &s.odoo_server.admin;
    assert_eq!(
        (admin.host.as_str(), admin.port, admin.database.as_str(), admin.user.as_str()),
        ("postgres2", 5432, "postgres", "odoo_admin")
    );
    assert_eq!((s.odoo_server.tenant_host.as_str(), s.odoo_server.tenant_port), ("postgres2", 5432));
    assert_eq!((s.engine.concurrency, s.engine.lease, s.engine.renew_every), (4, Duration::from_secs(6), Duration::from_secs(1)));
    assert_eq!(s.engine.health_addr.to_string(), "127.0.0.1:8004");
    assert_eq!((s.monitoring.reconcile_every.as_secs(), s.monitoring.health_check_every.as_secs()), (900, 60));
    assert_eq!(s.runtime.process.ports, 20000..=29999);
    assert_eq!(s.runtime.quota, StorageQuota::None);
    assert_eq!((s.addresses.base_domain.as_str(), s.addresses.scheme.as_str()), ("saasodoo.local", "http"));
    assert_eq!(s.peers.user_service.as_str(), "http://user-service:8001/");
    assert_eq!(s.peers.frontend.as_str(), "http://app.saasodoo.local/");
    assert_eq!(s.sealing.current.expose_secret().first(), Some(&0));
    assert!(s.monitoring.auto_start && !s.lifecycle.notify_extras && s.sealing.previous.is_none());
}

#[test]
fn all_problems_come_together() {
    let AllProblems(problems) = WorkerSettings::load(&environment(&[("WORKER_CONCURRENCY", "many")]), BUILT_IN).unwrap_err();
    for name in [
        "PLATFORM_POSTGRES_PASSWORD",
        "ODOO_POSTGRES_ADMIN_PASSWORD",
        "INSTANCE_SECRETS_KEY",
        "RUNTIME=swarm",
        "STORAGE_QUOTA=none",
        "WORKER_CONCURRENCY",
    ] {
        assert!(problems.iter().any(|problem| problem.contains(name)), "{name} is missing in {problems:#?}");
    }
    assert_eq!(problems.len(), 6, "{problems:#?}");
}

/// A value that each variable refuses; those that take any text have none.
const WRONG: &[(&str, &str)] = &[
    ("PLATFORM_POSTGRES_PORT", "0"),
    ("PLATFORM_POSTGRES_PORT", "65536"),
    ("PLATFORM_POSTGRES_SSLMODE", "maybe"),
    ("PLATFORM_POSTGRES_MAX_CONNECTIONS", "0"),
    ("ODOO_POSTGRES_PORT", "x"),
    ("ODOO_POSTGRES_SSLMODE", "PREFER"),
    ("ODOO_TENANT_POSTGRES_PORT", "0"),
    ("ALLOW_SHARED_POSTGRES", "perhaps"),
    ("ALLOW_SUPERUSER_ODOO_ADMIN", "2"),
    ("LISTEN_ADDR", "8003"),
    ("PUBLIC_LISTEN_ADDR", ":8013"),
    ("AUTH_MODE", "none"),
    ("AUTH_SESSION_SOURCE", "memcached"),
    ("REDIS_PORT", "-1"),
    ("REDIS_DB", "first"),
    ("CORS_ALLOWED_ORIGINS", "example.org"),
    ("CORS_ALLOWED_ORIGINS", "https://example.org/path"),
    ("INSTANCE_SECRETS_KEY", "c2hvcnQ="),
    ("INSTANCE_SECRETS_KEY", "not base64 !"),
    ("INSTANCE_SECRETS_KEY_PREVIOUS", "c2hvcnQ="),
    ("BASE_DOMAIN", "a..b"),
    ("BASE_DOMAIN", "http://x"),
    ("INSTANCE_URL_SCHEME", "ftp"),
    ("USER_SERVICE_URL", "user-service:8001"),
    ("USER_SERVICE_URL", "http://u:p@user-service"),
    ("NOTIFICATION_SERVICE_URL", "file:///etc"),
    ("FRONTEND_URL", "http://x/?q"),
    ("SUPPORTED_ODOO_VERSIONS", ","),
    ("SUPPORTED_ODOO_VERSIONS", "17,eighteen"),
    ("DEFAULT_ODOO_VERSION", "12"),
    ("DEFAULT_ODOO_VERSION", "new"),
    ("RUNTIME", "podman"),
    ("RUNTIME", "docker"),
    ("RUNTIME", "fake"),
    ("PROCESS_ODOO_COMMAND", "/opt/odoo/bin/odoo"),
    ("PROCESS_PORT_RANGE", "80-90"),
    ("PROCESS_PORT_RANGE", "30000-20000"),
    ("PROCESS_PORT_RANGE", "20000"),
    ("PROCESS_ALLOW_OWN_ACCOUNT", "maybe"),
    ("CEPHFS_INSTANCES_PATH", "relative/path"),
    ("CEPHFS_INSTANCES_PATH", "/"),
    ("CEPHFS_BACKUPS_PATH", "backups"),
    ("STORAGE_QUOTA", "xfs"),
    ("STORAGE_QUOTA", "ceph"),
    ("ODOO_IMAGE_PROFILE", "alpine"),
    ("ODOO_NETWORK_NAME", "saasodoo-network"),
    ("ALLOW_TENANTS_ON_PLATFORM_NETWORK", "-"),
    ("DELETE_BRAKE_PER_HOUR", "100001"),
    ("WORKER_CONCURRENCY", "0"),
    ("WORKER_CONCURRENCY", "65"),
    ("WORKER_LEASE_SECONDS", "31"),
    ("WORKER_LEASE_SECONDS", "3"),
    ("WORKER_LEASE_RENEW_SECONDS", "3"),
    ("WORKER_LEASE_RENEW_SECONDS", "11"),
    ("WORKER_SWEEP_SECONDS", "16"),
    ("WORKER_HEALTH_ADDR", "here"),
    ("FAULTS_FILE", "/x"),
    ("AUTO_START_MONITORING", "auto"),
    ("RECONCILE_INTERVAL_SECONDS", "9"),
    ("HEALTH_CHECK_INTERVAL_SECONDS", "0"),
    ("RESUME_GRACE_SECONDS", "1.5"),
    ("BACKUP_STORE", "tape"),
    ("BACKUP_S3_ENDPOINT", "s3.example.org"),
    ("BACKUP_S3_ENDPOINT", "https://id:secret@s3.example.org"),
    ("BACKUP_S3_PATH_STYLE", "maybe"),
    ("BACKUP_S3_ALLOW_HTTP", "maybe"),
    ("BACKUP_S3_ACCESS_KEY_ID_FILE", "the-id-of-a-key"),
    ("BACKUP_S3_SECRET_ACCESS_KEY_FILE", "the-secret-of-a-key"),
    ("BACKUP_S3_SESSION_TOKEN_FILE", "token"),
    ("BACKUP_S3_CA_FILE", "ca.pem"),
    ("BACKUP_S3_TIMEOUT_SECONDS", "0"),
    ("BACKUP_MODE", "hot"),
    ("BACKUP_RETENTION_COUNT", "0"),
    ("BACKUP_RETENTION_DAYS", "ever"),
    ("PURGE_AFTER_DAYS", "0"),
    ("PURGE_FINAL_BACKUP", "maybe"),
    ("BACKUP_SCHEDULE", "nightly"),
    ("BACKUP_HOUR", "24"),
    ("BACKUP_TIMEZONE", "Middle/Earth"),
    ("BACKUP_KEEP_DAILY", "-1"),
    ("BACKUP_KEEP_WEEKLY", "1001"),
    ("BACKUP_KEEP_MONTHLY", "many"),
    ("BACKUP_PROOF_DAYS", "weekly"),
    ("BACKUP_TRANSFER_PATH", "transfer"),
    ("BACKUP_EXPORT_KEEP_HOURS", "0"),
    ("BACKUP_IMPORT_MAX_MIB", "all"),
    ("BACKUP_IMPORT_HOSTS", "https://files.example"),
    ("PURGED_BACKUP_DAYS", "-1"),
    ("RESTORE_KEEP_OLD_HOURS", "day"),
    ("NOTIFY_LIFECYCLE_EXTRAS", "some"),
    ("KILLBILL_WEBHOOK_ENABLED", "perhaps"),
    ("KILLBILL_URL", "ftp://killbill"),
    ("KILLBILL_OVERDUE_ENABLED", "late"),
    ("KILLBILL_SYNC_INTERVAL_SECONDS", "9"),
    ("LOG_LEVEL", "loud"),
    ("LOG_FORMAT", "xml"),
    ("DEBUG", "maybe"),
];

#[test]
fn each_wrong_value_is_refused_by_name_and_alone() {
    for (name, value) in WRONG {
        let readers = ALL.iter().find(|v| v.name == *name).unwrap_or_else(|| panic!("{name} is not in the table")).readers;
        let problems =
            if readers.contains(&Process::Worker) { worker_problems(&[(name, value)]) } else { api_problems(&[(name, value)]) };
        assert_eq!(problems.len(), 1, "{name}={value}: {problems:#?}");
        assert!(problems.iter().any(|problem| problem.contains(name)), "{name}={value}: {problems:#?}");
    }
}

#[test]
fn every_variable_that_has_a_form_has_a_wrong_value_above() {
    // These take any text: host names, user names, image patterns and the like.
    let any_text = [
        "CONFIG_FILE",
        "PLATFORM_POSTGRES_HOST",
        "PLATFORM_POSTGRES_DB",
        "PLATFORM_POSTGRES_USER",
        "PLATFORM_MIGRATION_USER",
        "ODOO_POSTGRES_HOST",
        "ODOO_POSTGRES_DEFAULT_DB",
        "ODOO_POSTGRES_ADMIN_USER",
        "ODOO_TENANT_POSTGRES_HOST",
        "REDIS_HOST",
        "RESERVED_HOSTNAMES",
        "DOCKER_HOST",
        "PROCESS_ODOO_USER",
        "FAKE_RUNTIME_SOCKET",
        "ODOO_IMAGE_OFFICIAL",
        "ODOO_IMAGE_BITNAMI",
        "PLATFORM_NETWORK_NAME",
        "KILLBILL_USERNAME",
        "BACKUP_S3_REGION",
        "BACKUP_S3_BUCKET",
        "BACKUP_S3_PREFIX",
    ];
    for variable in ALL.iter().filter(|v| !v.secret && !any_text.contains(&v.name)) {
        assert!(WRONG.iter().any(|(name, _)| *name == variable.name), "{} has no wrong value in this test", variable.name);
    }
}

#[test]
fn every_variable_is_read_by_the_processes_that_the_table_names() {
    let mut migrate = environment(&[("PLATFORM_MIGRATION_USER", "owner"), ("PLATFORM_MIGRATION_PASSWORD", "p")]);
    migrate.insert("PLATFORM_POSTGRES_HOST".into(), "h".into());
    for (process, shown) in [
        (Process::Api, ApiSettings::load(&api(&[])).unwrap().shown),
        (Process::Worker, WorkerSettings::load(&worker(&[]), BUILT_IN).unwrap().shown),
        (Process::Migrate, MigrateSettings::load(&migrate).unwrap().shown),
        (Process::Admin, AdminSettings::load(&api(&[])).unwrap().shown),
    ] {
        let mut read: Vec<&str> = shown.iter().map(|s| s.name).collect();
        let mut declared: Vec<&str> = ALL.iter().filter(|v| v.readers.contains(&process)).map(|v| v.name).collect();
        read.sort_unstable();
        declared.sort_unstable();
        assert_eq!(read, declared, "{process:?}");
    }
}

#[test]
fn every_secret_can_come_from_a_file_and_is_never_shown() {
    for variable in ALL.iter().filter(|v| v.secret && !v.readers.contains(&Process::Migrate)) {
        let value = if variable.name.starts_with("INSTANCE_SECRETS_KEY") { KEY } else { "from-a-file-of-its-own" };
        let secret = file(&format!("{value}\n"));
        let mut environment = worker(&[]);
        environment.remove(variable.name);
        environment.insert(format!("{}_FILE", variable.name), secret.path().display().to_string());
        let shown = if variable.readers.contains(&Process::Worker) {
            let loaded = WorkerSettings::load(&environment, BUILT_IN).unwrap();
            assert!(!format!("{:?}", loaded.settings).contains(value), "{}", variable.name);
            loaded.shown
        } else {
            let loaded = ApiSettings::load(&environment).unwrap();
            assert!(!format!("{:?}", loaded.settings).contains(value), "{}", variable.name);
            loaded.shown
        };
        let entry = shown.iter().find(|s| s.name == variable.name).unwrap();
        assert_eq!(entry.value, "(set)");
    }
}

#[test]
fn one_newline_of_a_secret_file_is_dropped_and_no_more() {
    let secret = file("two\n\n");
    let mut environment = api(&[("PLATFORM_POSTGRES_PASSWORD_FILE", &secret.path().display().to_string())]);
    environment.remove("PLATFORM_POSTGRES_PASSWORD");
    let s = ApiSettings::load(&environment).unwrap().settings;
    assert_eq!(s.platform.endpoint.password.expose_secret(), "two\n");
}

#[test]
fn ambiguous_empty_and_unreadable_secrets_are_refused() {
    let secret = file("x");
    let path = secret.path().display().to_string();
    assert_eq!(
        api_problems(&[("PLATFORM_POSTGRES_PASSWORD_FILE", &path)]),
        ["PLATFORM_POSTGRES_PASSWORD and PLATFORM_POSTGRES_PASSWORD_FILE are both set"]
    );
    assert_eq!(api_problems(&[("PLATFORM_POSTGRES_PASSWORD", "")]), ["PLATFORM_POSTGRES_PASSWORD is empty"]);
    assert_eq!(api_problems(&[("INTERNAL_API_TOKEN", "")]), ["INTERNAL_API_TOKEN is empty"]);
    let empty = file("\n");
    let problems = api_problems(&[("REDIS_PASSWORD_FILE", &empty.path().display().to_string())]);
    assert_eq!(problems, ["REDIS_PASSWORD_FILE is empty"]);
    let problems = api_problems(&[("REDIS_PASSWORD_FILE", "/nowhere/at/all")]);
    assert_eq!(problems.len(), 1);
    assert!(problems.concat().starts_with("REDIS_PASSWORD_FILE cannot be read"), "{problems:?}");
}

#[test]
fn problems_never_quote_a_secret() {
    let problems = worker_problems(&[("INSTANCE_SECRETS_KEY", "hunter2"), ("USER_SERVICE_URL", "http://u:hunter2@host")]);
    assert_eq!(problems.len(), 2);
    assert!(!problems.concat().contains("hunter2"), "{problems:?}");
}

#[test]
fn older_spellings_are_read_and_the_newer_one_wins() {
    let mut older = environment(&[
        ("POSTGRES_HOST", "old-host"),
        ("POSTGRES_PORT", "5433"),
        ("POSTGRES_DB", "old_db"),
        ("DB_SERVICE_USER", "old_user"),
        ("DB_SERVICE_PASSWORD", "old-pw"),
        ("CORS_ALLOWED_ORIGINS", "https://app.example"),
    ]);
    let p = ApiSettings::load(&older).unwrap().settings.platform.endpoint;
    assert_eq!((p.host.as_str(), p.port, p.database.as_str(), p.user.as_str()), ("old-host", 5433, "old_db", "old_user"));
    assert_eq!(p.password.expose_secret(), "old-pw");
    older.extend(environment(&[("PLATFORM_POSTGRES_USER", "new_user"), ("PLATFORM_POSTGRES_PASSWORD", "new-pw")]));
    let loaded = ApiSettings::load(&older).unwrap();
    assert_eq!(loaded.settings.platform.endpoint.user, "new_user");
    assert_eq!(loaded.settings.platform.endpoint.password.expose_secret(), "new-pw");
    assert_eq!(
        loaded.warnings,
        [
            "PLATFORM_POSTGRES_USER and DB_SERVICE_USER differ; PLATFORM_POSTGRES_USER is used",
            "PLATFORM_POSTGRES_PASSWORD and DB_SERVICE_PASSWORD differ; PLATFORM_POSTGRES_PASSWORD is used",
        ]
    );
}

#[test]
fn equal_spellings_are_no_reason_to_warn() {
    let loaded = ApiSettings::load(&api(&[("DB_SERVICE_PASSWORD", "p1"), ("DB_SERVICE_USER", "instance_service")])).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
}

#[test]
fn postgres2_never_follows_the_platform_spellings() {
    let s =
        WorkerSettings::load(&worker(&[("POSTGRES_HOST", "old-host"), ("POSTGRES_PORT", "5433")]), BUILT_IN).unwrap().settings;
    assert_eq!((s.odoo_server.admin.host.as_str(), s.odoo_server.admin.port), ("postgres2", 5432));
    let s =
        WorkerSettings::load(&worker(&[("ODOO_POSTGRES_HOST", "o"), ("ODOO_POSTGRES_PORT", "7")]), BUILT_IN).unwrap().settings;
    assert_eq!((s.odoo_server.tenant_host.as_str(), s.odoo_server.tenant_port), ("o", 7));
    let tenant = [("ODOO_TENANT_POSTGRES_HOST", "t"), ("ODOO_TENANT_POSTGRES_PORT", "8")];
    let s = WorkerSettings::load(&worker(&tenant), BUILT_IN).unwrap().settings;
    assert_eq!((s.odoo_server.tenant_host.as_str(), s.odoo_server.tenant_port), ("t", 8));
}

#[test]
fn one_server_for_both_is_refused_unless_permitted() {
    let same = [("PLATFORM_POSTGRES_HOST", "pg"), ("ODOO_POSTGRES_HOST", "pg")];
    assert!(worker_problems(&same).concat().contains("ALLOW_SHARED_POSTGRES"));
    let permitted = [same[0], same[1], ("ALLOW_SHARED_POSTGRES", "true")];
    assert!(WorkerSettings::load(&worker(&permitted), BUILT_IN).unwrap().settings.odoo_server.allow_shared);
}

#[test]
fn the_api_ignores_what_belongs_to_the_worker() {
    let others = [("ODOO_POSTGRES_PORT", "nonsense"), ("ODOO_POSTGRES_ADMIN_PASSWORD", ""), ("RUNTIME", "nonsense")];
    assert_eq!(ApiSettings::load(&api(&others)).unwrap().warnings, Vec::<String>::new());
}

#[test]
fn ignored_and_misspelt_variables_are_named_once() {
    let loaded = WorkerSettings::load(
        &worker(&[
            ("RABBITMQ_USER", "r"),
            ("ODOO_INSTANCES_PATH", "/x"),
            ("POSTGRES_USER", "u"),
            ("BILLING_SERVICE_URL", "http://b"),
            ("WORKER_CONCURENCY", "8"),
            ("ODOO_POSTGRES_PASSWORD", "p"),
            ("PATH", "/bin"),
            ("HOME", "/"),
        ]),
        BUILT_IN,
    )
    .unwrap();
    let about = |name: &str| loaded.warnings.iter().filter(|w| w.starts_with(&format!("{name} is "))).count();
    for name in [
        "RABBITMQ_USER",
        "ODOO_INSTANCES_PATH",
        "POSTGRES_USER",
        "BILLING_SERVICE_URL",
        "WORKER_CONCURENCY",
        "ODOO_POSTGRES_PASSWORD",
    ] {
        assert_eq!(about(name), 1, "{name}: {:#?}", loaded.warnings);
    }
    assert!(loaded.warnings.contains(&"WORKER_CONCURENCY is not a setting of this service; WORKER_CONCURRENCY is".to_owned()));
    assert_eq!(loaded.warnings.len(), 6, "{:#?}", loaded.warnings);
}

#[test]
fn placeholders_and_settings_without_effect_are_warned_about() {
    let loaded = WorkerSettings::load(
        &worker(&[("PLATFORM_POSTGRES_PASSWORD", "x_change_me_x"), ("ODOO_NETWORK_NAME", "tenants")]),
        BUILT_IN,
    )
    .unwrap();
    assert_eq!(
        loaded.warnings,
        ["PLATFORM_POSTGRES_PASSWORD looks like a placeholder", "ODOO_NETWORK_NAME has no effect in this build"]
    );
}

#[test]
fn levels_may_be_written_as_python_does() {
    for (text, level) in [("INFO", "INFO"), ("WARNING", "WARN"), ("CRITICAL", "ERROR"), ("debug", "DEBUG"), ("Error", "ERROR")] {
        assert_eq!(ApiSettings::load(&api(&[("LOG_LEVEL", text)])).unwrap().settings.log.level.as_str(), level);
    }
    let both = [("LOG_LEVEL", "ERROR"), ("DEBUG", "true")];
    assert_eq!(ApiSettings::load(&api(&both)).unwrap().settings.log.level.as_str(), "DEBUG");
    let trace = [("LOG_LEVEL", "trace"), ("DEBUG", "true")];
    assert_eq!(ApiSettings::load(&api(&trace)).unwrap().settings.log.level.as_str(), "TRACE");
}

#[test]
fn a_bucket_needs_its_name_and_its_key() {
    let needs = |name: &str| format!("BACKUP_STORE=s3 needs {name}");
    let key = ["BACKUP_S3_BUCKET", "BACKUP_S3_ACCESS_KEY_ID_FILE", "BACKUP_S3_SECRET_ACCESS_KEY_FILE"];
    assert_eq!(worker_problems(&[("BACKUP_STORE", "s3")]), key.map(needs));
    let mut pairs = vec![
        ("BACKUP_STORE", "s3"),
        ("BACKUP_S3_BUCKET", "backups"),
        ("BACKUP_S3_PREFIX", "/odoo/"),
        ("BACKUP_S3_ACCESS_KEY_ID_FILE", "/run/id"),
        ("BACKUP_S3_SECRET_ACCESS_KEY_FILE", "/run/secret"),
        ("BACKUP_S3_ENDPOINT", "http://s3:9000"),
    ];
    let permit = ["BACKUP_S3_ENDPOINT is without TLS; set BACKUP_S3_ALLOW_HTTP=true to permit it"];
    assert_eq!(worker_problems(&pairs), permit);
    let without = BuiltIn { buckets: false, ..BUILT_IN };
    pairs.push(("BACKUP_S3_ALLOW_HTTP", "true"));
    let AllProblems(problems) = WorkerSettings::load(&worker(&pairs), without).unwrap_err();
    assert_eq!(problems, ["BACKUP_STORE=s3 is not built in: the worker's feature `s3` is missing"]);
    let bucket = WorkerSettings::load(&worker(&pairs), BUILT_IN).unwrap().settings.bucket.unwrap();
    assert_eq!((bucket.bucket.as_str(), bucket.prefix.as_deref()), ("backups", Some("odoo")));
    // Left over from a try, it is told that it has no effect.
    let local = WorkerSettings::load(&worker(&pairs[1..]), without).unwrap();
    assert!(local.settings.bucket.is_none());
    assert!(local.warnings.iter().any(|warning| warning.starts_with("BACKUP_S3_BUCKET has no effect")), "{:?}", local.warnings);
}

#[test]
fn modes_that_need_more_say_so() {
    assert_eq!(api_problems(&[("AUTH_MODE", "all")]), ["AUTH_MODE=all needs INTERNAL_API_TOKEN"]);
    let warnings = |pairs: &[(&str, &str)]| ApiSettings::load(&api(pairs)).unwrap().warnings;
    // One knows whom it lets in, one asks all for the token, one asks few.
    assert_eq!(warnings(&[]), [""; 0]);
    assert_eq!(warnings(&[("CORS_ALLOWED_ORIGINS", "*"), ("AUTH_MODE", "all"), ("INTERNAL_API_TOKEN", "t")]), [""; 0]);
    assert_eq!(warnings(&[("CORS_ALLOWED_ORIGINS", "*"), ("INTERNAL_API_TOKEN", "t")]).len(), 1);
    let fake = BuiltIn { drivers: &[Driver::Process, Driver::Fake], fault_points: true, quotas: true, buckets: true };
    let AllProblems(problems) = WorkerSettings::load(&worker(&[("RUNTIME", "fake")]), fake).unwrap_err();
    assert_eq!(problems, ["RUNTIME=fake needs FAKE_RUNTIME_SOCKET"]);
    let full = [("RUNTIME", "fake"), ("FAKE_RUNTIME_SOCKET", "/s"), ("FAULTS_FILE", "/f")];
    assert!(WorkerSettings::load(&worker(&full), fake).is_ok());
    let shared_network =
        [("ODOO_NETWORK_NAME", "n"), ("PLATFORM_NETWORK_NAME", "n"), ("ALLOW_TENANTS_ON_PLATFORM_NETWORK", "true")];
    let warnings = WorkerSettings::load(&worker(&shared_network), BUILT_IN).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.starts_with("tenants are on the platform's network")), "{warnings:?}");
}

#[test]
fn the_owner_of_the_schema_is_for_migrate_only_and_not_the_runtime_role() {
    let AllProblems(problems) = MigrateSettings::load(&environment(&[])).unwrap_err();
    assert_eq!(problems.len(), 2, "{problems:?}");
    let same = environment(&[
        ("PLATFORM_MIGRATION_USER", "one"),
        ("PLATFORM_POSTGRES_USER", "one"),
        ("PLATFORM_MIGRATION_PASSWORD", "p"),
    ]);
    assert_eq!(MigrateSettings::load(&same).unwrap_err().0.len(), 1);
}

#[test]
fn a_file_holds_the_same_names_and_the_environment_wins() {
    let settings = file("PLATFORM_POSTGRES_HOST = \"from-file\"\nPLATFORM_POSTGRES_PORT = 6000\nDEBUG = true\n");
    let path = settings.path().display().to_string();
    let loaded = ApiSettings::load(&api(&[("CONFIG_FILE", &path), ("PLATFORM_POSTGRES_PORT", "7000")])).unwrap();
    let p = loaded.settings.platform.endpoint;
    assert_eq!((p.host.as_str(), p.port), ("from-file", 7000));
    assert_eq!(loaded.settings.log.level.as_str(), "DEBUG");
    let broken = file("PLATFORM_POSTGRES_PASSWORD = hunter2 hunter2");
    let problems = api_problems(&[("CONFIG_FILE", &broken.path().display().to_string())]);
    assert_eq!(problems.len(), 1);
    assert!(!problems.concat().contains("hunter2"), "{problems:?}");
    assert!(api_problems(&[("CONFIG_FILE", "/nowhere")]).concat().contains("cannot be read"));
}

#[test]
fn an_empty_value_counts_as_not_set_unless_it_is_a_secret() {
    for variable in ALL.iter().filter(|v| !v.secret && v.fallback != Fallback::Required) {
        let mut environment = worker(&[]);
        let needed = ["RUNTIME", "STORAGE_QUOTA"];
        if !needed.contains(&variable.name) {
            environment.insert(variable.name.to_owned(), String::new());
        }
        assert!(WorkerSettings::load(&environment, BUILT_IN).is_ok(), "{}", variable.name);
        assert!(ApiSettings::load(&environment).is_ok(), "{}", variable.name);
    }
}

#[test]
fn the_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == reference::markdown(), "run: cargo run -p admin -- configuration > docs/configuration.md");
}

#[test]
fn the_webhook_of_billing_needs_what_it_works_with() {
    let enabled = ("KILLBILL_WEBHOOK_ENABLED", "true");
    let said = |problems: Vec<String>| problems.join("\n");
    let missing = said(api_problems(&[enabled]));
    assert_eq!(missing, "KILLBILL_WEBHOOK_ENABLED=true needs KILLBILL_WEBHOOK_SECRET (or KILLBILL_WEBHOOK_SECRET_FILE)");
    for bad in ["fifteen-letters", "sixteen/letters/", "sixteen letters!"] {
        let problems = said(api_problems(&[enabled, ("KILLBILL_WEBHOOK_SECRET", bad)]));
        assert!(problems.starts_with("KILLBILL_WEBHOOK_SECRET must have") && !problems.contains(bad), "{problems}");
    }
    let secret = file("0123456789abcdef\n");
    let path = secret.path().to_str().unwrap();
    let on = ApiSettings::load(&api(&[enabled, ("KILLBILL_WEBHOOK_SECRET_FILE", path)])).unwrap().settings;
    assert_eq!(on.webhook_secret.unwrap().expose_secret(), "0123456789abcdef");
    let off = ApiSettings::load(&api(&[("KILLBILL_WEBHOOK_SECRET_FILE", path)])).unwrap().settings;
    assert!(off.webhook_secret.is_none(), "a secret alone enables nothing");

    let missing = worker_problems(&[enabled]);
    let names = ["KILLBILL_URL", "KILLBILL_USERNAME", "KILLBILL_PASSWORD", "KILLBILL_API_KEY", "KILLBILL_API_SECRET"];
    assert_eq!(missing, names.map(|name| format!("KILLBILL_WEBHOOK_ENABLED=true needs {name}")), "all of them at once");
    let client = [
        enabled,
        ("KILLBILL_URL", "http://killbill:8080/"),
        ("KILLBILL_USERNAME", "admin"),
        ("KILLBILL_PASSWORD", "p"),
        ("KILLBILL_API_KEY", "k"),
        ("KILLBILL_API_SECRET", "s"),
    ];
    let on = WorkerSettings::load(&worker(&client), BUILT_IN).unwrap().settings.killbill.unwrap();
    assert_eq!((on.url.as_str(), on.overdue, on.sync_every), ("http://killbill:8080/", false, Duration::from_secs(3600)));
    assert!(WorkerSettings::load(&worker(&client[1..]), BUILT_IN).unwrap().settings.killbill.is_none());
}
