//! The account of message bytes: one for the process, two shares, memory and disk.
//!
//! It counts and lets wait; it does not decide what is spilled.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

use super::StoreError;

/// How long a sender waits for room before it is told 452.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

/// The account of all message bytes of the process. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    memory: Share,
    disk: Share,
    spill_dir: PathBuf,
    patience: Duration,
    freed: Notify,
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Share {
    limit: u64,
    used: AtomicU64,
}

impl Share {
    fn take(&self, amount: u64) -> bool {
        self.used
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
                used.checked_add(amount).filter(|&sum| sum <= self.limit)
            })
            .is_ok()
    }
}

impl Budget {
    /// An account of `memory` bytes in memory and `disk` bytes in unlinked files under `spill_dir`, which is made when
    /// it is first needed. A sender waits at most 30 seconds for room.
    pub fn new(memory: u64, disk: u64, spill_dir: &Path) -> Self {
        Self::with_patience(memory, disk, spill_dir, DEFAULT_PATIENCE)
    }

    /// As `new`, with another time to wait for room before [`StoreError::Full`].
    pub fn with_patience(memory: u64, disk: u64, spill_dir: &Path, patience: Duration) -> Self {
        let share = |limit| Share { limit, used: AtomicU64::new(0) };
        let shared = Shared {
            memory: share(memory),
            disk: share(disk),
            spill_dir: spill_dir.to_owned(),
            patience,
            freed: Notify::new(),
            waiting: AtomicUsize::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// An account without bounds, for messages that come from files and not from the network.
    pub fn unlimited() -> Self {
        Self::new(u64::MAX, u64::MAX, &std::env::temp_dir())
    }

    /// Message bytes in memory now.
    pub fn in_memory(&self) -> u64 {
        self.shared.memory.used.load(Ordering::Relaxed)
    }

    /// Message bytes in spill files now.
    pub fn spilled(&self) -> u64 {
        self.shared.disk.used.load(Ordering::Relaxed)
    }

    pub(super) fn spill_dir(&self) -> &Path {
        &self.shared.spill_dir
    }

    pub(super) fn memory(&self, amount: u64) -> Option<Permit> {
        self.shared.memory.take(amount).then(|| Permit { shared: Arc::clone(&self.shared), kind: Kind::Memory, amount })
    }

    pub(super) fn disk(&self, amount: u64) -> Option<Permit> {
        self.shared.disk.take(amount).then(|| Permit { shared: Arc::clone(&self.shared), kind: Kind::Disk, amount })
    }

    /// Charges bytes that are already in memory, for as long as any slice of the result lives; gives them back when
    /// the memory share is used up.
    ///
    /// A slice pins the whole allocation that it was cut from; the charge is for its own bytes only. Whoever cuts
    /// (the session's read buffer) sees to it that a chunk is not a small piece of a large buffer.
    pub(super) fn hold(&self, bytes: Bytes) -> Result<Bytes, Bytes> {
        if bytes.is_empty() {
            return Ok(Bytes::new());
        }
        match self.memory(bytes.len() as u64) {
            Some(permit) => Ok(Bytes::from_owner(Held { bytes, _permit: permit })),
            None => Err(bytes),
        }
    }

    /// The moment up to which a wait that begins now may last.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.shared.patience
    }

    /// Calls `attempt` now and then again whenever room was made, until it gives something or the deadline is over.
    pub(super) async fn wait_for<T>(
        &self,
        deadline: Instant,
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Result<T, StoreError> {
        let _waiting = Waiting::new(&self.shared.waiting);
        loop {
            let freed = self.shared.freed.notified();
            tokio::pin!(freed);
            // Registered before the attempt, so that room made between the two is not missed.
            freed.as_mut().enable();
            if let Some(got) = attempt() {
                return Ok(got);
            }
            if tokio::time::timeout_at(deadline, freed).await.is_err() {
                return attempt().ok_or(StoreError::Full);
            }
        }
    }
}

/// Counts a waiter for as long as it lives, however its future ends.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Memory,
    Disk,
}

/// A charge, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Shared>,
    kind: Kind,
    amount: u64,
}

impl Permit {
    fn share(&self) -> &Share {
        match self.kind {
            Kind::Memory => &self.shared.memory,
            Kind::Disk => &self.shared.disk,
        }
    }

    pub(super) fn amount(&self) -> u64 {
        self.amount
    }

    /// Adds to the charge; `false`, and nothing changed, when the share does not allow it.
    pub(super) fn grow(&mut self, more: u64) -> bool {
        let taken = self.share().take(more);
        if taken {
            self.amount += more;
        }
        taken
    }

    /// Gives back what is over `amount`.
    pub(super) fn shrink_to(&mut self, amount: u64) {
        let over = self.amount.saturating_sub(amount);
        self.amount -= over;
        self.give_back(over);
    }

    /// Takes another charge of the same share into this one.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.amount += std::mem::take(&mut other.amount);
    }

    fn give_back(&self, amount: u64) {
        if amount == 0 {
            return;
        }
        self.share().used.fetch_sub(amount, Ordering::SeqCst);
        // The usual case is that nobody waits; then the lock inside `Notify` is left alone.
        if self.shared.waiting.load(Ordering::SeqCst) > 0 {
            self.shared.freed.notify_waiters();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.give_back(self.amount);
    }
}

/// Bytes together with their charge.
pub(super) struct Held<T> {
    pub(super) bytes: T,
    pub(super) _permit: Permit,
}

impl<T: AsRef<[u8]>> AsRef<[u8]> for Held<T> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(memory: u64, disk: u64) -> Budget {
        Budget::with_patience(memory, disk, &std::env::temp_dir(), Duration::from_secs(30))
    }

    #[test]
    fn the_charge_lives_as_long_as_any_slice() {
        let budget = budget(10, 0);
        let held = budget.hold(Bytes::from_static(b"12345678")).unwrap();
        let slice = held.slice(2..3);
        drop(held);
        assert_eq!(budget.in_memory(), 8);
        assert!(budget.hold(Bytes::from_static(b"123")).is_err());
        drop(slice);
        assert_eq!(budget.in_memory(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiter_gets_what_comes_free_or_is_told_that_nothing_did() {
        let budget = budget(4, 0);
        let held = budget.memory(4).unwrap();
        let waiter = tokio::spawn({
            let budget = budget.clone();
            async move { budget.wait_for(budget.deadline(), || budget.memory(2)).await }
        });
        tokio::task::yield_now().await;
        drop(held);
        let got = waiter.await.unwrap().unwrap();
        assert_eq!(got.amount(), 2);
        let full = budget.wait_for(budget.deadline(), || budget.memory(3)).await;
        assert!(matches!(full, Err(StoreError::Full)));
    }
}
