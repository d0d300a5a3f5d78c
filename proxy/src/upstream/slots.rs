//! How many connections a route may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// The connections that a route may have in use. Idle ones need no slot: they give way, see [`Slots::excess`].
pub(super) struct Slots {
    /// `None`: no limit.
    limited: Option<(Arc<Semaphore>, usize)>,
    /// How many of them may be used for messages that still arrive. `None`: all.
    relays: Option<Arc<Semaphore>>,
    waiting: AtomicUsize,
}

/// The right to use one connection. Its end lets the next one have it, in the order in which they came.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: Option<OwnedSemaphorePermit>,
}

/// The right to use a connection for a message that still arrives, beside the slot.
#[derive(Debug)]
pub(super) struct RelayPlace {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Slots {
    /// So many, or for 0 as many as anyone likes.
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let limited = (limit > 0).then(|| (Arc::new(Semaphore::new(limit)), limit));
        let relays = (limit > 0).then(|| Arc::new(Semaphore::new(limit / 2)));
        Self { limited, relays, waiting: AtomicUsize::new(0) }
    }

    /// Half of all connections may be used at the speed at which clients send, unless somebody waits for one: however
    /// slow clients are, the other half are for messages that have arrived.
    pub(super) fn try_relay(&self) -> Option<RelayPlace> {
        if self.are_wanted() {
            return None;
        }
        let Some(semaphore) = &self.relays else { return Some(RelayPlace { _permit: None }) };
        Arc::clone(semaphore).try_acquire_owned().ok().map(|permit| RelayPlace { _permit: Some(permit) })
    }

    /// A slot at once, or `None`.
    pub(super) fn try_take(&self) -> Option<Slot> {
        let Some((semaphore, _)) = &self.limited else { return Some(Slot { _permit: None }) };
        Arc::clone(semaphore).try_acquire_owned().ok().map(|permit| Slot { _permit: Some(permit) })
    }

    /// A slot, if one comes free within `patience`.
    pub(super) async fn take(&self, patience: Duration) -> Option<Slot> {
        if let Some(slot) = self.try_take() {
            return Some(slot);
        }
        let (semaphore, _) = self.limited.as_ref()?;
        let _waiting = Waiting::new(&self.waiting);
        let permit = timeout(patience, Arc::clone(semaphore).acquire_owned()).await.ok()?.ok()?;
        Some(Slot { _permit: Some(permit) })
    }

    /// Whether somebody waits for one.
    pub(super) fn are_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// How many of so many idle connections have to be closed before whoever has taken a slot may open one.
    ///
    /// A connection that goes idle is counted as such before its slot is free, so for a moment it counts twice, and
    /// never not at all.
    pub(super) fn excess(&self, idle: usize) -> usize {
        let Some((semaphore, limit)) = &self.limited else { return 0 };
        (limit - semaphore.available_permits() + idle).saturating_sub(*limit)
    }
}

/// Counts who waits, however the wait ends.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slot_is_waited_for() {
        let slots = Slots::new(2);
        let (one, two) = (slots.try_take().unwrap(), slots.try_take().unwrap());
        assert!(slots.take(Duration::from_secs(1)).await.is_none());
        let waiting = slots.take(Duration::from_secs(1));
        let freeing = async {
            tokio::time::sleep(Duration::from_millis(900)).await;
            assert!(slots.are_wanted());
            drop(one);
        };
        let (three, ()) = tokio::join!(waiting, freeing);
        assert!(three.is_some() && !slots.are_wanted());
        drop((two, three));
        assert_eq!(slots.excess(2), 0);
        let _one = slots.try_take();
        assert_eq!((slots.excess(0), slots.excess(1), slots.excess(2), slots.excess(3)), (0, 0, 1, 2));
    }

    #[tokio::test]
    async fn half_of_them_are_for_messages_that_have_arrived() {
        let slots = Slots::new(5);
        let (one, two) = (slots.try_relay().unwrap(), slots.try_relay());
        assert!(two.is_some() && slots.try_relay().is_none());
        drop(one);
        let taken: Vec<_> = (0..5).map(|_| slots.try_take().unwrap()).collect();
        let patience = Duration::from_secs(60);
        tokio::select! {
            biased;
            _ = slots.take(patience) => unreachable!("all are taken"),
            () = async { assert!(slots.try_relay().is_none(), "somebody waits") } => {}
        }
        drop(taken);
        assert!(slots.try_relay().is_some());
        assert!(Slots::new(1).try_relay().is_none());
    }

    #[test]
    fn zero_is_no_limit() {
        let slots = Slots::new(0);
        let taken: Vec<_> = (0..10_000).map(|_| slots.try_take().unwrap()).collect();
        assert_eq!((taken.len(), slots.excess(10_000)), (10_000, 0));
        let relays: Vec<_> = (0..10_000).map(|_| slots.try_relay().unwrap()).collect();
        assert_eq!(relays.len(), 10_000);
    }
}
