//! Outgoing mail as rows, written in the transaction of the fact that they report (contract 11.1 and 18).
//!
//! Owns: one mail per operation and template, the sealed part of its variables, when it is tried again, when it is given
//! up. Leaves to others: sending (`worker`), and what a mail says.

use crate::error::{DbError, DbResult};
use crate::platform::audit::{self, AuditContext, Entry};
use crate::platform::readers::ask;
use crate::platform::{PlatformDb, PlatformTx};
use crate::secrets::{Aad, Keyring};
use chrono::{DateTime, Utc};
use domain::ids::{CustomerId, InstanceId, OperationId};
use domain::sources::{Entropy, random_uuid};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;
use zeroize::Zeroizing;

/// The sealed part does not outlive this, delivered or not.
const KEEP_SECRET: Duration = Duration::from_secs(7 * 24 * 3600);

/// A mail to be sent.
#[derive(Clone, Debug)]
pub struct NewMail {
    /// The operation whose outcome it reports; with the template, its identity.
    pub operation_id: OperationId,
    /// The instance it is about.
    pub instance_id: Option<InstanceId>,
    /// Who gets it; address and first name are looked up when it is sent.
    pub customer_id: CustomerId,
    /// Name of the template.
    pub template: &'static str,
    /// Its variables, as far as they are known now and no secret.
    pub variables: Map<String, Value>,
    /// Variables that are sealed until the mail is accepted.
    pub secrets: BTreeMap<String, SecretString>,
    /// Tags.
    pub tags: &'static [&'static str],
}

/// A mail that is due. Its id stays the same over all attempts.
#[derive(Clone, Debug)]
pub struct DueMail {
    /// Constant over all attempts.
    pub id: Uuid,
    /// The instance it is about.
    pub instance_id: Option<InstanceId>,
    /// Who gets it.
    pub customer_id: CustomerId,
    /// Name of the template.
    pub template: String,
    /// Its open variables.
    pub variables: Value,
    /// Its sealed variables, for [`open_secrets`].
    pub secret: Option<Vec<u8>>,
    /// Tags.
    pub tags: Value,
    /// This attempt's number, from 1.
    pub attempt: i32,
}

/// What became of a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AfterFailure {
    /// It is tried again later.
    Again,
    /// It is given up; an operator may [`replay`] it.
    Dead,
}

fn place(id: Uuid) -> Aad {
    Aad { table: "outbox", column: "secret", row: id }
}

/// Writes a mail in the caller's transaction. A mail of this operation and template that is already there stays as it is.
///
/// # Errors
/// Database errors, and [`DbError::Secret`].
pub async fn enqueue(tx: &mut PlatformTx, mail: &NewMail, keyring: &Keyring, entropy: &dyn Entropy) -> DbResult<()> {
    let id = random_uuid(entropy);
    sqlx::query!(
        "INSERT INTO instance_service.outbox (id, operation_id, instance_id, customer_id, template, variables, secret, tags)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (operation_id, template) DO NOTHING",
        id,
        mail.operation_id.as_uuid(),
        mail.instance_id.map(|id| id.as_uuid()),
        mail.customer_id.as_uuid(),
        mail.template,
        Value::Object(mail.variables.clone()),
        seal_secrets(id, &mail.secrets, keyring, entropy)?,
        serde_json::json!(mail.tags),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

fn seal_secrets(
    id: Uuid,
    secrets: &BTreeMap<String, SecretString>,
    keyring: &Keyring,
    entropy: &dyn Entropy,
) -> DbResult<Option<Vec<u8>>> {
    if secrets.is_empty() {
        return Ok(None);
    }
    let open: BTreeMap<&str, &str> = secrets.iter().map(|(name, value)| (name.as_str(), value.expose_secret())).collect();
    let json = Zeroizing::new(serde_json::to_vec(&open).map_err(|_| damaged(id))?);
    Ok(Some(keyring.seal(&place(id), &json, entropy)?))
}

/// Opens the sealed variables of a due mail.
///
/// # Errors
/// [`DbError::Secret`] when the key is not configured or the value was changed.
pub fn open_secrets(mail: &DueMail, keyring: &Keyring) -> DbResult<BTreeMap<String, SecretString>> {
    let Some(sealed) = &mail.secret else { return Ok(BTreeMap::new()) };
    let json = keyring.open(&place(mail.id), sealed)?;
    let open: BTreeMap<String, String> = serde_json::from_slice(&json).map_err(|_| damaged(mail.id))?;
    Ok(open.into_iter().map(|(name, value)| (name, SecretString::from(value))).collect())
}

fn damaged(id: Uuid) -> DbError {
    DbError::Inconsistent { table: "outbox", column: "secret", row: id.to_string(), why: "not a map of texts".to_owned() }
}

/// Takes up to `limit` due mails for one attempt. Nobody else gets them within `hold`; a sender that dies is so replaced.
///
/// # Errors
/// Database errors only.
pub async fn claim_due(db: &PlatformDb, limit: i64, hold: Duration) -> DbResult<Vec<DueMail>> {
    let rows = sqlx::query!(
        r#"UPDATE instance_service.outbox AS o
              SET attempts = o.attempts + 1, next_try_at = clock_timestamp() + make_interval(secs => $2)
             FROM (SELECT id FROM instance_service.outbox
                    WHERE state = 'pending' AND next_try_at <= clock_timestamp()
                    ORDER BY next_try_at LIMIT $1 FOR UPDATE SKIP LOCKED) AS due
            WHERE o.id = due.id
        RETURNING o.id, o.instance_id, o.customer_id, o.template, o.variables, o.secret, o.tags, o.attempts"#,
        limit,
        hold.as_secs_f64(),
    )
    .fetch_all(db.pool())
    .await?;
    let due = rows.into_iter().map(|row| DueMail {
        id: row.id,
        instance_id: row.instance_id.map(InstanceId::from_uuid),
        customer_id: CustomerId::from_uuid(row.customer_id),
        template: row.template,
        variables: row.variables,
        secret: row.secret,
        tags: row.tags,
        attempt: row.attempts,
    });
    Ok(due.collect())
}

/// The mail was accepted: its sealed part is erased.
///
/// # Errors
/// Database errors only.
pub async fn delivered(db: &PlatformDb, id: Uuid) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.outbox
            SET state = 'delivered', delivered_at = clock_timestamp(), secret = NULL, last_error = NULL
          WHERE id = $1 AND state = 'pending'",
        id,
    )
    .execute(db.pool())
    .await?;
    Ok(())
}

/// An attempt failed. `for_good` means that trying again cannot help (unknown template). `error` is a general text.
/// The pause doubles from 5 s to an hour; a day after it was written (`give_up_at`) the mail is dead.
///
/// # Errors
/// Database errors only.
pub async fn failed(db: &PlatformDb, id: Uuid, error: &str, for_good: bool) -> DbResult<AfterFailure> {
    let state = sqlx::query_scalar!(
        "UPDATE instance_service.outbox
            SET last_error = $2,
                next_try_at = clock_timestamp() + make_interval(secs => least(3600, 5 * 2 ^ least(attempts - 1, 20))),
                state = CASE WHEN $3 OR clock_timestamp() > give_up_at THEN 'dead' ELSE 'pending' END
          WHERE id = $1 AND state = 'pending'
      RETURNING state",
        id,
        error,
        for_good,
    )
    .fetch_optional(db.pool())
    .await?;
    Ok(if state.as_deref() == Some("pending") { AfterFailure::Again } else { AfterFailure::Dead })
}

/// A mail that was given up.
#[derive(Clone, Debug)]
pub struct DeadMail {
    /// Its id.
    pub id: Uuid,
    /// The operation whose outcome it reports.
    pub operation_id: OperationId,
    /// The instance it is about.
    pub instance_id: Option<InstanceId>,
    /// Who should have got it.
    pub customer_id: CustomerId,
    /// Name of the template.
    pub template: String,
    /// How often it was tried.
    pub attempts: i32,
    /// Why the last attempt failed, in general words.
    pub last_error: Option<String>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// Whether it still has something to say: what is erased cannot be sent.
    pub replayable: bool,
}

/// Mails that were given up, newest first, and how many there are in all.
///
/// # Errors
/// Database errors only.
pub async fn dead(db: &PlatformDb, offset: i64, limit: i64) -> DbResult<(Vec<DeadMail>, i64)> {
    let total = ask!(db, connection => sqlx::query_scalar!(r#"SELECT count(*) AS "count!" FROM instance_service.outbox WHERE state = 'dead'"#).fetch_one(&mut *connection));
    let rows = ask!(db, connection => sqlx::query!(
        r#"SELECT id, operation_id, instance_id, customer_id, template, attempts, last_error, created_at,
                  variables <> '{}' OR secret IS NOT NULL AS "replayable!"
             FROM instance_service.outbox WHERE state = 'dead' ORDER BY created_at DESC, id LIMIT $1 OFFSET $2"#,
        limit,
        offset,
    ).fetch_all(&mut *connection));
    let mails = rows.into_iter().map(|row| DeadMail {
        id: row.id,
        operation_id: OperationId::from_uuid(row.operation_id),
        instance_id: row.instance_id.map(InstanceId::from_uuid),
        customer_id: CustomerId::from_uuid(row.customer_id),
        template: row.template,
        attempts: row.attempts,
        last_error: row.last_error,
        created_at: row.created_at,
        replayable: row.replayable,
    });
    Ok((mails.collect(), total))
}

/// What became of a wish to send a dead mail after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Replayed {
    /// It is due now, for another day.
    Due,
    /// There is no such mail.
    Unknown,
    /// It was not given up.
    NotDead,
    /// What it said is erased.
    Erased,
}

/// Makes a dead mail due again, with a line in the audit trail.
///
/// # Errors
/// Database errors only.
pub async fn replay(tx: &mut PlatformTx, id: Uuid, by: &AuditContext) -> DbResult<Replayed> {
    let found = sqlx::query!(
        r#"SELECT state, instance_id, operation_id, template, variables <> '{}' OR secret IS NOT NULL AS "replayable!"
             FROM instance_service.outbox WHERE id = $1 FOR UPDATE"#,
        id
    )
    .fetch_optional(tx.conn())
    .await?;
    let Some(mail) = found else { return Ok(Replayed::Unknown) };
    if mail.state != "dead" {
        return Ok(Replayed::NotDead);
    }
    if !mail.replayable {
        return Ok(Replayed::Erased);
    }
    sqlx::query!(
        "UPDATE instance_service.outbox
            SET state = 'pending', attempts = 0, next_try_at = clock_timestamp(),
                give_up_at = clock_timestamp() + interval '24 hours'
          WHERE id = $1",
        id,
    )
    .execute(tx.conn())
    .await?;
    let entry = Entry {
        action: "replay_mail",
        instance_id: mail.instance_id.map(InstanceId::from_uuid),
        operation_id: Some(OperationId::from_uuid(mail.operation_id)),
        from: None,
        to: None,
        details: json!({ "mail_id": id, "template": mail.template }),
    };
    audit::record(tx, by, &entry).await?;
    Ok(Replayed::Due)
}

/// Erases what the mails about an instance say; those not sent yet die. For the end of a purge.
///
/// # Errors
/// Database errors only.
pub(in crate::platform) async fn erase_of(tx: &mut PlatformTx, instance: InstanceId) -> DbResult<()> {
    sqlx::query!(
        "UPDATE instance_service.outbox
            SET secret = NULL, variables = '{}', state = CASE state WHEN 'pending' THEN 'dead' ELSE state END
          WHERE instance_id = $1",
        instance.as_uuid(),
    )
    .execute(tx.conn())
    .await?;
    Ok(())
}

/// Erases sealed parts older than seven days, and what would be said around them; says how many. A mail that was still
/// pending dies.
///
/// # Errors
/// Database errors only.
pub async fn erase_old_secrets(db: &PlatformDb) -> DbResult<u64> {
    let done = sqlx::query!(
        "UPDATE instance_service.outbox
            SET secret = NULL, variables = '{}', state = CASE state WHEN 'pending' THEN 'dead' ELSE state END
          WHERE secret IS NOT NULL AND created_at < clock_timestamp() - make_interval(secs => $1)",
        KEEP_SECRET.as_secs_f64(),
    )
    .execute(db.pool())
    .await?;
    Ok(done.rows_affected())
}
