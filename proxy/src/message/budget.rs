//! The account of message bytes: one for the process, two shares, memory and disk.
//!
//! It counts and lets wait; it does not decide what is spilled.
//!
//! Where there is a disk to spill to, a quarter of the memory is set aside for work on large messages: a pass over one
//! that is in a file brings its pages into memory, where no charge sees them. Such messages take [turns](Budget::turn),
//! and their pages are [given back](Budget::release_pages) between the passes. Of the rest, an eighth is kept free of
//! message bytes, for buffers that a session cannot do without.

mod turns;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{sync::Notify, time::Instant};

use super::{Message, StoreError, spill::Pages};
use turns::{NoTurn, SMALL_MESSAGE, Turns};

pub use turns::{Begun, Turn};

/// How long a sender waits for room before it is told 452.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);
/// Bytes that message bytes always leave to sandboxes and buffers. With a `memory_budget` below 160 MiB that is a little
/// more than it says.
const SANDBOXES_AT_LEAST: u64 = 16 << 20;
/// What passing on a spilled message holds at most of it: what is fetched ahead of the socket, and a piece.
const READ_BACK: u64 = 256 * 1024;
/// Bytes made of a message that may be in memory whatever message bytes take: in one buffer, and in all of a message.
const SMALL_CONTENT: u64 = 64 * 1024;
const SMALL_CONTENTS: u64 = 1 << 20;
/// Messages that wait for room while they arrive. Each holds what came before, which the others wait for, and a piece that
/// was read and that no charge sees.
const ARRIVALS_WAITING: u32 = 128;

/// The account of all message bytes of the process. Clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    shared: Arc<Shared>,
    /// Of the message that this handle belongs to.
    message: Arc<OfMessage>,
}

/// What is known of one message.
#[derive(Debug, Default)]
struct OfMessage {
    mapped: Mutex<Vec<Weak<Pages>>>,
    /// Bytes that small buffers for what was made of it have taken of the room that is kept for sandboxes.
    small_contents: AtomicU64,
}

/// The account at one moment, and what happened since the start. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The memory share.
    pub memory_limit: u64,
    /// Taken of it.
    pub memory: u64,
    /// The most that was taken of it.
    pub memory_peak: u64,
    /// The disk share.
    pub disk_limit: u64,
    /// Taken of it.
    pub disk: u64,
    /// The most that was taken of it.
    pub disk_peak: u64,
    /// Those that wait for room.
    pub waiting: u64,
    /// How often somebody waited for room.
    pub waits: u64,
    /// How often there was none in time.
    pub refusals: u64,
    /// Messages that wait for their turn.
    pub turns_waiting: u64,
    /// How often one waited.
    pub turn_waits: u64,
    /// Pages of spill files that could not be read.
    pub read_faults: u64,
    /// Files that are mapped.
    pub mappings: u64,
    /// How many may be.
    pub mappings_limit: u64,
    /// Messages over the caps on header section and MIME structure.
    pub structure_faults: u64,
    /// Taken of the memory share by what is not message bytes.
    pub reserved: u64,
}

#[derive(Debug)]
struct Shared {
    memory: Share,
    disk: Share,
    spill_dir: PathBuf,
    patience: Duration,
    freed: Notify,
    waiting: AtomicUsize,
    arrivals_waiting: AtomicUsize,
    waits: AtomicU64,
    refusals: AtomicU64,
    turns: Turns,
    structure_faults: AtomicU64,
    reserved: AtomicU64,
}

#[derive(Debug)]
struct Share {
    limit: u64,
    /// Up to where message bytes may fill it.
    ceiling: u64,
    used: AtomicU64,
    peak: AtomicU64,
}

impl Share {
    fn new(limit: u64, ceiling: u64) -> Self {
        Self { limit, ceiling, used: AtomicU64::new(0), peak: AtomicU64::new(0) }
    }

    fn take(&self, amount: u64) -> bool {
        self.take_below(amount, self.limit)
    }

    fn take_below(&self, amount: u64, limit: u64) -> bool {
        let taken = self.used.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |used| {
            used.checked_add(amount).filter(|&sum| sum <= limit)
        });
        match taken {
            Ok(before) => {
                self.peak.fetch_max(before + amount, Ordering::Relaxed);
                true
            }
            Err(_) => false,
        }
    }
}

impl Budget {
    /// An account of `memory` bytes in memory and `disk` bytes in unlinked files under `spill_dir`, which is made when
    /// it is first needed. A sender waits at most 30 seconds for room.
    pub fn new(memory: u64, disk: u64, spill_dir: &Path) -> Self {
        Self::with_patience(memory, disk, spill_dir, DEFAULT_PATIENCE)
    }

    /// As `new`, for a server: `memory` is all that messages may take, what work on them takes included.
    pub fn for_server(memory: u64, disk: u64, spill_dir: &Path) -> Self {
        if disk == 0 {
            // Nothing is ever mapped, and a message may be as large as all of it.
            let share = Share::new(memory + SANDBOXES_AT_LEAST, memory);
            return Self::with_shares(share, disk, memory, spill_dir, DEFAULT_PATIENCE);
        }
        let for_turns = memory / 4;
        let share = memory - for_turns;
        let ceiling = share - share / 8;
        let share = Share::new(share.max(ceiling + SANDBOXES_AT_LEAST), ceiling);
        Self::with_shares(share, disk, for_turns, spill_dir, DEFAULT_PATIENCE)
    }

    /// As `new`, with another time to wait for room before [`StoreError::Full`].
    pub fn with_patience(memory: u64, disk: u64, spill_dir: &Path, patience: Duration) -> Self {
        Self::with_shares(Share::new(memory, memory), disk, memory, spill_dir, patience)
    }

    fn with_shares(memory: Share, disk: u64, for_turns: u64, spill_dir: &Path, patience: Duration) -> Self {
        let shared = Shared {
            memory,
            disk: Share::new(disk, disk),
            spill_dir: spill_dir.to_owned(),
            patience,
            freed: Notify::new(),
            waiting: AtomicUsize::new(0),
            arrivals_waiting: AtomicUsize::new(0),
            waits: AtomicU64::new(0),
            refusals: AtomicU64::new(0),
            turns: Turns::new(for_turns),
            structure_faults: AtomicU64::new(0),
            reserved: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), message: Arc::default() }
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

    /// All that is known of it.
    pub fn usage(&self) -> Usage {
        let Shared { memory, disk, .. } = &*self.shared;
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        Usage {
            memory_limit: memory.limit,
            memory: read(&memory.used),
            memory_peak: read(&memory.peak),
            disk_limit: disk.limit,
            disk: read(&disk.used),
            disk_peak: read(&disk.peak),
            waiting: self.shared.waiting.load(Ordering::Relaxed) as u64,
            waits: read(&self.shared.waits),
            refusals: read(&self.shared.refusals),
            turns_waiting: self.shared.turns.waiting() as u64,
            turn_waits: self.shared.turns.waits(),
            read_faults: super::fault::count(),
            mappings: super::fault::watched() as u64,
            mappings_limit: super::fault::MOST as u64,
            structure_faults: read(&self.shared.structure_faults),
            reserved: read(&self.shared.reserved),
        }
    }

    /// Counts a message that is over a cap on its structure.
    pub(super) fn count_structure_fault(&self) {
        self.shared.structure_faults.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a message may begin. Where as many wait for room as may, one more would only be refused when some of it has
    /// come.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] while 128 messages wait for room.
    pub fn admit(&self) -> Result<(), StoreError> {
        let waiting = as_place(self.shared.arrivals_waiting.load(Ordering::Relaxed));
        if waiting < ARRIVALS_WAITING { Ok(()) } else { Err(self.refusal()) }
    }

    /// Counts a message that will take a [turn](Budget::turn) until it is whole; nothing if it is too small for that.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] while 64 messages wait for their turns. When 16 do, those that began within the last second and
    /// are not whole yet count as well.
    pub fn begin(&self, size: u64) -> Result<Option<Begun>, StoreError> {
        if size <= SMALL_MESSAGE {
            return Ok(None);
        }
        self.shared.turns.begin().map(Some).map_err(|NoTurn| self.refusal())
    }

    /// Takes `amount` bytes of the memory share for something that is no message, such as a sandbox; waits for them as
    /// long as `patience`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] when they do not come free.
    pub async fn reserve(&self, amount: u64, patience: Duration) -> Result<Reservation, StoreError> {
        match self.try_reserve(amount) {
            Some(reservation) => Ok(reservation),
            None => self.wait_for(Instant::now() + patience, || self.try_reserve(amount)).await,
        }
    }

    /// The same, if they are free now.
    pub fn try_reserve(&self, amount: u64) -> Option<Reservation> {
        let permit = self.memory(amount)?;
        self.shared.reserved.fetch_add(amount, Ordering::Relaxed);
        Some(Reservation { permit })
    }

    /// The same for something that can be done without: only of what message bytes may take.
    pub fn try_reserve_spare(&self, amount: u64) -> Option<Reservation> {
        let permit = self.memory_for_content(amount)?;
        self.shared.reserved.fetch_add(amount, Ordering::Relaxed);
        Some(Reservation { permit })
    }

    /// Whether messages wait for room while they arrive.
    pub fn is_short(&self) -> bool {
        self.shared.arrivals_waiting.load(Ordering::Relaxed) > 0
    }

    /// Room for the buffers that a message is read back into from its file, while it is passed on; none is needed for
    /// one that is in memory. `before_waiting` is called when there is none at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] when none comes free up to the deadline.
    pub async fn room_to_read(
        &self,
        message: &Message,
        deadline: Instant,
        before_waiting: impl FnOnce(),
    ) -> Result<Option<Reservation>, StoreError> {
        if !message.is_spilled() {
            return Ok(None);
        }
        if let Some(room) = self.try_reserve(READ_BACK) {
            return Ok(Some(room));
        }
        before_waiting();
        self.wait_for(deadline, || self.try_reserve(READ_BACK)).await.map(Some)
    }

    /// A handle for one message: the same account, and a list of its own of what is mapped.
    pub(super) fn for_message(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), message: Arc::default() }
    }

    /// Waits until `size` bytes of a whole message may be worked on. Small messages need not wait; one that is larger
    /// than all turns together is worked on alone. `before_waiting` is called when it is not its turn at once.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] when it does not come up to the deadline, and at once when 64 messages wait already.
    pub async fn turn(&self, size: u64, deadline: Instant, before_waiting: impl FnOnce()) -> Result<Turn, StoreError> {
        self.shared.turns.take(size, deadline, before_waiting).await.map_err(|NoTurn| self.refusal())
    }

    /// Remembers what is mapped for this message.
    pub(super) fn mapped(&self, pages: &Arc<Pages>) {
        let mut mapped = self.message.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        mapped.retain(|pages| pages.strong_count() > 0);
        mapped.push(Arc::downgrade(pages));
    }

    /// Gives the memory back that holds mapped bytes of this message; they are read from their file again when they
    /// are needed.
    pub(super) fn release_pages(&self) {
        let mapped = self.message.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        for pages in mapped.iter().filter_map(Weak::upgrade) {
            pages.release();
        }
    }

    pub(super) fn spill_dir(&self) -> &Path {
        &self.shared.spill_dir
    }

    pub(super) fn memory(&self, amount: u64) -> Option<Permit> {
        self.shared.memory.take(amount).then(|| Permit { shared: Arc::clone(&self.shared), kind: Kind::Memory, amount })
    }

    /// A charge for bytes that are made of a message, in a buffer that may grow: a small one may have of the room that
    /// is kept for sandboxes, 1 MiB for each message; a larger one goes to a file when message bytes have taken their
    /// part. Otherwise a message's texts would take the place of the sandbox that is to read them.
    pub(super) fn memory_for_content(&self, amount: u64) -> Option<Permit> {
        let mut permit = Permit { shared: Arc::clone(&self.shared), kind: Kind::Memory, amount: 0 };
        self.grow_for_content(&mut permit, amount).then_some(permit)
    }

    /// Adds to such a charge; `false`, and nothing changed, when the share does not allow it.
    pub(super) fn grow_for_content(&self, permit: &mut Permit, more: u64) -> bool {
        let share = permit.share();
        let taken = share.take_below(more, share.ceiling) || self.take_of_reserve(permit, more);
        permit.amount += if taken { more } else { 0 };
        taken
    }

    fn take_of_reserve(&self, permit: &Permit, more: u64) -> bool {
        let of_message = &self.message.small_contents;
        let is_small = permit.amount.saturating_add(more) <= SMALL_CONTENT
            && of_message.load(Ordering::Relaxed).saturating_add(more) <= SMALL_CONTENTS;
        let taken = is_small && permit.share().take(more);
        of_message.fetch_add(if taken { more } else { 0 }, Ordering::Relaxed);
        taken
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
        let amount = bytes.len() as u64;
        let memory = &self.shared.memory;
        if !memory.take_below(amount, memory.ceiling) {
            return Err(bytes);
        }
        let permit = Permit { shared: Arc::clone(&self.shared), kind: Kind::Memory, amount };
        Ok(Bytes::from_owner(Held { bytes, _permit: permit }))
    }

    /// Room for bytes that have arrived, as `attempt` takes it. The more wait already, the sooner one gives up and leaves
    /// the others what it holds: when all that is taken is held by messages that wait, none of them would go on otherwise.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] when the budget's patience is over, or a part of it, and at once when 128 messages wait.
    pub(super) async fn room_to_arrive<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> Result<T, StoreError> {
        if let Some(got) = attempt() {
            return Ok(got);
        }
        let waiting = Waiting::new(&self.shared.arrivals_waiting);
        let Some(places_left) = ARRIVALS_WAITING.checked_sub(as_place(waiting.place)) else {
            return Err(self.refusal());
        };
        let patience = self.shared.patience * (places_left + 1) / ARRIVALS_WAITING;
        self.wait_for(Instant::now() + patience, attempt).await
    }

    /// Counts it.
    fn refusal(&self) -> StoreError {
        self.shared.refusals.fetch_add(1, Ordering::Relaxed);
        StoreError::Full
    }

    /// Calls `attempt` now and then again whenever room was made, until it gives something or the deadline is over.
    async fn wait_for<T>(&self, deadline: Instant, mut attempt: impl FnMut() -> Option<T>) -> Result<T, StoreError> {
        self.shared.waits.fetch_add(1, Ordering::Relaxed);
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
                return attempt().ok_or_else(|| self.refusal());
            }
        }
    }
}

fn as_place(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Counts a waiter for as long as it lives, however its future ends.
struct Waiting<'a> {
    count: &'a AtomicUsize,
    /// It was so many-th to wait.
    place: usize,
}

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        Self { count, place: count.fetch_add(1, Ordering::SeqCst) + 1 }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
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

/// Memory that is taken of the share for something that is no message; given back when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    permit: Permit,
}

impl Reservation {
    /// Bytes of it.
    pub fn amount(&self) -> u64 {
        self.permit.amount()
    }

    /// Makes it larger; `false`, and nothing changed, when the share does not allow it now.
    pub fn grow(&mut self, more: u64) -> bool {
        let taken = self.permit.grow(more);
        if taken {
            self.permit.shared.reserved.fetch_add(more, Ordering::Relaxed);
        }
        taken
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.permit.shared.reserved.fetch_sub(self.permit.amount(), Ordering::Relaxed);
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
mod tests;
