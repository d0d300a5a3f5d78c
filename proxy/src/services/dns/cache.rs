//! The cache of answers, absences and, for some seconds, failures. Bounded in entries and, through their weight, in bytes;
//! of those who ask the same at the same time one asks and the others wait.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hickory_resolver::proto::rr::{Name, RecordType};
use quick_cache::Weighter;
use quick_cache::sync::PlaceholderGuard;

use super::answer::{ABSENT_WITHOUT_TTL, FAILURE, LONGEST, LONGEST_ABSENT, until};
use super::{Dnssec, Error, Exchange, clean_name};

/// An answer of up to so many bytes counts as one of `cache_size`; a bigger one as several.
const BYTES_PER_UNIT: usize = 512;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    name: Box<str>,
    kind: RecordType,
}

impl Key {
    pub(super) fn new(name: &str, kind: RecordType) -> Result<Self, Error> {
        Ok(Self { name: clean_name(name)?.into_boxed_str(), kind })
    }

    pub(super) const fn kind(&self) -> RecordType {
        self.kind
    }

    /// Made label by label, so that no character has a special meaning.
    pub(super) fn absolute_name(&self) -> Result<Name, Error> {
        let mut name = Name::from_labels(self.name.split('.').map(str::as_bytes))
            .map_err(|error| Error::Invalid(error.to_string()))?;
        name.set_fqdn(true);
        Ok(name)
    }
}

/// The records of an answer.
#[derive(Debug, Clone)]
pub(super) enum Values {
    Texts(Arc<[Bytes]>),
    V4(Arc<[Ipv4Addr]>),
    V6(Arc<[Ipv6Addr]>),
    Exchanges(Arc<[Exchange]>),
    Names(Arc<[String]>),
}

impl Values {
    fn bytes(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.iter().map(|text| text.len() + 40).sum(),
            Self::V4(addresses) => addresses.len() * 4,
            Self::V6(addresses) => addresses.len() * 16,
            Self::Exchanges(exchanges) => exchanges.iter().map(|exchange| exchange.host.len() + 32).sum(),
            Self::Names(names) => names.iter().map(|name| name.len() + 24).sum(),
        }
    }
}

/// What is known about a question, and until when.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) result: Result<(Values, Dnssec), Error>,
    valid_until: Instant,
}

impl Entry {
    pub(super) fn found(values: Values, dnssec: Dnssec, valid_until: Instant) -> Self {
        let now = Instant::now();
        let valid_until = until(now, valid_until.saturating_duration_since(now), LONGEST);
        Self { result: Ok((values, dnssec)), valid_until }
    }

    pub(super) fn absent(error: Error, ttl: Option<u32>) -> Self {
        let lifetime = ttl.map_or(ABSENT_WITHOUT_TTL, |ttl| std::time::Duration::from_secs(u64::from(ttl)));
        Self { result: Err(error), valid_until: until(Instant::now(), lifetime, LONGEST_ABSENT) }
    }

    pub(super) fn failure(error: Error) -> Self {
        Self { result: Err(error), valid_until: Instant::now() + FAILURE }
    }

    fn is_fresh(&self) -> bool {
        Instant::now() < self.valid_until
    }
}

#[derive(Clone)]
struct Size;

impl Weighter<Key, Entry> for Size {
    fn weight(&self, key: &Key, entry: &Entry) -> u64 {
        let bytes = key.name.len() + entry.result.as_ref().map_or(0, |(values, _)| values.bytes());
        1 + (bytes / BYTES_PER_UNIT) as u64
    }
}

type Store = quick_cache::sync::Cache<Key, Entry, Size>;

pub(super) struct Cache(Store);

/// The place of an answer that somebody waits for. Dropped unfilled, the next one waiting asks.
pub(super) struct Place<'a>(
    PlaceholderGuard<
        'a,
        Key,
        Entry,
        Size,
        quick_cache::DefaultHashBuilder,
        quick_cache::sync::DefaultLifecycle<Key, Entry>,
    >,
);

impl Place<'_> {
    pub(super) fn fill(self, entry: Entry) {
        // It fails only when somebody emptied the cache meanwhile.
        let _ = self.0.insert(entry);
    }
}

impl Cache {
    pub(super) fn new(entries: usize) -> Self {
        let entries = entries.max(16);
        Self(Store::with_weighter(entries, entries as u64, Size))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn weight(&self) -> u64 {
        self.0.weight()
    }

    pub(super) fn fresh(&self, key: &Key) -> Option<Entry> {
        self.0.get(key).filter(Entry::is_fresh)
    }

    /// An entry that is fresh, perhaps after waiting for somebody's question; or the place for ours.
    pub(super) async fn wait_or_ask(&self, key: &Key) -> Result<Entry, Place<'_>> {
        self.0.remove_if(key, |entry| !entry.is_fresh());
        self.0.get_value_or_guard_async(key).await.map_err(Place)
    }
}
