//! How much CPU time a filter took in the current phase.
//!
//! Only the time inside a poll counts: what a filter spends suspended, in a host call or because it yielded, is not
//! its own. Between two looks at the clock no more than a few ticks are counted, so that native work inside a host
//! function, or a thread that the system took off its core, is not held against the filter.

use std::pin::pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::ticker::TICK;

/// The most that counts between two looks at the clock. A filter that runs is looked at every tick.
const STEP_LIMIT: Duration = TICK.saturating_mul(3);

/// Time is kept in nanoseconds since this moment, so that it fits an atomic.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Shared by the future that runs a filter and the callback that may interrupt it, which run in one thread at a time.
#[derive(Default)]
pub(super) struct Meter {
    phase: AtomicU64,
    before: AtomicU64,
    looked: AtomicU64,
}

impl Meter {
    /// Begins a phase at zero.
    pub(super) fn begin_phase(&self) {
        let phase = self.phase.swap(0, Ordering::Relaxed);
        self.before.fetch_add(phase, Ordering::Relaxed);
    }

    /// Forgets what all phases used.
    pub(super) fn begin_anew(&self) {
        self.phase.store(0, Ordering::Relaxed);
        self.before.store(0, Ordering::Relaxed);
    }

    /// Looks at the clock, and tells what was used in this phase.
    pub(super) fn look(&self) -> Duration {
        let now = nanos_since_start();
        let elapsed = now.saturating_sub(self.looked.swap(now, Ordering::Relaxed));
        let counted = elapsed.min(u64::try_from(STEP_LIMIT.as_nanos()).unwrap_or(u64::MAX));
        let before = self.phase.fetch_add(counted, Ordering::Relaxed);
        Duration::from_nanos(before.saturating_add(counted))
    }

    /// What all phases used together.
    pub(super) fn total(&self) -> Duration {
        Duration::from_nanos(self.before.load(Ordering::Relaxed).saturating_add(self.phase.load(Ordering::Relaxed)))
    }

    /// Runs `future`, counting the time inside its polls.
    pub(super) async fn measure<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            self.looked.store(nanos_since_start(), Ordering::Relaxed);
            let outcome = future.as_mut().poll(context);
            self.look();
            outcome
        })
        .await
    }
}

fn nanos_since_start() -> u64 {
    u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a step that takes long is what is tested")]
    async fn time_suspended_does_not_count_and_a_step_is_clamped() {
        let meter = Meter::default();
        meter
            .measure(async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                std::thread::sleep(Duration::from_millis(30));
            })
            .await;
        assert!(meter.total() < Duration::from_millis(10), "{:?}", meter.total());
        meter.begin_phase();
        assert!(meter.total() > Duration::ZERO);
        assert!(meter.look() <= STEP_LIMIT);
    }
}
