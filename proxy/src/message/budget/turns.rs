//! Turns: how many large messages are worked on at once, how many wait for it, and how many more may begin.
//!
//! That a message is large is known at MAIL, when its client declares it, or when so much of it has come; who waits, when it
//! is whole. While many wait, those that have begun and are not whole yet count as if they waited too, or hundreds would
//! begin for one place and be refused with all their content. They do for a second only, so that a slow client keeps
//! nobody away for longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Waiting;

/// Messages of at most so many bytes take no turns.
pub(super) const SMALL_MESSAGE: u64 = 128 * 1024;
/// Messages that wait for their turn at once. Each holds what its filters hold, sandboxes above all, which the one whose
/// turn it is may need.
pub(super) const MOST_WAITING: usize = 64;
/// From so many on, those that are expected count as well: a few that wait are no sign of more than can be done.
pub(super) const MANY_WAITING: usize = MOST_WAITING / 4;
/// Turns are counted in units of so many bytes.
const UNIT: u64 = 1024;

/// How long a message that has begun is expected, in steps of [`STEP`].
const STEPS: usize = 4;
const STEP: Duration = Duration::from_millis(250);

/// A message's turn; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

/// A large message that has begun; dropped when it is whole, or comes no more.
#[derive(Debug)]
pub struct Begun {
    expected: Arc<Expected>,
    step: u32,
}

/// Why a message gets no turn.
pub(super) struct NoTurn;

#[derive(Debug)]
pub(super) struct Turns {
    free: Arc<Semaphore>,
    units: u32,
    waiting: AtomicUsize,
    waits: AtomicU64,
    expected: Arc<Expected>,
}

impl Turns {
    /// Turns for messages of so many bytes all together.
    pub(super) fn new(bytes: u64) -> Self {
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let units = u32::try_from(bytes / UNIT).unwrap_or(most).clamp(1, most);
        Self {
            free: Arc::new(Semaphore::new(units as usize)),
            units,
            waiting: AtomicUsize::new(0),
            waits: AtomicU64::new(0),
            expected: Arc::new(Expected::new()),
        }
    }

    /// Messages that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How often one waited.
    pub(super) fn waits(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    /// A large message begins, if there will be a place to wait for it.
    pub(super) fn begin(&self) -> Result<Begun, NoTurn> {
        let begun = Begun { expected: Arc::clone(&self.expected), step: self.expected.add() };
        let waiting = self.waiting();
        if waiting < MANY_WAITING || waiting + self.expected.count() <= MOST_WAITING { Ok(begun) } else { Err(NoTurn) }
    }

    /// See [`super::Budget::turn`].
    pub(super) async fn take(
        &self,
        size: u64,
        deadline: Instant,
        before_waiting: impl FnOnce(),
    ) -> Result<Turn, NoTurn> {
        if size <= SMALL_MESSAGE {
            return Ok(Turn { _permit: None });
        }
        let units = u32::try_from(size.div_ceil(UNIT)).unwrap_or(u32::MAX).min(self.units);
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_many_owned(units) {
            return Ok(Turn { _permit: Some(permit) });
        }
        let waiting = Waiting::new(&self.waiting);
        if waiting.place > MOST_WAITING {
            return Err(NoTurn);
        }
        before_waiting();
        self.waits.fetch_add(1, Ordering::Relaxed);
        match tokio::time::timeout_at(deadline, Arc::clone(&self.free).acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(Turn { _permit: Some(permit) }),
            _ => Err(NoTurn),
        }
    }
}

/// Messages that began within the last second and have not come.
#[derive(Debug)]
struct Expected {
    epoch: Instant,
    /// For each of the last steps, its number and how many began in it.
    steps: [AtomicU64; STEPS],
}

impl Expected {
    fn new() -> Self {
        Self { epoch: Instant::now(), steps: Default::default() }
    }

    /// The number of the current step, from 1 on.
    fn now(&self) -> u32 {
        // Which begins anew after three decades.
        (self.epoch.elapsed().as_millis() / STEP.as_millis()) as u32 + 1
    }

    /// One more; in which step.
    fn add(&self) -> u32 {
        let step = self.now();
        self.change(step, |number, count| if number == step { Some(count + 1) } else { Some(1) });
        step
    }

    /// One less of a step, if it is still known.
    fn remove(&self, step: u32) {
        self.change(step, |number, count| if number == step { count.checked_sub(1) } else { None });
    }

    fn count(&self) -> usize {
        let now = self.now();
        let counts = self.steps.iter().map(|step| parts(step.load(Ordering::Relaxed)));
        counts.filter(|&(number, _)| now.wrapping_sub(number) < STEPS as u32).map(|(_, count)| count as usize).sum()
    }

    /// Sets the count of a step to what `count` makes of the number and the count that are in its place.
    fn change(&self, step: u32, count: impl Fn(u32, u32) -> Option<u32>) {
        let place = &self.steps[step as usize % STEPS];
        // Fails when there is nothing to change.
        let _ = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
            let (number, before) = parts(old);
            count(number, before).map(|after| u64::from(step) << 32 | u64::from(after))
        });
    }
}

fn parts(step: u64) -> (u32, u32) {
    ((step >> 32) as u32, step as u32)
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.expected.remove(self.step);
    }
}
