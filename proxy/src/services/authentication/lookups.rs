//! DNS for the checks of one message: a bound on the questions that they may ask together, whatever records say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;

use super::key::KnownKeys;
use crate::services::dns::{Answer, Dns, Error, Exchange};

/// Questions of one message for everything but DKIM and DMARC: an SPF check at its own limits, which comes to 123, and
/// the keys of an ARC chain. Ordinary mail asks fewer than 30.
pub(super) const QUESTIONS: u32 = 150;
/// Those of DKIM alone, one for each signature that is looked at, so that what was asked before leaves room for its keys:
/// without them an aligned signature could not save a message from a policy.
pub(super) const KEYS: u32 = super::dkim::SIGNATURES as u32;
/// More of them for DMARC, so that no SPF record or set of signatures keeps us from finding an author's policy.
pub(super) const RESERVED: u32 = 100;

/// What was cut off to bound the work for a message, since the process started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Questions that were not asked any more.
    lookups: AtomicU64,
    /// Signatures that were not looked at.
    signatures: AtomicU64,
}

impl Counters {
    /// DNS questions that a message's checks were not allowed to ask.
    #[must_use]
    pub fn lookups_refused(&self) -> u64 {
        self.lookups.load(Ordering::Relaxed)
    }

    /// DKIM signatures beyond the number that is looked at.
    #[must_use]
    pub fn signatures_skipped(&self) -> u64 {
        self.signatures.load(Ordering::Relaxed)
    }

    pub(super) fn skipped(&self, signatures: usize) {
        self.signatures.fetch_add(signatures as u64, Ordering::Relaxed);
    }
}

/// The resolver, for one message. Clones share the count.
#[derive(Clone)]
pub(super) struct Lookups {
    dns: Dns,
    counters: Arc<Counters>,
    asked: Arc<AtomicU32>,
    limit: u32,
    keys_asked: Arc<AtomicU32>,
    known_keys: Arc<KnownKeys>,
    /// The questions of DKIM, which has a share of its own before it takes of the others'.
    for_keys: bool,
}

impl Lookups {
    pub(super) fn new(dns: Dns, counters: Arc<Counters>, known_keys: Arc<KnownKeys>) -> Self {
        Self {
            dns,
            counters,
            asked: Arc::default(),
            limit: QUESTIONS,
            keys_asked: Arc::default(),
            known_keys,
            for_keys: false,
        }
    }

    /// The same count, with what is reserved for finding policies.
    pub(super) fn for_policies(&self) -> Self {
        Self { limit: QUESTIONS + RESERVED, ..self.clone() }
    }

    /// The same count, with what is reserved for the keys of DKIM.
    pub(super) fn for_keys(&self) -> Self {
        Self { for_keys: true, ..self.clone() }
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(super) fn known_keys(&self) -> Arc<KnownKeys> {
        Arc::clone(&self.known_keys)
    }

    /// What is in the cache, which counts as asked; `None`, and nothing counted, when it is not there.
    pub(super) fn cached_txt(&self, name: &str) -> Option<Result<Answer<Bytes>, Error>> {
        let answer = self.dns.cached_txt(name)?;
        Some(self.count().and(answer))
    }

    pub(super) async fn txt(&self, name: &str) -> Result<Answer<Bytes>, Error> {
        self.count()?;
        self.dns.txt(name).await
    }

    pub(super) async fn ipv4(&self, name: &str) -> Result<Answer<Ipv4Addr>, Error> {
        self.count()?;
        self.dns.ipv4(name).await
    }

    pub(super) async fn ipv6(&self, name: &str) -> Result<Answer<Ipv6Addr>, Error> {
        self.count()?;
        self.dns.ipv6(name).await
    }

    pub(super) async fn mx(&self, name: &str) -> Result<Answer<Exchange>, Error> {
        self.count()?;
        self.dns.mx(name).await
    }

    pub(super) async fn ptr(&self, address: IpAddr) -> Result<Answer<String>, Error> {
        self.count()?;
        self.dns.ptr(address).await
    }

    /// Answers from the cache count too, so that a message gets the same verdict whatever is cached. The error is a
    /// temporary one of its own kind: where a failing lookup counts as an answer, as with SPF's `ptr`, this one must not.
    fn count(&self) -> Result<(), Error> {
        let take = |asked: &AtomicU32, limit: u32| {
            let next = |asked: u32| (asked < limit).then_some(asked + 1);
            asked.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
        };
        if (self.for_keys && take(&self.keys_asked, KEYS)) || take(&self.asked, self.limit) {
            return Ok(());
        }
        self.counters.lookups.fetch_add(1, Ordering::Relaxed);
        Err(Error::Exhausted(self.limit))
    }
}
