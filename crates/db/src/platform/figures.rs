//! Figures over all of postgres1 for the metrics page: counts and ages, never an id or a name of a customer.

use crate::error::DbResult;
use crate::platform::PlatformDb;
use crate::platform::readers::ask;

/// What there is at the moment.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Instances by public status.
    pub instances: Vec<InstanceFigure>,
    /// Unfinished operations, and those that ended within the last day.
    pub operations: Vec<OperationFigure>,
    /// Registered Odoo servers.
    pub servers: Vec<ServerFigure>,
    /// Mails and calls still to be delivered.
    pub outbox_pending: i64,
    /// Age of the oldest of them.
    pub outbox_oldest_seconds: f64,
    /// Mails that were given up.
    pub outbox_dead: i64,
    /// Whether the watcher watches; none where it shall not.
    pub watcher_up: Option<bool>,
    /// What the loops last found that is not as the rows say, by kind.
    pub drift: Vec<DriftFigure>,
    /// Workers heard of within the last half minute.
    pub workers_alive: i64,
}

/// Instances in one status.
#[derive(Clone, Debug)]
pub struct InstanceFigure {
    /// The public status.
    pub status: String,
    /// How many.
    pub count: i64,
}

/// Operations of one kind in one state.
#[derive(Clone, Debug)]
pub struct OperationFigure {
    /// What they do.
    pub kind: String,
    /// The stored state.
    pub state: String,
    /// How many.
    pub count: i64,
    /// Age of the oldest.
    pub oldest_seconds: f64,
}

/// What of one kind is not as the rows say.
#[derive(Clone, Debug)]
pub struct DriftFigure {
    /// `instances`, `services`, `possessions` or `strays`.
    pub kind: String,
    /// How many.
    pub count: i64,
}

/// One Odoo server.
#[derive(Clone, Debug)]
pub struct ServerFigure {
    /// Its name in the registry.
    pub name: String,
    /// Whether it was seen healthy within the last two minutes.
    pub up: bool,
}

/// Reads everything, one query after the other.
///
/// # Errors
/// Database errors only.
pub async fn read(db: &PlatformDb) -> DbResult<Figures> {
    let instances = instances(db).await?;
    let operations = ask!(db, connection => sqlx::query_as!(
        OperationFigure,
        r#"SELECT kind AS "kind!", state AS "state!", count(*) AS "count!",
                  extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS "oldest_seconds!"
             FROM (SELECT kind, state, created_at FROM instance_service.operations WHERE finished_at IS NULL
                   UNION ALL
                   SELECT kind, state, created_at FROM instance_service.operations
                    WHERE finished_at > clock_timestamp() - interval '1 day') o
            GROUP BY kind, state"#
    ).fetch_all(&mut *connection));
    let servers = ask!(db, connection => sqlx::query_as!(
        ServerFigure,
        r#"SELECT name, coalesce(healthy AND checked_at > clock_timestamp() - interval '2 minutes', false) AS "up!"
             FROM instance_service.odoo_servers"#
    ).fetch_all(&mut *connection));
    let rest = ask!(db, connection => sqlx::query!(
        r#"SELECT (SELECT count(*) FROM instance_service.outbox WHERE state = 'pending') AS "outbox_pending!",
                  (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
                     FROM instance_service.outbox WHERE state = 'pending') AS "outbox_oldest_seconds!",
                  (SELECT count(*) FROM instance_service.outbox WHERE state = 'dead') AS "outbox_dead!",
                  (SELECT value ->> 'state' = 'running' AND updated_at > clock_timestamp() - interval '100 s'
                     FROM instance_service.monitor_state WHERE name = 'watcher' AND value ->> 'state' <> 'stopped') AS watcher_up,
                  (SELECT count(*) FROM instance_service.worker_heartbeats
                    WHERE beat_at > clock_timestamp() - interval '30 seconds') AS "workers_alive!""#
    ).fetch_one(&mut *connection));
    let drift = ask!(db, connection => sqlx::query_as!(
        DriftFigure,
        r#"SELECT k.kind AS "kind!", (m.value #>> ARRAY['report', k.field])::bigint AS "count!"
             FROM (VALUES ('reconcile', 'drifted', 'instances'), ('reconcile', 'orphaned', 'services'),
                          ('drift', 'wrong_in_all', 'possessions'), ('drift', 'strays_in_all', 'strays')) AS k (loop, field, kind)
             JOIN instance_service.monitor_state m ON m.name = k.loop AND m.value #>> ARRAY['report', k.field] ~ '^[0-9]+$'"#
    ).fetch_all(&mut *connection));
    Ok(Figures {
        instances,
        operations,
        servers,
        outbox_pending: rest.outbox_pending,
        outbox_oldest_seconds: rest.outbox_oldest_seconds,
        outbox_dead: rest.outbox_dead,
        watcher_up: rest.watcher_up,
        drift,
        workers_alive: rest.workers_alive,
    })
}

/// Instances by public status, as stored.
///
/// # Errors
/// Database errors only.
pub async fn instances(db: &PlatformDb) -> DbResult<Vec<InstanceFigure>> {
    Ok(ask!(db, connection => sqlx::query_as!(
        InstanceFigure,
        r#"SELECT coalesce(status, 'unknown') AS "status!", count(*) AS "count!" FROM public.instances GROUP BY 1"#
    ).fetch_all(&mut *connection)))
}
