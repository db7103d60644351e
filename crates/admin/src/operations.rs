//! `instance-admin operations`: what is under way, and what needs attention.

use crate::failure::Failure;
use bootstrap::Environment;
use bootstrap::settings::AdminSettings;
use clap::{Args, Subcommand};
use db::platform::attention::{self, Decided, Decision};
use db::platform::audit::{AuditContext, Door};
use db::platform::operations::{self, Filter, Operation};
use db::platform::{PlatformDb, PoolLimits};
use domain::ids::OperationId;
use domain::operation::State;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Lists operations, newest first.
    List {
        /// Only those in this stored state, e.g. `needs_attention`.
        #[arg(long, value_parser = state)]
        state: Option<State>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u16,
    },
    /// Lets an operation that needs attention try again, the way it was going.
    Retry(Target),
    /// Lets an operation that needs attention take back what it started.
    Undo(Target),
    /// Closes an operation that needs attention: it was put right by hand.
    Resolve(Target),
}

/// Which operation, and who says so.
#[derive(Args)]
pub(crate) struct Target {
    /// Id of the operation.
    id: OperationId,
    /// Who decides, for the audit trail.
    #[arg(long, default_value = "instance-admin")]
    actor: String,
}

fn state(word: &str) -> Result<State, String> {
    State::parse(word).ok_or_else(|| {
        let words: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
        format!("one of {}", words.join(", "))
    })
}

pub(crate) async fn run(command: Command, environment: &Environment) -> Result<String, Failure> {
    let db = connect(environment)?;
    match command {
        Command::List { state, limit } => {
            let filter = Filter { states: state.into_iter().collect(), limit: limit.into(), ..Filter::default() };
            let page = operations::list(&db, &filter).await?;
            Ok(page.operations.iter().map(line).collect())
        }
        Command::Retry(target) => decide(&db, target, Decision::Retry).await,
        Command::Undo(target) => decide(&db, target, Decision::Undo).await,
        Command::Resolve(target) => decide(&db, target, Decision::Resolve).await,
    }
}

async fn decide(db: &PlatformDb, target: Target, decision: Decision) -> Result<String, Failure> {
    let by = AuditContext { door: Door::Internal, actor: target.actor, request_id: None };
    let mut tx = db.begin().await?;
    match attention::decide(&mut tx, target.id, decision, &by).await? {
        Decided::Done => {
            tx.commit().await?;
            Ok(format!("Operation {}: done.\n", target.id))
        }
        Decided::Unknown => Err(Failure::because("there is no such operation")),
        Decided::InState(state) => Err(Failure::because(format!("the operation is {state} and needs no decision"))),
        Decided::NeverUndone(kind) => Err(Failure::because(format!("{kind} is never undone: retry or resolve it"))),
        Decided::Busy => Err(Failure::because("another operation of the same instance is at work: let it end first")),
    }
}

/// A pool as the runtime role, for a command that asks a few questions.
pub(crate) fn connect(environment: &Environment) -> Result<PlatformDb, Failure> {
    let loaded = AdminSettings::load(environment)?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    bootstrap::tls::install();
    let limits = PoolLimits { max_connections: 1, ..PoolLimits::default() };
    Ok(PlatformDb::connect_lazy(&loaded.settings.platform.endpoint, &limits, "instance-admin"))
}

fn line(operation: &Operation) -> String {
    let subject = operation.instance_id.map_or_else(|| operation.scope.to_string(), |id| format!("instance {id}"));
    let error = operation.error.as_ref().map_or_else(String::new, |fault| format!("  {}: {}", fault.code, fault.message));
    let step = operation.current_step.as_deref().unwrap_or("-");
    format!(
        "{}  {}  {}  {}  {}  step {step}{error}\n",
        operation.id,
        operation.created_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        operation.kind,
        operation.state,
        subject,
    )
}
