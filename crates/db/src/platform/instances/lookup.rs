//! Reading instances.

use super::Instance;
use super::row::{Row, select_instances};
use crate::error::DbResult;
use crate::platform::readers::ask;
use crate::platform::{PlatformDb, PlatformTx};
use domain::ids::{CustomerId, InstanceId, SubscriptionId};
use domain::instance::Status;
use domain::names::HostLabel;
use std::collections::BTreeSet;
use std::time::Duration;

/// Which instances to list.
#[derive(Clone, Debug)]
pub struct ListFilter {
    /// Of this customer.
    pub customer_id: CustomerId,
    /// In this public status.
    pub status: Option<Status>,
    /// From 1.
    pub page: u32,
    /// At most so many.
    pub page_size: u32,
}

/// One page, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    /// The instances.
    pub instances: Vec<Instance>,
    /// How many match in all.
    pub total: i64,
}

/// One instance.
///
/// # Errors
/// Database errors only.
pub async fn get(db: &PlatformDb, id: InstanceId) -> DbResult<Option<Instance>> {
    let row = ask!(db, connection => select_instances!("WHERE i.id = $1", id.as_uuid()).fetch_optional(&mut *connection));
    Ok(row.map(Instance::from))
}

/// One instance, locked until the end of the transaction: what it says stays true, and operations of one instance get their
/// sequence numbers in the order of their commits (engine 6).
///
/// # Errors
/// Database errors only.
pub async fn lock(tx: &mut PlatformTx, id: InstanceId) -> DbResult<Option<Instance>> {
    let row = select_instances!("WHERE i.id = $1 FOR UPDATE OF i", id.as_uuid()).fetch_optional(tx.conn()).await?;
    Ok(row.map(Instance::from))
}

/// A page of a customer's instances, terminated ones included.
///
/// # Errors
/// Database errors only.
pub async fn list(db: &PlatformDb, filter: &ListFilter) -> DbResult<Page> {
    let instances = match filter.status {
        None => list_all(db, filter).await?,
        Some(status) => list_in(db, filter, status).await?,
    };
    // Most customers have less than a page: nothing is left to count.
    let total = if filter.page <= 1 && instances.len() < usize::try_from(filter.page_size).unwrap_or(usize::MAX) {
        i64::try_from(instances.len()).unwrap_or(i64::MAX)
    } else {
        count_of(db, filter).await?
    };
    Ok(Page { instances, total })
}

impl ListFilter {
    fn offset(&self) -> i64 {
        i64::from(self.page.saturating_sub(1)) * i64::from(self.page_size)
    }
}

/// A statement of its own: most lists ask for no status, and this one is planned once.
async fn list_all(db: &PlatformDb, filter: &ListFilter) -> DbResult<Vec<Instance>> {
    let (customer, limit, offset) = (filter.customer_id.as_uuid(), i64::from(filter.page_size), filter.offset());
    let page = || {
        select_instances!(
            "WHERE i.customer_id = $1 ORDER BY i.created_at DESC NULLS LAST, i.id LIMIT $2 OFFSET $3",
            customer,
            limit,
            offset,
        )
    };
    Ok(ask!(db, connection => page().fetch_all(&mut *connection)).into_iter().map(Instance::from).collect())
}

async fn list_in(db: &PlatformDb, filter: &ListFilter, status: Status) -> DbResult<Vec<Instance>> {
    let (customer, limit, offset) = (filter.customer_id.as_uuid(), i64::from(filter.page_size), filter.offset());
    let known = known_words();
    let page = || {
        select_instances!(
            "WHERE i.customer_id = $1 \
               AND (i.status = $2 OR $2 = 'error' AND (i.status IS NULL OR i.status <> ALL ($3::text[]))) \
             ORDER BY i.created_at DESC NULLS LAST, i.id LIMIT $4 OFFSET $5",
            customer,
            status.as_str(),
            &known,
            limit,
            offset,
        )
    };
    Ok(ask!(db, connection => page().fetch_all(&mut *connection)).into_iter().map(Instance::from).collect())
}

async fn count_of(db: &PlatformDb, filter: &ListFilter) -> DbResult<i64> {
    let (customer, status, known) = (filter.customer_id.as_uuid(), filter.status.map(Status::as_str), known_words());
    let count = || {
        sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM public.instances AS i
                WHERE i.customer_id = $1
                  AND ($2::text IS NULL OR i.status = $2
                       OR $2 = 'error' AND (i.status IS NULL OR i.status <> ALL ($3::text[])))"#,
            customer,
            status,
            &known,
        )
    };
    Ok(ask!(db, connection => count().fetch_one(&mut *connection)))
}

/// An unknown stored status reads as `error`, so it has to be found under that word too.
fn known_words() -> Vec<String> {
    Status::ALL.iter().map(|status| status.as_str().to_owned()).collect()
}

/// Instances in `error`, the newest change first; an unknown stored status reads as one. The words are those of the index
/// `instances_failed`: a parameter would hide from the planner that it has them all.
///
/// # Errors
/// Database errors only.
pub async fn failed(db: &PlatformDb, offset: i64, limit: i64) -> DbResult<Page> {
    let total = ask!(db, connection => sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM public.instances
            WHERE status IS NULL OR status NOT IN ('creating', 'starting', 'running', 'stopping', 'stopped', 'restarting', 'updating',
                'maintenance', 'terminated', 'container_missing', 'paused')"#
    ).fetch_one(&mut *connection));
    let rows: Vec<Row> = ask!(db, connection => select_instances!(
        "WHERE i.status IS NULL OR i.status NOT IN ('creating', 'starting', 'running', 'stopping', 'stopped', 'restarting', 'updating', \
             'maintenance', 'terminated', 'container_missing', 'paused') \
         ORDER BY i.updated_at DESC NULLS LAST, i.id LIMIT $1 OFFSET $2",
        limit,
        offset,
    ).fetch_all(&mut *connection));
    Ok(Page { instances: rows.into_iter().map(Instance::from).collect(), total })
}

/// Instances that have data, and so may have a service, in the order of their ids: up to `limit` after the one called `after`.
///
/// # Errors
/// Database errors only.
pub async fn watched(db: &PlatformDb, after: Option<InstanceId>, limit: i64) -> DbResult<Vec<Instance>> {
    let rows = ask!(db, connection => select_instances!(
        "WHERE i.phase = 'ready' AND i.service_name IS NOT NULL AND i.id > $1 ORDER BY i.id LIMIT $2",
        after.map_or(uuid::Uuid::nil(), |id| id.as_uuid()),
        limit,
    ).fetch_all(&mut *connection));
    Ok(rows.into_iter().map(Instance::from).collect())
}

/// Instances that have a service, or should have one, in the order of its name.
///
/// # Errors
/// Database errors only.
pub async fn services(db: &PlatformDb, offset: i64, limit: i64) -> DbResult<Vec<Instance>> {
    let rows = ask!(db, connection => select_instances!(
        "WHERE i.phase = 'ready' AND i.service_name IS NOT NULL AND i.status <> 'terminated'          ORDER BY i.service_name LIMIT $1 OFFSET $2",
        limit,
        offset,
    ).fetch_all(&mut *connection));
    Ok(rows.into_iter().map(Instance::from).collect())
}

/// How many of them there are.
///
/// # Errors
/// Database errors only.
pub async fn count_services(db: &PlatformDb) -> DbResult<i64> {
    Ok(ask!(db, connection => sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM public.instances
            WHERE phase = 'ready' AND service_name IS NOT NULL AND status <> 'terminated'"#
    ).fetch_one(&mut *connection)))
}

/// The instance whose service has this name.
///
/// # Errors
/// Database errors only.
pub async fn by_service(db: &PlatformDb, name: &str) -> DbResult<Option<Instance>> {
    let row = ask!(db, connection => select_instances!("WHERE i.service_name = $1 AND i.phase = 'ready'", name).fetch_optional(&mut *connection));
    Ok(row.map(Instance::from))
}

/// Instances suspended for a debt that is paid, or on trial, which ran before, and whose rows nobody has changed for `grace`: the start
/// that should follow a payment has not come.
///
/// # Errors
/// Database errors only.
pub async fn left_down(db: &PlatformDb, grace: Duration, limit: i64) -> DbResult<Vec<InstanceId>> {
    let ids = ask!(db, connection => sqlx::query_scalar!(
        "SELECT id FROM public.instances
          WHERE suspension = 'debt' AND billing_status IN ('paid', 'trial') AND resume_to = 'running'
            AND updated_at < clock_timestamp() - make_interval(secs => $1) ORDER BY updated_at LIMIT $2",
        grace.as_secs_f64(),
        limit,
    ).fetch_all(&mut *connection));
    Ok(ids.into_iter().map(InstanceId::from_uuid).collect())
}

/// The live instance of a subscription, else one waiting for reactivation, else the newest.
///
/// # Errors
/// Database errors only.
pub async fn by_subscription(db: &PlatformDb, subscription: SubscriptionId) -> DbResult<Option<Instance>> {
    let newest = || {
        select_instances!(
            "WHERE i.subscription_id = $1 \
             ORDER BY i.status IS DISTINCT FROM 'terminated' DESC, i.awaiting_reactivation DESC, i.created_at DESC NULLS LAST, i.id \
             LIMIT 1",
            subscription.as_uuid(),
        )
    };
    Ok(ask!(db, connection => newest().fetch_optional(&mut *connection)).map(Instance::from))
}

/// Who holds a subscription: a live instance, or a terminated one that waits for its payment. Rows not adopted count.
///
/// # Errors
/// Database errors only.
pub async fn live_with_subscription(tx: &mut PlatformTx, subscription: SubscriptionId) -> DbResult<Option<Instance>> {
    let row = select_instances!(
        "WHERE i.subscription_id = $1 AND (i.status IS DISTINCT FROM 'terminated' OR i.awaiting_reactivation) \
         ORDER BY i.awaiting_reactivation, i.created_at DESC NULLS LAST, i.id LIMIT 1",
        subscription.as_uuid(),
    )
    .fetch_optional(tx.conn())
    .await?;
    Ok(row.map(Instance::from))
}

/// Whether a live instance has this host label. A row not adopted is served under its database name or its subdomain, and
/// holds both, an underscore read as a hyphen: no label has any.
///
/// # Errors
/// Database errors only.
pub async fn host_taken(db: &PlatformDb, label: &HostLabel) -> DbResult<bool> {
    Ok(ask!(db, connection => host_taken_on(&mut connection, label)))
}

pub(in crate::platform) async fn host_taken_on(connection: &mut sqlx::PgConnection, label: &HostLabel) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (
                SELECT FROM public.instances WHERE hostname = $1 AND status <> 'terminated' AND phase IS NOT NULL
                UNION ALL
                SELECT FROM public.instances
                 WHERE phase IS NULL AND status IS DISTINCT FROM 'terminated' AND lower(subdomain) = $1
                UNION ALL
                SELECT FROM public.instances
                 WHERE phase IS NULL AND status IS DISTINCT FROM 'terminated' AND replace(lower(database_name), '_', '-') = $1
           ) AS "taken!""#,
        label.as_str(),
    )
    .fetch_one(connection)
    .await
}

/// How many instances there are, records of purged ones included.
///
/// # Errors
/// Database errors only.
pub async fn count(db: &PlatformDb) -> DbResult<i64> {
    Ok(
        ask!(db, connection => sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM public.instances"#).fetch_one(&mut *connection)),
    )
}

/// Host ports that belong to instances.
///
/// # Errors
/// Database errors only.
pub async fn ports(db: &PlatformDb) -> DbResult<BTreeSet<u16>> {
    let ports = ask!(db, connection => sqlx::query_scalar!(r#"SELECT external_port AS "port!" FROM public.instances WHERE external_port IS NOT NULL"#).fetch_all(&mut *connection));
    Ok(ports.into_iter().filter_map(|port| u16::try_from(port).ok()).collect())
}

/// Instances that were terminated and have not changed for so many days, the oldest first: their data are still there.
///
/// # Errors
/// Database errors only.
pub async fn terminated_for(db: &PlatformDb, days: u32, limit: i64) -> DbResult<Vec<InstanceId>> {
    let ids = || {
        sqlx::query_scalar!(
            "SELECT id FROM public.instances
              WHERE status = 'terminated' AND phase IN ('registered', 'ready') AND NOT awaiting_reactivation
                AND updated_at < clock_timestamp() - make_interval(days => $1)
              ORDER BY updated_at LIMIT $2",
            i32::try_from(days).unwrap_or(i32::MAX),
            limit,
        )
    };
    Ok(ask!(db, connection => ids().fetch_all(&mut *connection)).into_iter().map(InstanceId::from_uuid).collect())
}

/// Whether an instance is one of those still. The caller holds its row.
///
/// # Errors
/// Database errors only.
pub(in crate::platform) async fn is_terminated_for(tx: &mut PlatformTx, id: InstanceId, days: u32) -> DbResult<bool> {
    Ok(sqlx::query_scalar!(
        r#"SELECT EXISTS (
               SELECT FROM public.instances
                WHERE id = $1 AND status = 'terminated' AND phase IN ('registered', 'ready') AND NOT awaiting_reactivation
                  AND updated_at < clock_timestamp() - make_interval(days => $2)) AS "is_so!""#,
        id.as_uuid(),
        i32::try_from(days).unwrap_or(i32::MAX),
    )
    .fetch_one(tx.conn())
    .await?)
}
