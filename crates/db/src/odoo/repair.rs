//! Who owns what in a loaded database, and who else was given a right in it (contract 16.3).
//!
//! Everything here reads and writes the server's own catalogues only, so that nothing of the tenant's runs with our rights.
//! `REASSIGN OWNED` and `DROP OWNED` are not used: both reach beyond the database.

use super::connection::Inside;
use super::error::{OdooError, OdooResult};
use domain::names::PhysicalName;

/// So many objects are named when they cannot be put right.
const TOLD: usize = 20;

/// Objects of schemas that are not the system's. Sequences of a table follow the table.
const OWNED: &str = r"
    own AS (SELECT oid, oid AS schema FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'),
    owned(kind, class, object, owner) AS (
        SELECT 0, 'pg_database'::regclass, oid, datdba FROM pg_database WHERE datname = current_database()
        UNION ALL SELECT 1, 'pg_namespace'::regclass, n.oid, n.nspowner FROM pg_namespace n JOIN own USING (oid)
        UNION ALL SELECT 2, 'pg_class'::regclass, c.oid, c.relowner FROM pg_class c JOIN own ON own.schema = c.relnamespace
                   WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
                     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND c.relkind = 'S'
                                                                  AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a')
        UNION ALL SELECT CASE t.typtype WHEN 'm' THEN 3 ELSE 2 END, 'pg_type'::regclass, t.oid, t.typowner FROM pg_type t JOIN own ON own.schema = t.typnamespace
        UNION ALL SELECT 2, 'pg_proc'::regclass, p.oid, p.proowner FROM pg_proc p JOIN own ON own.schema = p.pronamespace
        UNION ALL SELECT 2, 'pg_operator'::regclass, o.oid, o.oprowner FROM pg_operator o JOIN own ON own.schema = o.oprnamespace
        UNION ALL SELECT 2, 'pg_opclass'::regclass, o.oid, o.opcowner FROM pg_opclass o JOIN own ON own.schema = o.opcnamespace
        UNION ALL SELECT 2, 'pg_opfamily'::regclass, o.oid, o.opfowner FROM pg_opfamily o JOIN own ON own.schema = o.opfnamespace
        UNION ALL SELECT 2, 'pg_collation'::regclass, c.oid, c.collowner FROM pg_collation c JOIN own ON own.schema = c.collnamespace
        UNION ALL SELECT 2, 'pg_conversion'::regclass, c.oid, c.conowner FROM pg_conversion c JOIN own ON own.schema = c.connamespace
        UNION ALL SELECT 2, 'pg_statistic_ext'::regclass, s.oid, s.stxowner FROM pg_statistic_ext s JOIN own ON own.schema = s.stxnamespace
        UNION ALL SELECT 2, 'pg_ts_config'::regclass, t.oid, t.cfgowner FROM pg_ts_config t JOIN own ON own.schema = t.cfgnamespace
        UNION ALL SELECT 2, 'pg_ts_dict'::regclass, t.oid, t.dictowner FROM pg_ts_dict t JOIN own ON own.schema = t.dictnamespace
        UNION ALL SELECT 2, 'pg_extension'::regclass, e.oid, e.extowner FROM pg_extension e JOIN own ON own.schema = e.extnamespace
        UNION ALL SELECT 2, 'pg_largeobject'::regclass, oid, lomowner FROM pg_largeobject_metadata)";

/// `pg_database_owner` is whoever owns the database. Members of an extension, and what the server made on the way to something
/// else (row types, constructors of ranges), belong to whoever it gave them to. The multirange of a range comes last: up to
/// PostgreSQL 16 it keeps its owner, later it follows the range and may not be given to anybody by itself.
const NOT_THE_TENANTS: &str = "
    SELECT o.kind, CASE WHEN pg_has_role(o.owner, 'USAGE') AND o.class <> 'pg_extension'::regclass
                THEN format('ALTER %s %s OWNER TO %I', replace(i.type, 'statistics object', 'statistics'), i.identity, $1) END,
           format('%s %s belongs to %s', i.type, i.identity, pg_get_userbyid(o.owner))
      FROM owned o CROSS JOIN LATERAL pg_identify_object(o.class, o.object, 0) i
     WHERE pg_get_userbyid(o.owner) NOT IN ($1, 'pg_database_owner')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.object AND d.objsubid = 0
                          AND (d.deptype = 'e' OR (d.deptype = 'i' AND o.kind < 3 AND (d.refclassid, d.refobjid) <> (o.class, o.object))))
     ORDER BY 1, 3";

/// Rights of roles that are neither the tenant nor the server's own (their OIDs are below 16384), and of PUBLIC on the database.
const GRANTED: &str = r"
    WITH own AS (SELECT oid, nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg\_%' AND nspname <> 'information_schema'),
    acls(kind, identity, acl) AS (
        SELECT 'DATABASE', quote_ident(datname), coalesce(datacl, acldefault('d', datdba)) FROM pg_database WHERE datname = current_database()
        UNION ALL SELECT 'SCHEMA', quote_ident(n.nspname), n.nspacl FROM pg_namespace n JOIN own USING (oid)
        UNION ALL SELECT 'TABLE', format('%I.%I', own.nspname, c.relname), c.relacl FROM pg_class c JOIN own ON own.oid = c.relnamespace
        UNION ALL SELECT 'TABLE', format('%I.%I', own.nspname, c.relname), a.attacl
                    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN own ON own.oid = c.relnamespace
        UNION ALL SELECT 'ROUTINE', p.oid::regprocedure::text, p.proacl FROM pg_proc p JOIN own ON own.oid = p.pronamespace
        UNION ALL SELECT 'TYPE', t.oid::regtype::text, t.typacl FROM pg_type t JOIN own ON own.oid = t.typnamespace
        UNION ALL SELECT 'LARGE OBJECT', oid::text, lomacl FROM pg_largeobject_metadata)
    SELECT DISTINCT 2, format('REVOKE ALL ON %s %s FROM %s CASCADE', kind, identity, who.name), format('%s has rights on %s %s', who.name, kind, identity)
      FROM acls CROSS JOIN LATERAL aclexplode(acls.acl) a
           CROSS JOIN LATERAL (SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END) who(name)
     WHERE (a.grantee = 0 AND kind = 'DATABASE') OR (a.grantee >= 16384 AND pg_get_userbyid(a.grantee) <> $1)
     ORDER BY 3";

/// Rights that objects made later would be given: none that another role than the tenant set, none of the tenant's for others.
/// What was set for all schemas goes when it is what the server does anyway, so that is granted again in the end.
const DEFAULTS: &str = "
    WITH defaults AS (
        SELECT d.defaclrole, d.defaclnamespace, d.defaclobjtype, d.defaclacl, pg_get_userbyid(d.defaclrole) = $1 AS of_tenant,
               format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s ', pg_get_userbyid(d.defaclrole), ' IN SCHEMA ' || quote_ident(n.nspname)) AS alter,
               CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS' WHEN 'T' THEN 'TYPES'
                                    WHEN 'n' THEN 'SCHEMAS' ELSE 'LARGE OBJECTS' END AS kind
          FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace)
    SELECT 2, CASE WHEN pg_has_role(defaclrole, 'USAGE') THEN alter || statement END, format('rights on new %s by default, set by %s', lower(kind), pg_get_userbyid(defaclrole))
      FROM (SELECT d.*, 1 AS part, format('REVOKE ALL ON %s FROM %s', kind,
                    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END) AS statement
              FROM defaults d CROSS JOIN LATERAL aclexplode(d.defaclacl) a
             WHERE NOT d.of_tenant OR (a.grantee >= 16384 AND pg_get_userbyid(a.grantee) <> $1)
            UNION ALL
            SELECT d.*, 2, format('GRANT ALL ON %s TO %I', kind, pg_get_userbyid(d.defaclrole)) FROM defaults d
             WHERE NOT d.of_tenant AND d.defaclnamespace = 0
            UNION ALL
            SELECT d.*, 3, format('GRANT ALL ON %s TO PUBLIC', kind) FROM defaults d
             WHERE NOT d.of_tenant AND d.defaclnamespace = 0 AND d.defaclobjtype IN ('f', 'T')) s
     ORDER BY part";

impl Inside<'_> {
    /// Puts a loaded database into its tenant's hands, and nobody else's: owner of the database and of everything in it, no
    /// right of PUBLIC on the database, none of other roles in it, no default rights of ours. Idempotent.
    ///
    /// # Errors
    /// [`OdooError::Unfit`] with what cannot be put right: it belongs to a role that is beyond us.
    pub async fn repair(&mut self, tenant: &PhysicalName) -> OdooResult<()> {
        for last in [2, 3] {
            let amiss = self.amiss(tenant).await?.into_iter().filter(|(kind, ..)| *kind <= last);
            let statements: Vec<String> = amiss.filter_map(|(_, statement, _)| statement).collect();
            if statements.is_empty() {
                continue;
            }
            match self.connection.run(statements.join("; ")).await {
                // Nothing was done then; what stands in the way is told below.
                Err(OdooError::Refused { .. }) | Ok(()) => {}
                other => other?,
            }
        }
        let mut faults: Vec<String> = self.amiss(tenant).await?.into_iter().map(|(.., what)| what).collect();
        faults.truncate(TOLD);
        if faults.is_empty() {
            return Ok(());
        }
        Err(OdooError::Unfit { what: format!("database {}", self.connection.database()), faults })
    }

    /// What is not as it must be: its turn, the statement that would mend it, and what it is.
    async fn amiss(&mut self, tenant: &PhysicalName) -> OdooResult<Vec<(i32, Option<String>, String)>> {
        let owners = format!("WITH {OWNED} {NOT_THE_TENANTS}");
        let mut amiss = Vec::new();
        for question in [owners.as_str(), GRANTED, DEFAULTS] {
            let (server, conn) = self.connection.parts();
            let rows = sqlx::query_as(sqlx::AssertSqlSafe(question.to_owned())).bind(tenant.as_str());
            let rows: Vec<(i32, Option<String>, String)> = server.answer(rows.fetch_all(conn)).await?;
            amiss.extend(rows);
        }
        Ok(amiss)
    }
}
