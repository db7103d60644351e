//! `instance-admin mails`: those that were given up, and sending them after all.

use crate::failure::Failure;
use crate::operations::connect;
use bootstrap::Environment;
use clap::Subcommand;
use db::platform::audit::{AuditContext, Door};
use db::platform::outbox::{self, DeadMail, Replayed};
use uuid::Uuid;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists mails that were given up, newest first.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u16,
    },
    /// Sends a mail after all; it is tried for another day.
    Replay {
        /// Id of the mail.
        id: Uuid,
        /// Who decides, for the audit trail.
        #[arg(long, default_value = "instance-admin")]
        actor: String,
    },
}

pub(crate) async fn run(command: Command, environment: &Environment) -> Result<String, Failure> {
    let db = connect(environment)?;
    match command {
        Command::List { limit } => Ok(outbox::dead(&db, 0, limit.into()).await?.0.iter().map(line).collect()),
        Command::Replay { id, actor } => {
            let by = AuditContext { door: Door::Internal, actor, request_id: None };
            let mut tx = db.begin().await?;
            match outbox::replay(&mut tx, id, &by).await? {
                Replayed::Due => {
                    tx.commit().await?;
                    Ok(format!("Mail {id}: due.\n"))
                }
                Replayed::Unknown => Err(Failure::because("there is no such mail")),
                Replayed::NotDead => Err(Failure::because("the mail was not given up")),
                Replayed::Erased => Err(Failure::because("what the mail said is erased")),
            }
        }
    }
}

fn line(mail: &DeadMail) -> String {
    let created = mail.created_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let subject = mail.instance_id.map_or_else(|| "-".to_owned(), |id| format!("instance {id}"));
    let error = mail.last_error.as_deref().unwrap_or("-");
    let erased = if mail.replayable { "" } else { "  erased" };
    format!("{}  {created}  {}  {subject}  {} attempts  {error}{erased}\n", mail.id, mail.template, mail.attempts)
}
