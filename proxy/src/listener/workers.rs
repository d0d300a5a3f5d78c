//! Worker threads, each with a runtime of its own: a connection stays on the thread that it was given to, with its
//! upstream connection, so that no reply wakes another core, and no lock is shared that need not be.
//!
//! Each worker accepts on a socket of its own for every address (SO_REUSEPORT), so that the kernel spreads new connections.
//! It spreads them by chance; where that leaves one worker with more than another, the next one is handed over.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// A worker may have this many connections more than the one with the fewest before it hands one over. Each that is handed
/// over is registered twice and wakes another thread.
const LEAD: usize = 2;

/// The threads. Dropped outside of any runtime.
pub struct Workers {
    runtimes: Vec<Runtime>,
    crew: Crew,
}

/// The workers, to give work to. Cheap to clone.
#[derive(Clone)]
pub struct Crew(Arc<[Worker]>);

/// One of them.
pub(super) struct Worker {
    pub(super) handle: Handle,
    connections: AtomicUsize,
}

/// A connection that counts as its worker's.
pub(super) struct Assigned {
    crew: Crew,
    worker: usize,
}

impl Workers {
    /// Starts so many threads. Each has up to `blocking` further ones beside it that wait for files or work on large
    /// messages, for `keep_alive` after their last work; `when_idle` is called when it has nothing to do.
    ///
    /// # Errors
    ///
    /// The operating system's, when it has no more threads or descriptors.
    pub fn start(count: usize, blocking: usize, keep_alive: Duration, when_idle: fn()) -> io::Result<Self> {
        let runtimes = (0..count.max(1)).map(|number| {
            // One worker thread, and not a runtime for the current thread only: what has to wait for a disk in the middle of
            // a task can hand the others on (`block_in_place`).
            Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(blocking.max(1))
                .thread_keep_alive(keep_alive)
                .thread_name(format!("worker-{number}"))
                .on_thread_park(when_idle)
                .enable_all()
                .build()
        });
        let runtimes = runtimes.collect::<io::Result<Vec<_>>>()?;
        let workers = runtimes
            .iter()
            .map(|runtime| Worker { handle: runtime.handle().clone(), connections: AtomicUsize::new(0) });
        let crew = Crew(workers.collect());
        Ok(Self { runtimes, crew })
    }

    /// For giving them work.
    pub fn crew(&self) -> Crew {
        self.crew.clone()
    }

    /// Ends them, without waiting for what still blocks.
    pub fn shut_down(self) {
        for runtime in self.runtimes {
            runtime.shutdown_background();
        }
    }
}

impl Crew {
    pub(super) fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.0.iter()
    }

    pub(super) fn worker(&self, number: usize) -> &Worker {
        &self.0[number]
    }

    /// Runs something on the first worker, beside its connections.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0[0].handle.spawn(work);
    }

    /// Whose a connection becomes that this worker has accepted: its own, unless another has clearly fewer.
    pub(super) fn assign(&self, accepted_by: usize) -> Assigned {
        let connections = |worker: &Worker| worker.connections.load(Ordering::Relaxed);
        let own = connections(&self.0[accepted_by]);
        let fewest = self.0.iter().enumerate().min_by_key(|(_, worker)| connections(worker));
        let worker = match fewest {
            Some((other, worker)) if own >= connections(worker) + LEAD => other,
            _ => accepted_by,
        };
        self.0[worker].connections.fetch_add(1, Ordering::Relaxed);
        Assigned { crew: self.clone(), worker }
    }
}

impl Assigned {
    /// The number of the worker.
    pub(super) fn worker(&self) -> usize {
        self.worker
    }
}

impl Drop for Assigned {
    fn drop(&mut self) {
        self.crew.0[self.worker].connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_with_more_than_its_share_hands_over() {
        let workers = Workers::start(2, 1, Duration::from_secs(1), || {}).unwrap();
        let crew = workers.crew();
        // All are accepted by the first.
        let assigned: Vec<Assigned> = (0..8).map(|_| crew.assign(0)).collect();
        let numbers: Vec<usize> = assigned.iter().map(Assigned::worker).collect();
        assert_eq!(numbers, [0, 0, 1, 0, 1, 0, 1, 0]);
        drop(assigned);
        assert_eq!(crew.assign(1).worker(), 1, "connections that have ended do not count");
        workers.shut_down();
    }
}
