//! Brings the events of operations to the streams that wait for them: one poller in the process, one short query a round
//! for all streams together, and no connection held while nothing happens.

use db::platform::PlatformDb;
use db::platform::events::Event;
use db::platform::progress::{self, Cursor};
use domain::ids::OperationId;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

const ROUND: Duration = Duration::from_millis(150);
const ROUND_AFTER_ERROR: Duration = Duration::from_secs(1);
/// Events of one operation per round; the rest comes in the next one.
const BATCH: i64 = 100;
/// Events that a slow reader may be behind before its place is kept for a later round.
const BUFFER: usize = 100;

/// The way to the poller.
#[derive(Clone, Debug)]
pub struct Feed {
    subscribe: mpsc::Sender<Watch>,
}

#[derive(Debug)]
struct Watch {
    cursor: Cursor,
    sink: mpsc::Sender<Event>,
}

impl Feed {
    /// Starts the poller; it ends with `shutdown` and closes every stream.
    pub fn start(db: PlatformDb, shutdown: CancellationToken) -> Self {
        let (subscribe, requests) = mpsc::channel(BUFFER);
        tokio::spawn(async move {
            // The poller has no end of its own.
            shutdown.run_until_cancelled(poll(db, requests)).await;
        });
        Self { subscribe }
    }

    /// Events of an operation after `seq`, as they are written. The channel closes when the process ends.
    pub async fn events(&self, id: OperationId, seq: i64) -> mpsc::Receiver<Event> {
        let (sink, events) = mpsc::channel(BUFFER);
        let watch = Watch { cursor: Cursor { id, after: seq }, sink };
        if self.subscribe.send(watch).await.is_err() {
            tracing::debug!(operation_id = %id, "the event feed has ended");
        }
        events
    }
}

async fn poll(db: PlatformDb, mut requests: mpsc::Receiver<Watch>) {
    let mut watches: Vec<Watch> = Vec::new();
    loop {
        if !gather(&mut watches, &mut requests).await {
            return;
        }
        let round = match deliver(&db, &mut watches).await {
            Ok(()) => ROUND,
            Err(error) => {
                tracing::warn!(%error, "events cannot be read; the streams wait");
                ROUND_AFTER_ERROR
            }
        };
        watches.retain(|watch| !watch.sink.is_closed());
        tokio::time::sleep(round).await;
    }
}

/// Waits for the first watch, takes every further one. False when nobody can ask any more.
async fn gather(watches: &mut Vec<Watch>, requests: &mut mpsc::Receiver<Watch>) -> bool {
    if watches.is_empty() {
        match requests.recv().await {
            Some(watch) => watches.push(watch),
            None => return false,
        }
    }
    while let Ok(watch) = requests.try_recv() {
        watches.push(watch);
    }
    true
}

async fn deliver(db: &PlatformDb, watches: &mut [Watch]) -> db::DbResult<()> {
    let cursors: Vec<Cursor> = watches.iter().map(|watch| watch.cursor).collect();
    // Events come ordered by watch: once one does not fit, the later ones of the same watch must not overtake it.
    let mut full = None;
    for (index, event) in progress::events_after_each(db, &cursors, BATCH).await? {
        let Some(watch) = watches.get_mut(index).filter(|_| full != Some(index)) else { continue };
        let seq = event.seq;
        match watch.sink.try_send(event) {
            Ok(()) => watch.cursor.after = seq,
            Err(TrySendError::Full(_)) => full = Some(index),
            Err(TrySendError::Closed(_)) => {}
        }
    }
    Ok(())
}
