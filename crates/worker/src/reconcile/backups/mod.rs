//! What backups ask for by themselves: that they are taken, that somebody looks whether they can be restored, and that they go when they have had
//! their time. Each loop only asks; operations do it. Only archives that were handed over, and what belongs to no backup, are removed here.

mod keep;
mod orphans;
mod proofs;
mod schedule;
mod transfers;

pub use keep::Keep;
pub use orphans::Orphans;
pub use proofs::Proofs;
pub use schedule::Schedules;
pub use transfers::Transfers;

use db::platform::audit::{AuditContext, Door};

fn by(round: &str) -> AuditContext {
    AuditContext { door: Door::Worker, actor: round.to_owned(), request_id: None }
}
