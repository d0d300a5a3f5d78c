//! DKIM keys in the DNS (RFC 6376 section 3.6.1, RFC 8301, RFC 8463), used by ARC as well.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::Digest;
use bytes::Bytes;
use quick_cache::sync::Cache;
use tokio::task::JoinSet;

use super::lookups::Lookups;
use super::public_key::PublicKey;
use super::results::Outcome;
use super::tags::{Tags, base64, list};
use crate::services::dns::{Answer, Error};

/// TXT records at a selector that are looked at.
const RECORDS: usize = 4;
/// Keys that are kept as they were read from their records. With what the library works out, one takes some kilobytes.
const KNOWN: usize = 512;
/// Bytes of a record whose key is kept, at most: one of 8192 bits takes 1.4 KiB.
const RECORD: usize = 2048;

/// Why a signature has no pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
}

impl Fault {
    pub(super) fn new(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { outcome, reason: reason.into() }
    }

    pub(super) fn permanent(reason: impl Into<String>) -> Self {
        Self::new(Outcome::PermError, reason)
    }
}

/// The algorithms we accept; rsa-sha1 is not one (RFC 8301 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SignatureAlgorithm {
    RsaSha256,
    Ed25519Sha256,
}

/// The key records that the signatures of a message name.
pub(super) struct Keys {
    records: BTreeMap<String, Result<Answer<Bytes>, Error>>,
    known: Arc<KnownKeys>,
}

/// Keys by the text of their records: of the same text always the same key is made, however long the DNS lets it stand.
pub(super) struct KnownKeys(Cache<(Bytes, SignatureAlgorithm), Arc<Key>>);

impl Default for KnownKeys {
    fn default() -> Self {
        Self(Cache::new(KNOWN))
    }
}

impl KnownKeys {
    fn read(&self, record: &Bytes, algorithm: SignatureAlgorithm) -> Result<Arc<Key>, Fault> {
        if record.len() > RECORD {
            return Key::parse(record, algorithm).map(Arc::new);
        }
        let name = (record.clone(), algorithm);
        if let Some(key) = self.0.get(&name) {
            return Ok(key);
        }
        let key = Arc::new(Key::parse(record, algorithm)?);
        self.0.insert(name, Arc::clone(&key));
        Ok(key)
    }
}

impl Keys {
    /// Ask for them all at once, for each name once.
    pub(super) async fn fetch(lookups: &Lookups, names: impl IntoIterator<Item = String>) -> Self {
        let mut asking = JoinSet::new();
        let mut found = BTreeMap::new();
        for name in names {
            if found.contains_key(&name) {
                continue;
            }
            // An answer from the cache costs no task.
            if let Some(answer) = lookups.cached_txt(&name) {
                found.insert(name, answer);
            } else {
                // Until the answer is there.
                found.insert(name.clone(), Err(Error::Timeout));
                let lookups = lookups.clone();
                asking.spawn(async move { (lookups.txt(&name).await, name) });
            }
        }
        while let Some(answered) = asking.join_next().await {
            if let Ok((answer, name)) = answered {
                found.insert(name, answer);
            }
        }
        Self { records: found, known: lookups.known_keys() }
    }

    /// The first record at the selector that can be used.
    pub(super) fn find(&self, selector: &str, domain: &str, algorithm: SignatureAlgorithm) -> Result<Arc<Key>, Fault> {
        let texts = match self.records.get(&record_name(selector, domain)) {
            Some(Ok(answer)) => &answer.values,
            Some(Err(error)) if error.is_temporary() => {
                return Err(Fault::new(Outcome::TempError, format!("the key: {error}")));
            }
            Some(Err(_)) | None => return Err(Fault::permanent("no key")),
        };
        let mut fault = Fault::permanent("no key");
        for text in texts.iter().take(RECORDS) {
            match self.known.read(text, algorithm) {
                Ok(key) => return Ok(key),
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }
}

/// A key that fits the signature's algorithm.
pub(super) struct Key {
    key: PublicKey,
    /// t=s: i= must be exactly d=.
    pub(super) exact_identity: bool,
    /// t=y
    pub(super) testing: bool,
}

impl Key {
    fn parse(record: &[u8], algorithm: SignatureAlgorithm) -> Result<Self, Fault> {
        let text = std::str::from_utf8(record).map_err(|_| Fault::permanent("the key record is not UTF-8"))?;
        let tags = Tags::parse_record(text).map_err(|fault| Fault::permanent(format!("the key record has {fault}")))?;
        if tags.value("v").is_some_and(|version| version != "DKIM1")
            || (tags.value("v").is_some() && tags.first() != Some(("v", "DKIM1")))
        {
            return Err(Fault::permanent("not a DKIM key record"));
        }
        if tags.value("h").is_some_and(|hashes| !list(hashes).any(|hash| hash.eq_ignore_ascii_case("sha256"))) {
            return Err(Fault::permanent("the key does not allow sha256"));
        }
        if tags.value("s").is_some_and(|services| !list(services).any(|s| s == "*" || s.eq_ignore_ascii_case("email")))
        {
            return Err(Fault::permanent("the key is not for email"));
        }
        let kind = tags.value("k").unwrap_or("rsa").to_ascii_lowercase();
        let expected = match algorithm {
            SignatureAlgorithm::RsaSha256 => "rsa",
            SignatureAlgorithm::Ed25519Sha256 => "ed25519",
        };
        if kind != expected {
            return Err(Fault::permanent(format!("a key for {expected} is needed")));
        }
        let data = match tags.value("p") {
            None => return Err(Fault::permanent("the key record has no key")),
            Some("") => return Err(Fault::permanent("the key is revoked")),
            Some(data) => data,
        };
        let data = base64(data).ok_or_else(|| Fault::permanent("the key is not base64"))?;
        let key = match algorithm {
            SignatureAlgorithm::RsaSha256 => PublicKey::rsa(&data),
            SignatureAlgorithm::Ed25519Sha256 => PublicKey::ed25519(&data),
        };
        let key = key.map_err(|fault| Fault::permanent(fault.to_string()))?;
        let flag =
            |wanted: &str| tags.value("t").is_some_and(|flags| list(flags).any(|f| f.eq_ignore_ascii_case(wanted)));
        Ok(Self { key, exact_identity: flag("s"), testing: flag("y") })
    }

    /// Whether `signature` is of what has this SHA-256.
    pub(super) fn verifies(&self, digest: &Digest, signature: &[u8]) -> bool {
        self.key.verifies(digest, signature)
    }
}

/// Where a key stands.
pub(super) fn record_name(selector: &str, domain: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}
