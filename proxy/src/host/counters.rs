//! What the host counts, for metrics and tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Different events that one plugin may count.
const EVENTS_LIMIT: usize = 64;
/// Characters of an event's name.
const EVENT_NAME_LIMIT: usize = 64;

/// Shared counters.
#[derive(Default)]
pub(super) struct Counters {
    live: AtomicUsize,
    pub(super) created: AtomicU64,
    pub(super) compiled: AtomicU64,
    pub(super) cache_hits: AtomicU64,
    pub(super) log_lines_dropped: AtomicU64,
    pub(super) waits: AtomicU64,
    pub(super) limit: AtomicUsize,
    plugins: Mutex<BTreeMap<String, Arc<Events>>>,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Sandboxes made since the start, those that `load` needs included.
    pub created: u64,
    /// Sandboxes alive.
    pub live: usize,
    /// Components compiled.
    pub compiled: u64,
    /// Components taken from the cache.
    pub cache_hits: u64,
    /// Log lines of filters that were over the limit.
    pub log_lines_dropped: u64,
    /// Sandboxes that waited for room, in the pool or in memory.
    pub waits: u64,
    /// Sandboxes that may live at once.
    pub limit: usize,
}

/// The events that one plugin counted; they outlive a reload.
#[derive(Default)]
pub(super) struct Events(Mutex<BTreeMap<String, u64>>);

impl Counters {
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            created: self.created.load(Ordering::Relaxed),
            live: self.live(),
            compiled: self.compiled.load(Ordering::Relaxed),
            cache_hits: self.cache_hits.load(Ordering::Relaxed),
            log_lines_dropped: self.log_lines_dropped.load(Ordering::Relaxed),
            waits: self.waits.load(Ordering::Relaxed),
            limit: self.limit.load(Ordering::Relaxed),
        }
    }

    /// Sandboxes alive.
    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    /// Counts a sandbox as made, and as alive until the guard is dropped.
    pub(super) fn sandbox(self: &Arc<Self>) -> Alive {
        self.created.fetch_add(1, Ordering::Relaxed);
        self.live.fetch_add(1, Ordering::SeqCst);
        Alive(Arc::clone(self))
    }

    /// The events of this plugin.
    pub(super) fn events_of(&self, plugin: &str) -> Arc<Events> {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(plugins.entry(plugin.to_owned()).or_default())
    }

    /// All events, by plugin and name.
    pub(super) fn events(&self) -> Vec<(String, String, u64)> {
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        for (plugin, events) in plugins.iter() {
            let events = events.0.lock().unwrap_or_else(PoisonError::into_inner);
            all.extend(events.iter().map(|(event, count)| (plugin.clone(), event.clone(), *count)));
        }
        all
    }
}

impl Events {
    /// Adds to an event. One with a name that may not be, or one too many, is left out: counting must not fail a
    /// message.
    pub(super) fn count(&self, event: &str, by: u32) {
        let named = !event.is_empty()
            && event.len() <= EVENT_NAME_LIMIT
            && event.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if !named {
            return;
        }
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = events.get_mut(event) {
            *count = count.saturating_add(by.into());
        } else if events.len() < EVENTS_LIMIT {
            events.insert(event.to_owned(), by.into());
        }
    }
}

/// A sandbox that is alive.
pub(super) struct Alive(Arc<Counters>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bounded_and_named_properly() {
        let counters = Arc::new(Counters::default());
        let events = counters.events_of("auth");
        events.count("dmarc_fail", 2);
        events.count("dmarc_fail", 1);
        for bad in ["", "Upper", "with space", "tab\t", &"x".repeat(65)] {
            events.count(bad, 1);
        }
        assert_eq!(counters.events(), [("auth".to_owned(), "dmarc_fail".to_owned(), 3)]);
        for number in 0..1000 {
            events.count(&format!("e{number}"), 1);
        }
        assert_eq!(counters.events().len(), EVENTS_LIMIT);
    }

    #[test]
    fn a_sandbox_lives_as_long_as_its_guard() {
        let counters = Arc::new(Counters::default());
        let alive = counters.sandbox();
        assert_eq!((counters.snapshot().live, counters.snapshot().created), (1, 1));
        drop(alive);
        assert_eq!((counters.snapshot().live, counters.snapshot().created), (0, 1));
    }
}
