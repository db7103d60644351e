//! Puts that are under way, also those whose caller has gone: whoever looks what there is waits for them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Those of a store.
///
/// No lock: a put never waits for somebody who looks. A caller may have several puts begun and await something else, a look among others; one
/// of them that stood in a queue, and nobody polls, would be in the way of all who come later.
#[derive(Clone, Debug, Default)]
pub(super) struct UnderWay(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    puts: Mutex<Puts>,
    one_ended: Notify,
}

#[derive(Debug, Default)]
struct Puts {
    next: u64,
    running: BTreeSet<u64>,
}

/// A put, until it is dropped.
#[derive(Debug)]
pub(super) struct Put {
    of: UnderWay,
    number: u64,
}

impl UnderWay {
    /// A put begins.
    pub(super) fn begin(&self) -> Put {
        let mut puts = self.puts();
        let number = puts.next;
        puts.next += 1;
        puts.running.insert(number);
        Put { of: self.clone(), number }
    }

    /// Returns when every put that has begun until now has ended.
    pub(super) async fn ended(&self) {
        let next = self.puts().next;
        loop {
            // Before the look, so that no end is missed.
            let mut one_ended = std::pin::pin!(self.0.one_ended.notified());
            one_ended.as_mut().enable();
            if self.puts().running.first().is_none_or(|first| *first >= next) {
                return;
            }
            one_ended.await;
        }
    }

    fn puts(&self) -> MutexGuard<'_, Puts> {
        self.0.puts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Put {
    fn drop(&mut self) {
        self.of.puts().running.remove(&self.number);
        self.of.0.one_ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn a_look_waits_for_what_has_begun_before_it_and_for_nothing_later() {
        let under_way = UnderWay::default();
        assert!(under_way.ended().now_or_never().is_some());
        let (one, two) = (under_way.begin(), under_way.begin());
        let mut look = Box::pin(under_way.ended());
        assert!(look.as_mut().now_or_never().is_none());
        let later = under_way.begin();
        drop(two);
        assert!(look.as_mut().now_or_never().is_none());
        drop(one);
        assert!(look.as_mut().now_or_never().is_some());
        assert!(under_way.ended().now_or_never().is_none());
        drop(later);
        assert!(under_way.ended().now_or_never().is_some());
    }
}
