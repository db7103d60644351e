//! Every variable that the service knows, as one table: names, older spellings, defaults, who reads it. The reader takes
//! defaults from here, the reference in `docs/configuration.md` is printed from here, and so is the list of known names.

/// A process of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// `instance-api`
    Api,
    /// `instance-worker`
    Worker,
    /// `instance-admin migrate`
    Migrate,
    /// The other commands of `instance-admin`
    Admin,
}

impl Process {
    /// Name in the reference.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Worker => "worker",
            Self::Migrate => "migrate",
            Self::Admin => "admin",
        }
    }
}

/// What holds when a variable is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// This value.
    Value(&'static str),
    /// Nothing: the feature is off or the limit absent.
    Unset,
    /// A configuration error.
    Required,
    /// Taken from other settings, as these words say.
    Derived(&'static str),
}

/// One variable.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Older spellings, read in this order when the name is not set.
    pub older: &'static [&'static str],
    /// What holds without it.
    pub fallback: Fallback,
    /// Whether it is a secret: `<NAME>_FILE` works too, and no process ever shows it.
    pub secret: bool,
    /// Who reads it; the others accept and ignore it.
    pub readers: &'static [Process],
    /// False: read and checked, but nothing in this build acts on it yet.
    pub in_effect: bool,
    /// What it means, for the reference.
    pub meaning: &'static str,
}

impl Variable {
    const fn new(name: &'static str, readers: &'static [Process], meaning: &'static str) -> Self {
        Self { name, older: &[], fallback: Fallback::Unset, secret: false, readers, in_effect: true, meaning }
    }
    const fn or(mut self, value: &'static str) -> Self {
        self.fallback = Fallback::Value(value);
        self
    }
    const fn derived(mut self, words: &'static str) -> Self {
        self.fallback = Fallback::Derived(words);
        self
    }
    const fn required(mut self) -> Self {
        self.fallback = Fallback::Required;
        self
    }
    const fn older(mut self, names: &'static [&'static str]) -> Self {
        self.older = names;
        self
    }
    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }
    const fn later(mut self) -> Self {
        self.in_effect = false;
        self
    }
}

const API: &[Process] = &[Process::Api];
const WORKER: &[Process] = &[Process::Worker];
const MIGRATE: &[Process] = &[Process::Migrate];
const SERVICES: &[Process] = &[Process::Api, Process::Worker];
/// Those that hold the runtime role's pool.
const POOLED: &[Process] = &[Process::Api, Process::Worker, Process::Admin];
/// Those that know the directory of the backups, or one in it.
const HOLDERS: &[Process] = &[Process::Api, Process::Worker, Process::Admin];
const EVERY: &[Process] = &[Process::Api, Process::Worker, Process::Migrate, Process::Admin];

macro_rules! variables {
    ($($name:ident $readers:ident $meaning:literal $(.$refine:ident($($argument:expr)?))*;)+) => {
        $(#[doc = $meaning]
        pub const $name: Variable = Variable::new(stringify!($name), $readers, $meaning)$(.$refine($($argument)?))*;)+

        /// Every variable, in the order of the reference.
        pub const ALL: &[Variable] = &[$($name),+];
    };
}

variables! {
    CONFIG_FILE EVERY "A TOML file with the same names; the environment wins over it.";

    PLATFORM_POSTGRES_HOST EVERY "postgres1, the platform server: host.".older(&["POSTGRES_HOST"]).or("postgres1");
    PLATFORM_POSTGRES_PORT EVERY "postgres1: port.".older(&["POSTGRES_PORT"]).or("5432");
    PLATFORM_POSTGRES_DB EVERY "postgres1: database.".older(&["POSTGRES_DB"]).or("instance");
    PLATFORM_POSTGRES_USER EVERY "postgres1: runtime role; `migrate` grants it what it needs.".older(&["DB_SERVICE_USER"]).or("instance_service");
    PLATFORM_POSTGRES_PASSWORD POOLED "postgres1: password of the runtime role.".older(&["DB_SERVICE_PASSWORD"]).secret().required();
    PLATFORM_POSTGRES_SSLMODE EVERY "postgres1: `disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`.".or("prefer");
    PLATFORM_POSTGRES_MAX_CONNECTIONS POOLED "postgres1: most connections of the pool, 1 to 1000.".or("10");
    PLATFORM_MIGRATION_USER MIGRATE "postgres1: role that owns the schema. Never given to the running services.".required();
    PLATFORM_MIGRATION_PASSWORD MIGRATE "postgres1: its password.".secret().required();

    ODOO_POSTGRES_HOST WORKER "postgres2, the Odoo server: host. Never taken from POSTGRES_HOST.".or("postgres2");
    ODOO_POSTGRES_PORT WORKER "postgres2: port.".or("5432");
    ODOO_POSTGRES_DEFAULT_DB WORKER "postgres2: database of admin connections.".or("postgres");
    ODOO_POSTGRES_ADMIN_USER WORKER "postgres2: admin role.".or("odoo_admin");
    ODOO_POSTGRES_ADMIN_PASSWORD WORKER "postgres2: its password.".secret().required();
    ODOO_POSTGRES_SSLMODE WORKER "postgres2: TLS policy, as above.".or("prefer");
    ODOO_TENANT_POSTGRES_HOST WORKER "postgres2 as Odoo itself reaches it: host.".derived("ODOO_POSTGRES_HOST");
    ODOO_TENANT_POSTGRES_PORT WORKER "postgres2 as Odoo itself reaches it: port.".derived("ODOO_POSTGRES_PORT");
    ALLOW_SHARED_POSTGRES WORKER "Permits both servers to be one and the same; warned about at every start.".or("false");
    ALLOW_SUPERUSER_ODOO_ADMIN WORKER "Permits a superuser as Odoo admin, for the time of a migration.".or("false");

    LISTEN_ADDR API "Internal door.".or("0.0.0.0:8003");
    PUBLIC_LISTEN_ADDR API "Public door, suggested `0.0.0.0:8013`.";
    AUTH_MODE API "`off`, `edge` or `all`.".or("edge");
    INTERNAL_API_TOKEN API "Accepted, and in mode `all` required, as `X-Internal-Token`.".secret();
    AUTH_SESSION_SOURCE API "Where login sessions are looked up: `redis` or `user_service`.".or("redis");
    REDIS_HOST API "Login sessions: host.".or("redis");
    REDIS_PORT API "Login sessions: port.".or("6379");
    REDIS_DB API "Login sessions: database number.".or("0");
    REDIS_PASSWORD API "Login sessions: password.".secret();
    CORS_ALLOWED_ORIGINS API "`*` echoes any origin; otherwise a comma list.".or("*");

    INSTANCE_SECRETS_KEY WORKER "32 bytes in base64; encrypts stored secrets. The API does not have it.".secret().required();
    INSTANCE_SECRETS_KEY_PREVIOUS WORKER "The key before, while secrets are rotated.".secret();

    BASE_DOMAIN WORKER "Instances live at `<hostname>.<BASE_DOMAIN>`.".or("saasodoo.local");
    INSTANCE_URL_SCHEME WORKER "`http` or `https`, for the address of an instance.".or("http");
    USER_SERVICE_URL SERVICES "User service.".or("http://user-service:8001");
    NOTIFICATION_SERVICE_URL WORKER "Notification service.".or("http://notification-service:5000");
    FRONTEND_URL WORKER "Front end, for the links in mails.".derived("`http://app.<BASE_DOMAIN>`");

    SUPPORTED_ODOO_VERSIONS SERVICES "Accepted majors, comma list.".or("16,17,18,19");
    DEFAULT_ODOO_VERSION SERVICES "Used when a create request names none.".or("17");
    RESERVED_HOSTNAMES SERVICES "Comma list, added to the built-in one.".or("");

    DELETE_BRAKE_PER_HOUR SERVICES "Most removals of instances accepted within an hour, all callers together, PURGE_AFTER_DAYS among them, up to 100000; 0 for no limit.".or("20");

    RUNTIME WORKER "What runs Odoo: `process`, `docker`, `swarm`, `kubernetes`, or `fake` (builds with fault points). One that is not built in is an error.".or("swarm");
    DOCKER_HOST WORKER "Container engine.".derived("the local socket").later();
    PROCESS_ODOO_COMMAND WORKER "RUNTIME=process: path of the Odoo launcher; `{version}` stands for the major.".or("/opt/odoo-{version}/bin/odoo");
    PROCESS_ODOO_USER WORKER "RUNTIME=process: system user that Odoo runs as when the worker is root.".or("odoo");
    PROCESS_ALLOW_OWN_ACCOUNT WORKER "RUNTIME=process: permits Odoo to run as the worker's own account where the worker is not root; development only.".or("false");
    PROCESS_PORT_RANGE WORKER "RUNTIME=process: ports of the instances, `first-last`.".or("20000-29999");
    FAKE_RUNTIME_SOCKET WORKER "RUNTIME=fake: socket of the fake runtime.";
    CEPHFS_INSTANCES_PATH WORKER "Root of the data directories.".or("/mnt/cephfs/odoo_instances");
    CEPHFS_BACKUPS_PATH HOLDERS "Root of the backups, with BACKUP_STORE=local; it must exist then. And where the earlier service left its own. The API needs it only where BACKUP_TRANSFER_PATH is not set.".or("/mnt/cephfs/odoo_backups");
    STORAGE_QUOTA WORKER "`ceph` sets `ceph.quota.max_bytes`, and failing is an error; `none` sets no quota. A build without quotas refuses to start with `ceph`.".or("ceph");
    ODOO_IMAGE_PROFILE WORKER "`official` or `bitnami`, for new instances.".or("official");
    ODOO_IMAGE_OFFICIAL WORKER "Image pattern of profile `official`.".or("odoo:{version}");
    ODOO_IMAGE_BITNAMI WORKER "Image pattern of profile `bitnami`.".or("bitnamilegacy/odoo:{version}");
    ODOO_NETWORK_NAME WORKER "Network of the tenants' services.".or("saasodoo-odoo").later();
    PLATFORM_NETWORK_NAME WORKER "The platform's own network.".or("saasodoo-network").later();
    ALLOW_TENANTS_ON_PLATFORM_NETWORK WORKER "Permits both to be the same network.".or("false").later();

    WORKER_CONCURRENCY WORKER "Operations at a time, 1 to 64.".or("4");
    WORKER_LEASE_SECONDS WORKER "How long a claim lives without renewal, 4 to 30.".or("6");
    WORKER_LEASE_RENEW_SECONDS WORKER "How often claims are renewed, 1 to 10, at most a third of the lease. A request to cancel is seen as often.".or("1");
    WORKER_SWEEP_SECONDS WORKER "How often lost work is looked for, 1 to 15.".or("1");
    WORKER_HEALTH_ADDR WORKER "Health port: `/livez`, `/readyz`, `/metrics`.".or("127.0.0.1:8004");
    FAULTS_FILE WORKER "Builds with fault points only: file that arms one.";

    AUTO_START_MONITORING WORKER "Starts the event watcher, reconcile and the health check, until an operator wishes otherwise.".or("true");
    RECONCILE_INTERVAL_SECONDS WORKER "Period of reconcile, 10 to 86400.".or("900");
    HEALTH_CHECK_INTERVAL_SECONDS WORKER "Period of health checks, 1 to 3600.".or("60");
    RESUME_GRACE_SECONDS WORKER "How long reconcile waits for the start of a paid instance.".or("60");

    BACKUP_STORE WORKER "Where backups are kept: `local`, below CEPHFS_BACKUPS_PATH, or `s3`, in a bucket (`docs/backups.md`); the same for all workers.".or("local");
    BACKUP_S3_ENDPOINT WORKER "S3: address of the server; unset for Amazon's own.";
    BACKUP_S3_REGION WORKER "S3: region; servers without any want `us-east-1`.".or("us-east-1");
    BACKUP_S3_BUCKET WORKER "S3: name of the bucket, which must exist; required with BACKUP_STORE=s3, as are the files of the key.";
    BACKUP_S3_PREFIX WORKER "S3: where in the bucket the store begins, such as `odoo/backups`; unset for all of it.";
    BACKUP_S3_PATH_STYLE WORKER "S3: whether the bucket is part of the path, as most servers but Amazon's want it, or of the host's name.".or("false");
    BACKUP_S3_ALLOW_HTTP WORKER "S3: permits an endpoint without TLS.".or("false");
    BACKUP_S3_ACCESS_KEY_ID_FILE WORKER "S3: path of the file with the id of the access key; read again each minute.";
    BACKUP_S3_SECRET_ACCESS_KEY_FILE WORKER "S3: path of the file with its secret.";
    BACKUP_S3_SESSION_TOKEN_FILE WORKER "S3: path of the file with the token of a key that is lent.";
    BACKUP_S3_CA_FILE WORKER "S3: path of a PEM file with authorities that are believed besides the system's.";
    BACKUP_S3_TIMEOUT_SECONDS WORKER "S3: how long a request may take, 1 to 600.".or("30");
    BACKUP_MODE WORKER "`online`, or `offline`: Odoo is down while it is backed up.".or("online");
    BACKUP_RETENTION_COUNT WORKER "How many backups of an instance are kept, whoever asked for them; unset keeps all but those by schedule that have had their time.";
    BACKUP_RETENTION_DAYS WORKER "For how many days backups are kept, whoever asked for them; of this and the count, what keeps more counts.";
    BACKUP_SCHEDULE SERVICES "Backs up every instance once a day, where it has no schedule of its own (`docs/backups.md`).".or("false");
    BACKUP_HOUR SERVICES "The hour of the day in which these backups begin, 0 to 23; each instance has its own minute of it.".or("3");
    BACKUP_TIMEZONE SERVICES "Whose hour that is, e.g. `Europe/Berlin`.".or("UTC");
    BACKUP_KEEP_DAILY SERVICES "Of backups by schedule: the newest of each of so many days is kept.".or("7");
    BACKUP_KEEP_WEEKLY SERVICES "Of backups by schedule: the newest of each of so many weeks is kept.".or("4");
    BACKUP_KEEP_MONTHLY SERVICES "Of backups by schedule: the newest of each of so many months is kept.".or("6");
    BACKUP_PROOF_DAYS WORKER "An instance's newest backup is loaded into a database of its own for a moment, to see that it can be, when that was not done for so many days; 0 for never.".or("7");
    BACKUP_TRANSFER_PATH SERVICES "Directory in which API and workers hand each other the archives of exports and imports, on a file system that all of them have; the worker makes it, and both run as one account or as root.".derived("`transfer` in CEPHFS_BACKUPS_PATH");
    BACKUP_EXPORT_KEEP_HOURS WORKER "How long the archive of an export can be fetched, 1 to 720.".or("24");
    BACKUP_IMPORT_MAX_MIB API "Largest archive that can be imported, in MiB.".or("10240");
    BACKUP_IMPORT_HOSTS API "From where archives may be fetched, by `https` only: comma list of `host` or `host:port`. Nothing else is fetched. A host counts only with public addresses, unless it is listed as an address.".or("");
    PURGE_AFTER_DAYS WORKER "Terminated instances are deleted after so many days without any change; unset keeps them for ever.";
    PURGE_FINAL_BACKUP WORKER "Takes a last backup before a delete; without it nothing is removed.".or("true");
    PURGED_BACKUP_DAYS WORKER "For how many days after a delete the backups of the instance are kept.".or("30");
    RESTORE_KEEP_OLD_HOURS WORKER "How long a replaced database is kept.".or("24");
    NOTIFY_LIFECYCLE_EXTRAS WORKER "Also sends instance_suspended, instance_resumed and instance_deleted; in this build the last only.".or("false");

    KILLBILL_WEBHOOK_ENABLED SERVICES "Direct webhook of the billing engine (`docs/killbill.md`): the API takes its events, the worker acts on what the engine says when it is asked.".or("false");
    KILLBILL_WEBHOOK_SECRET API "Direct webhook: secret part of its path, at least 16 letters, digits, `-` or `_`; required once it is enabled.".secret();
    KILLBILL_URL WORKER "Billing engine, e.g. `http://killbill:8080`; this and the next four are required once the webhook is enabled.";
    KILLBILL_USERNAME WORKER "Billing engine: user.";
    KILLBILL_PASSWORD WORKER "Billing engine: password.".secret();
    KILLBILL_API_KEY WORKER "Billing engine: tenant key.".secret();
    KILLBILL_API_SECRET WORKER "Billing engine: tenant secret.".secret();
    KILLBILL_OVERDUE_ENABLED WORKER "Direct webhook: an account that the billing engine blocks as overdue is suspended, too (OVERDUE_CHANGE).".or("false");
    KILLBILL_SYNC_INTERVAL_SECONDS WORKER "Direct webhook: how often every subscription is looked at without any event, 10 to 86400.".or("3600");

    LOG_LEVEL EVERY "`trace`, `debug`, `info`, `warn` or `error`; upper-case Python names are accepted.".or("info");
    LOG_FORMAT EVERY "`json` or `text`.".or("json");
    DEBUG EVERY "`true` means level debug.".or("false");
}

/// Accepted and ignored; each one that is set is named once in the log, with the reason.
pub const IGNORED: &[(&str, &str)] = &[
    ("BILLING_SERVICE_URL", "nothing calls the billing service"),
    ("ODOO_INSTANCES_PATH", "the data directories are under CEPHFS_INSTANCES_PATH"),
    ("ODOO_BACKUPS_PATH", "the backups are under CEPHFS_BACKUPS_PATH"),
    ("MAX_INSTANCES_PER_USER", "quotas belong to billing"),
    ("INSTANCE_CPU_LIMIT", "limits come with the order"),
    ("INSTANCE_MEMORY_LIMIT", "limits come with the order"),
    ("INSTANCE_STORAGE_LIMIT", "limits come with the order"),
    ("POSTGRES_USER", "the platform user is PLATFORM_POSTGRES_USER"),
    ("POSTGRES_PASSWORD", "the platform password is PLATFORM_POSTGRES_PASSWORD"),
    ("POSTGRES_DEFAULT_DB", "the platform database is PLATFORM_POSTGRES_DB"),
];

/// Accepted and ignored by their beginning.
pub const IGNORED_PREFIXES: &[(&str, &str)] = &[("RABBITMQ_", "the service uses no message broker")];

/// Beginnings that only this service's variables have: an unknown name with one of them is a mistake worth a warning.
pub const OWN_PREFIXES: &[&str] =
    &["PLATFORM_", "DB_SERVICE_", "ODOO_", "CEPHFS_", "PROCESS_ODOO_", "WORKER_", "INSTANCE_", "KILLBILL_", "PURGE_", "BACKUP_"];
