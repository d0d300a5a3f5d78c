//! A timeout that is set once and used for many waits.
//!
//! A connection waits for something a dozen times a message, and hardly ever for long. Entering each wait into the runtime's
//! wheel of timers and taking it out again costs more than the wait itself; so the entry stays, and is moved only when it
//! comes due while there is still patience left.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// One connection's. It belongs to the runtime in which it is first used.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    entry: Option<Pin<Box<Sleep>>>,
}

/// There was no patience left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl Timer {
    /// The outcome of `work`, if it comes within `patience`. What is ready at once costs no look at the clock.
    ///
    /// # Errors
    ///
    /// [`Elapsed`]; `work` is dropped then.
    pub(crate) async fn limit<F: Future>(&mut self, patience: Duration, work: F) -> Result<F::Output, Elapsed> {
        let mut work = pin!(work);
        let mut deadline = None;
        poll_fn(|context| {
            if let Poll::Ready(output) = work.as_mut().poll(context) {
                return Poll::Ready(Ok(output));
            }
            self.poll_elapsed(context, &mut deadline, patience).map(Err)
        })
        .await
    }

    /// Whether a wait is over that begins with the first call; `deadline` is where it keeps its end.
    pub(crate) fn poll_elapsed(
        &mut self,
        context: &mut Context<'_>,
        deadline: &mut Option<Instant>,
        patience: Duration,
    ) -> Poll<Elapsed> {
        let deadline = *deadline.get_or_insert_with(|| deadline_after(patience));
        self.poll_until(context, deadline).map(|()| Elapsed)
    }

    /// Gives the entry back; the next wait sets another. For what changes over to another runtime.
    pub(crate) fn forget(&mut self) {
        self.entry = None;
    }

    fn poll_until(&mut self, context: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let entry = self.entry.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // An entry that comes due too early does no harm; one that comes too late would.
        if entry.deadline() > deadline {
            entry.as_mut().reset(deadline);
        }
        loop {
            // Even when a peer that never stops sending has used up the task's share of the runtime.
            ready!(pin!(unconstrained(entry.as_mut())).poll(context));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            entry.as_mut().reset(deadline);
        }
    }
}

/// A wait that no clock can end is as good as one for ever.
fn deadline_after(patience: Duration) -> Instant {
    const FOR_EVER: Duration = Duration::from_secs(86400 * 365);
    Instant::now() + patience.min(FOR_EVER)
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_wait_has_its_own_patience_whatever_was_waited_for_before() {
        let mut timer = Timer::default();
        let began = Instant::now();
        for (patience, waited) in [(5, 5), (1, 6), (20, 26), (20, 46), (0, 46), (3, 49)] {
            let outcome = timer.limit(Duration::from_secs(patience), pending::<()>()).await;
            assert_eq!((outcome, began.elapsed().as_secs()), (Err(Elapsed), waited));
        }
        // An entry of an earlier wait comes due in the middle of this one.
        assert_eq!(timer.limit(Duration::from_secs(2), async { 7 }).await, Ok(7));
        let slow = tokio::time::sleep(Duration::from_secs(9));
        assert_eq!(timer.limit(Duration::from_secs(2), pending::<()>()).await, Err(Elapsed));
        assert_eq!(timer.limit(Duration::from_secs(10), slow).await, Ok(()));
        assert_eq!(began.elapsed().as_secs(), 58);
        assert_eq!(timer.limit(Duration::MAX, async {}).await, Ok(()));
    }
}
