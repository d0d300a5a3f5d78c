//! The threads that sessions run on, each with a runtime of its own: sessions never change threads, and share little.

use std::num::NonZeroU16;
use std::thread;

use anyhow::Context as _;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// Threads, until they are dropped.
pub(crate) struct Workers {
    handles: Vec<Handle>,
    /// Dropped to end them.
    stops: Vec<oneshot::Sender<()>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Workers {
    /// As many as there are cores when no number is given.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn start(count: Option<NonZeroU16>) -> anyhow::Result<Self> {
        let count = match count {
            Some(count) => count.get().into(),
            None => thread::available_parallelism().context("counting cores")?.get(),
        };
        let mut workers = Self { handles: Vec::new(), stops: Vec::new(), threads: Vec::new() };
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build().context("starting a runtime")?;
            workers.handles.push(runtime.handle().clone());
            let (stop, stopped) = oneshot::channel();
            workers.stops.push(stop);
            let thread = thread::Builder::new().name(format!("load-{number}"));
            // Dropping the sender is the signal.
            let thread = thread.spawn(move || drop(runtime.block_on(stopped)));
            workers.threads.push(thread.context("starting a thread")?);
        }
        Ok(workers)
    }

    pub(crate) fn count(&self) -> u64 {
        self.handles.len() as u64
    }

    pub(crate) fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stops.clear();
        for thread in self.threads.drain(..) {
            // A panic of a worker was reported by the load that ran on it.
            let _ = thread.join();
        }
    }
}
