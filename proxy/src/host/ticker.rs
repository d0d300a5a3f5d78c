//! The thread that advances the engine's epoch, which is how filters are interrupted. It rests while no sandbox is
//! alive.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wasmtime::Engine;

use super::counters::Counters;

/// One tick of the epoch.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// The running thread; dropping this ends it.
pub(super) struct Ticker {
    flags: Arc<Flags>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Flags {
    stop: AtomicBool,
    resting: AtomicBool,
}

impl Ticker {
    /// Starts the thread.
    pub(super) fn start(engine: Engine, counters: Arc<Counters>) -> io::Result<Self> {
        let flags = Arc::new(Flags::default());
        let of_thread = Arc::clone(&flags);
        let thread =
            thread::Builder::new().name("epoch".to_owned()).spawn(move || tick(&engine, &counters, &of_thread))?;
        Ok(Self { flags, thread: Some(thread) })
    }

    /// Ends a rest. To be called after a sandbox was counted as alive and before it runs.
    pub(super) fn wake(&self) {
        // The thread announces its rest before it looks at the count for the last time, and the caller raised the count
        // before it looks here, both sequentially consistent: one of the two sees the other.
        if self.flags.resting.load(Ordering::SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.flags.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // At most one tick. The thread cannot panic, and there would be nothing to do about it.
            drop(thread.join());
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread is the ticker's own")]
fn tick(engine: &Engine, counters: &Counters, flags: &Flags) {
    while !flags.stop.load(Ordering::SeqCst) {
        if counters.live() == 0 {
            flags.resting.store(true, Ordering::SeqCst);
            if counters.live() == 0 && !flags.stop.load(Ordering::SeqCst) {
                thread::park();
            }
            flags.resting.store(false, Ordering::SeqCst);
        }
        thread::sleep(TICK);
        engine.increment_epoch();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dropping the ticker waits for its thread: this test ends only if that does.
    #[test]
    fn the_thread_ends_with_its_ticker_ticking_or_resting() {
        for alive in [true, false] {
            let counters = Arc::new(Counters::default());
            let sandbox = alive.then(|| counters.sandbox());
            let ticker = Ticker::start(Engine::default(), Arc::clone(&counters)).unwrap();
            while !alive && !ticker.flags.resting.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            ticker.wake();
            drop(ticker);
            drop(sandbox);
            assert_eq!(Arc::strong_count(&counters), 1);
        }
    }
}
