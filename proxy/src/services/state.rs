//! Values that filters keep from one message to the next: in memory, bounded, each with a time to live.
//!
//! Every plugin has a namespace with bounds of its own, so one that hoards cannot push out another's. A restart loses
//! everything; nothing here is shared between processes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The longest a value is kept, in seconds.
pub const TTL_LIMIT: u32 = 86_400;
/// The largest value, in bytes.
pub const VALUE_LIMIT: usize = 64 * 1024;
/// The longest key, in bytes.
pub const KEY_LIMIT: usize = 1024;
/// What an entry costs beyond its key and value, about.
const OVERHEAD: usize = 160;

/// Bounds of one namespace.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Entries.
    pub entries: usize,
    /// Bytes of keys and values, bookkeeping included.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { entries: 100_000, bytes: 32 * 1024 * 1024 }
    }
}

/// Why a value was not kept: the plugin's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The key is over [`KEY_LIMIT`].
    #[error("the key is longer than {KEY_LIMIT} bytes")]
    Key,
    /// The value is over [`VALUE_LIMIT`].
    #[error("the value is larger than {VALUE_LIMIT} bytes")]
    Value,
}

/// All plugins' namespaces. Clones share them; a reload keeps them.
#[derive(Clone, Default)]
pub struct StateStore {
    bounds: Bounds,
    namespaces: Arc<Mutex<HashMap<String, Namespace>>>,
}

impl StateStore {
    /// A store whose namespaces have these bounds, each.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, namespaces: Arc::default() }
    }

    /// The namespace of a plugin, made at its first use. Hold on to it: looking it up takes a lock.
    #[must_use]
    pub fn namespace(&self, plugin: &str) -> Namespace {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(namespace) = namespaces.get(plugin) {
            return namespace.clone();
        }
        let namespace = Namespace(Arc::new(Mutex::new(Table::new(self.bounds))));
        namespaces.insert(plugin.to_owned(), namespace.clone());
        namespace
    }

    /// Entries and bytes held by all plugins together, for the metrics.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        let namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        namespaces.values().map(Namespace::held).fold((0, 0), |sum, held| (sum.0 + held.0, sum.1 + held.1))
    }
}

/// One plugin's values. Clones share them.
#[derive(Clone)]
pub struct Namespace(Arc<Mutex<Table>>);

impl Namespace {
    /// The value of a key; none when it was never set, has expired, had to make room, or is a counter.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Arc<[u8]>> {
        let now = Instant::now();
        match &self.table().entries.get(key).filter(|entry| entry.expires > now)?.value {
            Value::Bytes(bytes) => Some(Arc::clone(bytes)),
            Value::Count(_) => None,
        }
    }

    /// Keep a value for so many seconds (1 to [`TTL_LIMIT`]; 0 forgets the key).
    ///
    /// # Errors
    /// [`Refused`] when the key or the value is too large.
    pub fn set(&self, key: &str, value: &[u8], ttl_seconds: u32) -> Result<(), Refused> {
        if value.len() > VALUE_LIMIT {
            return Err(Refused::Value);
        }
        check_key(key)?;
        let mut table = self.table();
        table.remove(key);
        if ttl_seconds > 0 {
            table.insert(key, Value::Bytes(value.into()), ttl_seconds);
        }
        Ok(())
    }

    /// Add to a counter that starts anew so many seconds (1 to [`TTL_LIMIT`]) after its first addition; the sum since
    /// then. A value that was `set` under the key gives way to the counter.
    ///
    /// # Errors
    /// [`Refused`] when the key is too long.
    pub fn increment(&self, key: &str, by: u32, window_seconds: u32) -> Result<u64, Refused> {
        check_key(key)?;
        let now = Instant::now();
        let mut table = self.table();
        if let Some(Entry { value: Value::Count(count), expires, .. }) = table.entries.get_mut(key)
            && *expires > now
        {
            *count = count.saturating_add(u64::from(by));
            return Ok(*count);
        }
        table.remove(key);
        table.insert(key, Value::Count(u64::from(by)), window_seconds);
        Ok(u64::from(by))
    }

    fn held(&self) -> (usize, usize) {
        let table = self.table();
        (table.entries.len(), table.bytes)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // Every change is finished before the lock is let go, also when a thread panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn check_key(key: &str) -> Result<(), Refused> {
    if key.len() > KEY_LIMIT { Err(Refused::Key) } else { Ok(()) }
}

struct Table {
    bounds: Bounds,
    bytes: usize,
    entries: HashMap<Arc<str>, Entry>,
    /// Who goes first: the soonest to expire.
    order: BTreeSet<(Instant, Arc<str>)>,
}

struct Entry {
    value: Value,
    expires: Instant,
    cost: usize,
}

enum Value {
    Bytes(Arc<[u8]>),
    Count(u64),
}

impl Table {
    fn new(bounds: Bounds) -> Self {
        Self { bounds, bytes: 0, entries: HashMap::new(), order: BTreeSet::new() }
    }

    fn insert(&mut self, key: &str, value: Value, seconds: u32) {
        let now = Instant::now();
        let expires = now + Duration::from_secs(u64::from(seconds.clamp(1, TTL_LIMIT)));
        let size = match &value {
            Value::Bytes(bytes) => bytes.len(),
            Value::Count(_) => 0,
        };
        let cost = OVERHEAD + key.len() + size;
        // What has expired goes in any case, so that a quiet namespace does not keep it for ever.
        while let Some((oldest, _)) = self.order.first()
            && (*oldest <= now || self.entries.len() >= self.bounds.entries || self.bytes + cost > self.bounds.bytes)
        {
            if let Some((_, key)) = self.order.pop_first() {
                self.forget(&key);
            }
        }
        let key: Arc<str> = key.into();
        self.bytes += cost;
        self.order.insert((expires, Arc::clone(&key)));
        self.entries.insert(key, Entry { value, expires, cost });
    }

    fn remove(&mut self, key: &str) {
        if let Some((key, entry)) = self.entries.remove_entry(key) {
            self.bytes -= entry.cost;
            self.order.remove(&(entry.expires, key));
        }
    }

    fn forget(&mut self, key: &str) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_value_lives_as_long_as_it_was_told_to() {
        let state = StateStore::default().namespace("greylist");
        state.set("key", b"value", 10).unwrap();
        pass(9).await;
        assert_eq!(state.get("key").as_deref(), Some(&b"value"[..]));
        pass(1).await;
        assert_eq!(state.get("key"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_counter_starts_anew_after_its_window() {
        let state = StateStore::default().namespace("rate");
        assert_eq!(state.increment("client", 1, 60), Ok(1));
        pass(59).await;
        assert_eq!(state.increment("client", 2, 60), Ok(3));
        pass(1).await;
        assert_eq!(state.increment("client", 1, 60), Ok(1));
        assert_eq!(state.get("client"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn plugins_do_not_see_each_other() {
        let store = StateStore::default();
        store.namespace("one").set("key", b"1", 10).unwrap();
        assert_eq!(store.namespace("two").get("key"), None);
        assert_eq!(store.namespace("one").get("key").as_deref(), Some(&b"1"[..]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_soonest_to_expire_makes_room() {
        let store = StateStore::new(Bounds { entries: 2, bytes: 1 << 20 });
        let state = store.namespace("p");
        state.set("long", b"1", 100).unwrap();
        state.set("short", b"2", 10).unwrap();
        state.set("new", b"3", 50).unwrap();
        assert_eq!(state.get("short"), None);
        assert!(state.get("long").is_some() && state.get("new").is_some());
        assert_eq!(store.held().0, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_are_bounded_and_given_back() {
        let store = StateStore::new(Bounds { entries: 1000, bytes: 10_000 });
        let state = store.namespace("p");
        for index in 0..100 {
            state.set(&format!("key {index}"), &[0; 1000], 60).unwrap();
            assert!(store.held().1 <= 10_000);
        }
        for index in 0..100 {
            state.set(&format!("key {index}"), b"", 0).unwrap();
        }
        assert_eq!(store.held(), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_too_large_is_refused() {
        let state = StateStore::default().namespace("p");
        assert_eq!(state.set("k", &vec![0; VALUE_LIMIT + 1], 1), Err(Refused::Value));
        assert_eq!(state.set(&"k".repeat(KEY_LIMIT + 1), b"", 1), Err(Refused::Key));
        assert_eq!(state.increment(&"k".repeat(KEY_LIMIT + 1), 1, 1), Err(Refused::Key));
    }
}
