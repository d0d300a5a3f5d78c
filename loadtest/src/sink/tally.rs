//! Counters of one thread, which others may read.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::report::model::SinkCounts;

/// Counters. Only one thread counts, so that nothing is locked.
#[derive(Debug, Default)]
pub(super) struct Tally {
    connections: AtomicU64,
    closed: AtomicU64,
    tls: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    tempfailed: AtomicU64,
    rejected: AtomicU64,
    dropped: AtomicU64,
    delayed: AtomicU64,
    errors: AtomicU64,
    failures: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

impl Tally {
    pub(super) fn connected(&self) {
        add(&self.connections, 1);
    }

    pub(super) fn closed(&self) {
        add(&self.closed, 1);
    }

    pub(super) fn secured(&self) {
        add(&self.tls, 1);
    }

    pub(super) fn taken(&self, bytes: u64) {
        add(&self.messages, 1);
        add(&self.bytes, bytes);
    }

    pub(super) fn tempfailed(&self) {
        add(&self.tempfailed, 1);
    }

    pub(super) fn rejected(&self) {
        add(&self.rejected, 1);
    }

    pub(super) fn dropped(&self) {
        add(&self.dropped, 1);
    }

    pub(super) fn delayed(&self) {
        add(&self.delayed, 1);
    }

    /// A client made a mistake.
    pub(super) fn error(&self) {
        add(&self.errors, 1);
    }

    /// A message could not be stored, or a handshake failed.
    pub(super) fn failed(&self) {
        add(&self.failures, 1);
    }

    pub(super) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }

    /// Adds to counts.
    pub(super) fn add_to(&self, counts: &mut SinkCounts) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        // Read first, so that there are never more closed than opened.
        let closed = of(&self.closed);
        counts.connections += of(&self.connections);
        counts.open_connections += of(&self.connections) - closed;
        counts.tls += of(&self.tls);
        counts.messages += of(&self.messages);
        counts.bytes += of(&self.bytes);
        counts.tempfailed += of(&self.tempfailed);
        counts.rejected += of(&self.rejected);
        counts.dropped += of(&self.dropped);
        counts.delayed += of(&self.delayed);
        counts.errors += of(&self.errors);
        counts.failures += of(&self.failures);
    }
}
