//! Exchanging the live database for one beside it: two renames in one transaction. The live name never changes, so that
//! configuration and filestore stay valid, and a client that connects meanwhile waits for the commit.
//!
//! What has happened is told by OIDs, which a rename carries along and which no tenant can change: so a switch may be repeated,
//! and going back is a switch with other names.

use super::connection::AdminConnection;
use super::databases::{DatabaseState, Recorded};
use super::error::{OdooError, OdooResult};
use super::fence::Fence;
use super::quote::ident;
use domain::names::{Mark, PhysicalName};
use std::time::{Duration, Instant};

/// One exchange, with everything that is recorded of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The name that serves.
    pub live: PhysicalName,
    /// OID of the database that has it before.
    pub live_oid: u32,
    /// The name of the one that shall have it.
    pub incoming: PhysicalName,
    /// Its OID.
    pub incoming_oid: u32,
    /// The name that the former one gets.
    pub outgoing: PhysicalName,
    /// The tenant, who owns both.
    pub owner: PhysicalName,
}

/// Whether it has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwitchState {
    /// Everything is as before it.
    NotYet,
    /// Everything is as after it.
    Done,
}

impl Switch {
    /// The way back: the former one gets its name again, and the other goes where it came from.
    #[must_use]
    pub fn back(&self) -> Self {
        Self {
            live: self.live.clone(),
            live_oid: self.incoming_oid,
            incoming: self.outgoing.clone(),
            incoming_oid: self.live_oid,
            outgoing: self.incoming.clone(),
            owner: self.owner.clone(),
        }
    }

    /// The two databases as they are named now.
    fn now(&self, state: SwitchState) -> [(&PhysicalName, u32); 2] {
        match state {
            SwitchState::NotYet => [(&self.live, self.live_oid), (&self.incoming, self.incoming_oid)],
            SwitchState::Done => [(&self.live, self.incoming_oid), (&self.outgoing, self.live_oid)],
        }
    }
}

impl AdminConnection {
    /// Whether this switch has happened.
    ///
    /// # Errors
    /// [`OdooError::Mismatch`] when the three names are neither as before nor as after it.
    pub async fn switch_state(&mut self, switch: &Switch, mark: &Mark) -> OdooResult<SwitchState> {
        let mut found = Vec::new();
        for name in [&switch.live, &switch.incoming, &switch.outgoing] {
            found.push(self.database(name, mark).await?.map(|facts| facts.oid));
        }
        let (live, incoming) = (Some(switch.live_oid), Some(switch.incoming_oid));
        if found == [live, incoming, None] {
            Ok(SwitchState::NotYet)
        } else if found == [incoming, None, live] {
            Ok(SwitchState::Done)
        } else {
            Err(OdooError::Mismatch {
                what: format!("databases {}, {} and {}", switch.live, switch.incoming, switch.outgoing),
                expected: format!("OIDs {live:?}, {incoming:?} and none"),
                found: format!("{found:?}"),
            })
        }
    }
}

impl Fence {
    /// Exchanges the two, unless that was done. Both are closed for it, the role too, and stay so: [`Self::open_database`] opens
    /// the one that serves. Returns how long the two renames took; nothing if they had been done.
    ///
    /// # Errors
    /// [`OdooError::Mismatch`] when OID, owner or mark of one differ, when one was half dropped (a rename would work, and nothing
    /// after it), and when the names are neither as before nor as after; [`OdooError::Blocked`] with what holds one of them;
    /// [`OdooError::Busy`] when a session that is not ours to end is in one. Nothing is renamed then.
    pub async fn switch(&mut self, switch: &Switch) -> OdooResult<Option<Duration>> {
        let mark = self.mark().clone();
        let state = self.catalogue().switch_state(switch, &mark).await?;
        for (name, oid) in switch.now(state) {
            self.verify_whole(name, Recorded { oid: Some(oid), owner: &switch.owner }).await?;
        }
        if state == SwitchState::Done {
            return Ok(None);
        }
        for (name, oid) in switch.now(state) {
            self.refuse_blocked(name).await?;
            self.close_database(name, Recorded { oid: Some(oid), owner: &switch.owner }).await?;
        }
        let start = Instant::now();
        self.rename_both(switch).await?;
        Ok(Some(start.elapsed()))
    }

    async fn rename_both(&mut self, switch: &Switch) -> OdooResult<()> {
        let (live, incoming, outgoing) = (ident(&switch.live), ident(&switch.incoming), ident(&switch.outgoing));
        let renames = format!("ALTER DATABASE {live} RENAME TO {outgoing}; ALTER DATABASE {incoming} RENAME TO {live}");
        match self.catalogue().run(renames).await {
            // 55006: somebody is in one of them who is beyond us.
            Err(error) if error.sqlstate().as_deref() == Some("55006") => Err(OdooError::Busy { holder: error.to_string() }),
            other => other,
        }
    }

    async fn verify_whole(&mut self, name: &PhysicalName, recorded: Recorded<'_>) -> OdooResult<()> {
        self.verify_database(name, recorded).await?;
        match self.state(name, recorded).await? {
            DatabaseState::Ours(_) => Ok(()),
            DatabaseState::Foreign(facts) => Err(self.not_ours(name, &facts)),
            DatabaseState::Absent | DatabaseState::Half(_) => Err(OdooError::Mismatch {
                what: format!("database {name}"),
                expected: "a whole one".to_owned(),
                found: "what an interrupted drop left".to_owned(),
            }),
        }
    }

    async fn refuse_blocked(&mut self, name: &PhysicalName) -> OdooResult<()> {
        let holders = self.catalogue().drop_blockers(name).await?;
        if holders.is_empty() { Ok(()) } else { Err(OdooError::Blocked { what: format!("database {name}"), holders }) }
    }
}
