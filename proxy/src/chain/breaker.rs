//! The circuit breaker: a new version of a filter that keeps failing gives way to the last good one.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::host::Plugin;

/// Failures in a row after which a version is taken for broken.
const THRESHOLD: u32 = 10;

/// A filter, and the version before it while there is one to fall back on.
pub(super) struct Breaker {
    current: Plugin,
    last_good: Option<Plugin>,
    /// Of the current version, in a row.
    failures: AtomicU32,
    /// The current version has been through a message without a failure.
    proven: AtomicBool,
}

impl Breaker {
    pub(super) fn new(current: Plugin, last_good: Option<Plugin>) -> Self {
        Self { current, last_good, failures: AtomicU32::new(0), proven: AtomicBool::new(false) }
    }

    /// The version that a transaction which begins now uses.
    pub(super) fn plugin(&self) -> &Plugin {
        match &self.last_good {
            Some(last_good) if self.keeps_failing() => last_good,
            _ => &self.current,
        }
    }

    /// The configured version, whether it works or not.
    pub(super) fn current(&self) -> &Plugin {
        &self.current
    }

    pub(super) fn last_good(&self) -> Option<&Plugin> {
        self.last_good.as_ref()
    }

    /// What `next`, the version of the next generation, falls back on when it keeps failing: the version here, if it is
    /// another and was seen to work, otherwise what that one would have fallen back on.
    pub(super) fn fallback_for(&self, next: &Plugin) -> Option<&Plugin> {
        let proven = self.proven.load(Ordering::Relaxed) && !self.keeps_failing();
        // One that was never put to the test is better than none.
        let untested = !self.keeps_failing() && self.last_good.is_none();
        let ours = (proven || untested).then_some(&self.current).filter(|current| !current.is_same(next));
        ours.or(self.last_good.as_ref()).filter(|fallback| !fallback.is_same(next))
    }

    /// A message went through this version without a failure.
    pub(super) fn succeeded(&self, version: &Plugin) {
        // Once open the breaker stays so until the next generation: a flapping filter would let every tenth message
        // fail. What still ran with the broken version when it opened changes nothing.
        if version.is_same(&self.current) && !self.is_open() {
            self.failures.store(0, Ordering::Relaxed);
            self.proven.store(true, Ordering::Relaxed);
        }
    }

    /// This version failed; whether the breaker opened just now.
    pub(super) fn failed(&self, version: &Plugin) -> bool {
        if !version.is_same(&self.current) {
            return false;
        }
        let before =
            self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |failures| failures.checked_add(1));
        before == Ok(THRESHOLD - 1) && self.last_good.is_some()
    }

    fn keeps_failing(&self) -> bool {
        self.failures.load(Ordering::Relaxed) >= THRESHOLD
    }

    fn is_open(&self) -> bool {
        self.keeps_failing() && self.last_good.is_some()
    }
}
