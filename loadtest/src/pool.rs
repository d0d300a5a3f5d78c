//! Which session sends which message: one thread's share of a load.
//!
//! In an open loop messages come when they are due. One that comes while a session is free goes to the session that became free
//! last, so that no more connections are used than the load needs; otherwise a new session begins, and when there may be no
//! more, messages wait in order.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// A message to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) number: u64,
    /// In an open loop: when.
    pub(crate) intended: Option<Instant>,
}

/// Sessions and the messages that they are to send.
#[derive(Debug)]
pub(crate) struct Pool {
    state: Mutex<State>,
}

/// The number of a session in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(usize);

#[derive(Debug)]
struct State {
    slots: Vec<SlotState>,
    /// Free sessions, the one that became free last at the end.
    free: Vec<usize>,
    waiting: VecDeque<Job>,
    /// The most sessions there may be.
    limit: usize,
    closed: bool,
}

#[derive(Debug)]
enum SlotState {
    Busy,
    Free(Waker),
    Given(Job),
}

impl Slot {
    /// In a closed loop sessions are not given their messages: they take them.
    pub(crate) fn closed_loop(number: u64) -> Self {
        Self(number as usize)
    }
}

impl Pool {
    pub(crate) fn new(limit: usize) -> Self {
        let state = State { slots: Vec::new(), free: Vec::new(), waiting: VecDeque::new(), limit, closed: false };
        Self { state: Mutex::new(state) }
    }

    /// Gives a message to a free session, or to a new one, which is to be started, or has it wait.
    pub(crate) fn push(&self, job: Job) -> Option<Slot> {
        let mut state = self.state();
        if let Some(slot) = state.free.pop() {
            if let SlotState::Free(waker) = std::mem::replace(&mut state.slots[slot], SlotState::Given(job)) {
                drop(state);
                waker.wake();
            }
            return None;
        }
        if state.slots.len() < state.limit {
            state.slots.push(SlotState::Given(job));
            return Some(Slot(state.slots.len() - 1));
        }
        state.waiting.push_back(job);
        None
    }

    /// The next message for a session; none when there will be none.
    pub(crate) async fn take(&self, slot: Slot) -> Option<Job> {
        poll_fn(|context| self.poll_take(slot, context)).await
    }

    fn poll_take(&self, Slot(slot): Slot, context: &mut Context<'_>) -> Poll<Option<Job>> {
        let mut state = self.state();
        match &mut state.slots[slot] {
            SlotState::Given(job) => {
                let job = *job;
                state.slots[slot] = SlotState::Busy;
                return Poll::Ready(Some(job));
            }
            SlotState::Free(waker) => waker.clone_from(context.waker()),
            SlotState::Busy => {
                if let Some(job) = state.waiting.pop_front() {
                    return Poll::Ready(Some(job));
                }
                if !state.closed {
                    state.slots[slot] = SlotState::Free(context.waker().clone());
                    state.free.push(slot);
                }
            }
        }
        if state.closed { Poll::Ready(None) } else { Poll::Pending }
    }

    /// No more messages come; those that wait are still sent.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.free.clear();
        for slot in &state.slots {
            if let SlotState::Free(waker) = slot {
                waker.wake_by_ref();
            }
        }
    }

    /// Gives up the messages that wait, and says how many they were.
    pub(crate) fn abandon(&self) -> u64 {
        let mut state = self.state();
        state.waiting.drain(..).count() as u64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u64) -> Job {
        Job { number, intended: None }
    }

    fn poll(pool: &Pool, slot: Slot) -> Poll<Option<u64>> {
        let mut context = Context::from_waker(Waker::noop());
        pool.poll_take(slot, &mut context).map(|job| job.map(|job| job.number))
    }

    #[test]
    fn free_sessions_go_first_then_new_ones_then_messages_wait() {
        let pool = Pool::new(2);
        let (one, two) = (pool.push(job(0)).unwrap(), pool.push(job(1)).unwrap());
        assert_eq!([pool.push(job(2)), pool.push(job(3))], [None, None], "as many as there may be");
        assert_eq!([poll(&pool, one), poll(&pool, two)], [Poll::Ready(Some(0)), Poll::Ready(Some(1))]);
        assert_eq!([poll(&pool, two), poll(&pool, two)], [Poll::Ready(Some(2)), Poll::Ready(Some(3))], "in order");
        assert!(poll(&pool, one).is_pending() && poll(&pool, two).is_pending() && poll(&pool, one).is_pending());
        assert_eq!(pool.push(job(4)), None);
        assert!(poll(&pool, one).is_pending());
        assert_eq!(poll(&pool, two), Poll::Ready(Some(4)), "who became free last");
    }

    #[test]
    fn what_waits_is_sent_after_the_end_or_abandoned() {
        let pool = Pool::new(1);
        let slot = pool.push(job(0)).unwrap();
        (1..5).for_each(|number| assert_eq!(pool.push(job(number)), None));
        pool.close();
        assert_eq!([poll(&pool, slot), poll(&pool, slot)], [Poll::Ready(Some(0)), Poll::Ready(Some(1))]);
        assert_eq!(pool.abandon(), 3);
        assert_eq!([poll(&pool, slot), poll(&pool, slot)], [Poll::Ready(None); 2]);
    }

    #[tokio::test]
    async fn the_end_wakes_those_who_wait() {
        let pool = Pool::new(1);
        let slot = pool.push(job(0)).unwrap();
        assert_eq!(pool.take(slot).await, Some(job(0)));
        let (last, ()) = tokio::join!(pool.take(slot), async { pool.close() });
        assert_eq!(last, None);
    }
}
