//! After a load everything belongs to the tenant and nobody else has a right in it.

use crate::content::odoo_tables;
use crate::rig::{Rig, Tenant};
use db::odoo::OdooError;

/// One of each kind of object that a role can own.
const OBJECTS: &str = r#"
    CREATE SCHEMA extra;
    CREATE TYPE extra.colour AS ENUM ('red'); CREATE TYPE extra.pair AS (a int, b int); CREATE DOMAIN extra.positive AS int CHECK (VALUE > 0);
    CREATE TYPE extra.span AS RANGE (subtype = int4);
    CREATE TABLE extra."Odd ""name" (id serial PRIMARY KEY, n int GENERATED ALWAYS AS IDENTITY, c extra.colour);
    CREATE TABLE extra.parts (id int) PARTITION BY RANGE (id); CREATE TABLE extra.part PARTITION OF extra.parts DEFAULT;
    CREATE VIEW extra.seen AS SELECT 1 AS one; CREATE MATERIALIZED VIEW extra.kept AS SELECT 1 AS one; CREATE SEQUENCE extra.numbers;
    CREATE FUNCTION extra.f(int, text) RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE PROCEDURE extra.p() LANGUAGE sql AS 'SELECT 1';
    CREATE AGGREGATE extra.total(int) (sfunc = int4pl, stype = int);
    CREATE OPERATOR extra.@@@ (leftarg = int, rightarg = int, function = int4pl);
    CREATE COLLATION extra.c FROM "C"; CREATE STATISTICS extra.s ON id, n FROM extra."Odd ""name";
    CREATE TEXT SEARCH CONFIGURATION extra.words (COPY = pg_catalog.simple);
    CREATE TEXT SEARCH DICTIONARY extra.dict (TEMPLATE = pg_catalog.simple);
    SELECT lo_create(4242);
"#;

/// What belongs to somebody else. The server keeps the constructors of a range for itself.
const OTHERS: &str = "SELECT coalesce(string_agg(what, ' '), '') FROM (
        SELECT relname::text, relowner FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'extra'::regnamespace)
        UNION ALL SELECT proname, proowner FROM pg_proc WHERE pronamespace = 'extra'::regnamespace AND proname NOT LIKE 'span%'
        UNION ALL SELECT typname, typowner FROM pg_type WHERE typnamespace = 'extra'::regnamespace
        UNION ALL SELECT nspname, nspowner FROM pg_namespace WHERE nspname = 'extra'
        UNION ALL SELECT 'a large object', lomowner FROM pg_largeobject_metadata
        UNION ALL SELECT 'the database', datdba FROM pg_database WHERE datname = current_database()) o(what, owner)
    WHERE pg_get_userbyid(owner) <> ";

fn sql(rig: &Rig, tenant: &Tenant, text: &str) -> String {
    rig.cluster.psql(tenant.name.as_str(), text).unwrap()
}

async fn repair(rig: &Rig, tenant: &Tenant) -> Result<(), OdooError> {
    let mut fence = rig.fence(&tenant.mark).await;
    let repaired = fence.inside(&tenant.name).await.unwrap().repair(&tenant.name).await;
    fence.release().await.unwrap();
    repaired
}

#[tokio::test]
async fn what_the_admin_or_another_tenant_owns_becomes_the_tenants() {
    let rig = Rig::start();
    let (tenant, other) = (rig.tenant().await, rig.tenant().await);
    odoo_tables(&rig, &tenant);
    sql(&rig, &tenant, &format!("SET ROLE \"{}\"; CREATE EXTENSION pg_trgm", tenant.name));
    let before = testkit::catalog::Snapshot::of_server(&rig.cluster).unwrap();
    repair(&rig, &tenant).await.unwrap();
    for owner in ["odoo_admin", other.name.as_str()] {
        let grant = format!("GRANT CREATE ON DATABASE \"{}\" TO \"{owner}\"", tenant.name);
        sql(&rig, &tenant, &format!("{grant}; SET ROLE \"{owner}\"; {OBJECTS}"));
        assert_ne!(sql(&rig, &tenant, &format!("{OTHERS} '{}'", tenant.name)), "");
        for _ in 0..2 {
            repair(&rig, &tenant).await.unwrap();
            assert_eq!(sql(&rig, &tenant, &format!("{OTHERS} '{}'", tenant.name)), "", "{owner}");
        }
        sql(&rig, &tenant, "DROP SCHEMA extra CASCADE; SELECT lo_unlink(4242)");
    }
    // Nothing outside the database has changed hands.
    let difference = before.difference(&testkit::catalog::Snapshot::of_server(&rig.cluster).unwrap());
    assert!(difference.is_empty(), "{difference}");
}

#[tokio::test]
async fn rights_of_others_go_and_those_of_the_tenant_stay() {
    let rig = Rig::start();
    let (tenant, other) = (rig.tenant().await, rig.tenant().await);
    odoo_tables(&rig, &tenant);
    let t = &tenant.name;
    sql(&rig, &tenant, &format!("SET ROLE \"{t}\"; {OBJECTS}"));
    let grants = format!(
        "GRANT CONNECT ON DATABASE \"{t}\" TO PUBLIC; GRANT ALL ON DATABASE \"{t}\" TO other; GRANT ALL ON SCHEMA extra TO other WITH GRANT OPTION;
         GRANT SELECT ON extra.\"Odd \"\"name\" TO other; GRANT SELECT (id) ON res_users TO other; GRANT ALL ON SEQUENCE extra.numbers TO other;
         GRANT ALL ON FUNCTION extra.f TO other; GRANT ALL ON PROCEDURE extra.p TO other; GRANT USAGE ON TYPE extra.colour TO other;
         GRANT ALL ON LARGE OBJECT 4242 TO other; ALTER DEFAULT PRIVILEGES IN SCHEMA extra GRANT ALL ON TABLES TO other;
         GRANT SELECT ON res_users TO PUBLIC; ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"
    );
    sql(&rig, &tenant, &format!("SET ROLE \"{t}\"; {}", grants.replace("TO other", &format!("TO \"{}\"", other.name))));
    let theirs = format!(
        "SELECT count(*) FROM pg_shdepend WHERE refobjid = '\"{}\"'::regrole AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())",
        other.name
    );
    assert_ne!(sql(&rig, &tenant, &theirs), "0");
    rig.log_in(&other, t.as_str()).await.unwrap();
    repair(&rig, &tenant).await.unwrap();
    assert_eq!(sql(&rig, &tenant, &theirs), "0");
    assert!(rig.log_in(&other, t.as_str()).await.is_err());
    let public = format!("SELECT has_database_privilege('{}', current_database(), 'CONNECT')", other.name);
    assert_eq!(sql(&rig, &tenant, &public), "f");
    // What a tenant gave to all in its own database is its own business: nobody else gets in.
    assert_eq!(sql(&rig, &tenant, "SELECT count(*) FROM pg_default_acl"), "1");
    let mut own = rig.log_in(&tenant, t.as_str()).await.unwrap();
    sqlx::query("SELECT * FROM res_users").fetch_all(&mut own).await.unwrap();
    sqlx::query("CREATE TABLE more (id int)").execute(&mut own).await.unwrap();
}

#[tokio::test]
async fn default_rights_of_the_admin_go() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    let defaults = format!(
        "CREATE SCHEMA extra AUTHORIZATION \"{0}\"; SET ROLE odoo_admin;
         ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO \"{0}\"; ALTER DEFAULT PRIVILEGES REVOKE ALL ON FUNCTIONS FROM PUBLIC;
         ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO \"{0}\"; ALTER DEFAULT PRIVILEGES IN SCHEMA extra GRANT ALL ON SEQUENCES TO PUBLIC;
         ALTER DEFAULT PRIVILEGES REVOKE ALL ON SCHEMAS FROM odoo_admin",
        tenant.name
    );
    sql(&rig, &tenant, &defaults);
    assert_eq!(sql(&rig, &tenant, "SELECT count(*) FROM pg_default_acl"), "5");
    repair(&rig, &tenant).await.unwrap();
    assert_eq!(sql(&rig, &tenant, "SELECT count(*) FROM pg_default_acl"), "0");
}

#[tokio::test]
async fn what_is_beyond_us_is_named() {
    let rig = Rig::start();
    let tenant = rig.tenant().await;
    sql(&rig, &tenant, "CREATE TABLE public.precious (id int); CREATE EXTENSION pg_trgm");
    let error = repair(&rig, &tenant).await.unwrap_err();
    let named = ["extension pg_trgm belongs to postgres", "table public.precious belongs to postgres"];
    assert!(matches!(&error, OdooError::Unfit { faults, .. } if faults == &named), "{error}");
}
