//! DKIM keys in the DNS (RFC 6376 section 3.6.1, RFC 8301, RFC 8463), used by ARC as well.

use mail_auth::common::crypto::Algorithm;
use mail_auth::common::parse::TxtRecordParser as _;
use mail_auth::common::verify::DomainKey;

use super::results::Outcome;
use super::tags::{Tags, list};
use crate::services::dns::Dns;

/// RFC 8301 section 3.2.
const SHORTEST_RSA: usize = 1024;
/// TXT records at a selector that are looked at.
const RECORDS: usize = 4;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureAlgorithm {
    RsaSha256,
    Ed25519Sha256,
}

/// A key that fits the signature's algorithm.
pub(super) struct Key {
    key: DomainKey,
    algorithm: SignatureAlgorithm,
    /// t=s: i= must be exactly d=.
    pub(super) exact_identity: bool,
    /// t=y
    pub(super) testing: bool,
}

impl Key {
    /// Look the key up. The first record that can be used is.
    pub(super) async fn fetch(
        dns: &Dns,
        selector: &str,
        domain: &str,
        algorithm: SignatureAlgorithm,
    ) -> Result<Self, Fault> {
        let texts = match dns.txt(&record_name(selector, domain)).await {
            Ok(answer) => answer.values,
            Err(error) if error.is_temporary() => {
                return Err(Fault::new(Outcome::TempError, format!("the key: {error}")));
            }
            Err(_) => return Err(Fault::permanent("no key")),
        };
        let mut fault = Fault::permanent("no key");
        for text in texts.iter().take(RECORDS) {
            match Self::parse(text, algorithm) {
                Ok(key) => return Ok(key),
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }

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
        let minimal = format!("k={expected}; p={data}");
        let key = DomainKey::parse(minimal.as_bytes()).map_err(|_| Fault::permanent("the key cannot be read"))?;
        if algorithm == SignatureAlgorithm::RsaSha256 && key.p.public_key_bits() < SHORTEST_RSA {
            return Err(Fault::new(Outcome::Policy, format!("the key has fewer than {SHORTEST_RSA} bits")));
        }
        let flag =
            |wanted: &str| tags.value("t").is_some_and(|flags| list(flags).any(|f| f.eq_ignore_ascii_case(wanted)));
        Ok(Self { key, algorithm, exact_identity: flag("s"), testing: flag("y") })
    }

    /// Whether `signature` is of `signed`.
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        let algorithm = match self.algorithm {
            SignatureAlgorithm::RsaSha256 => Algorithm::RsaSha256,
            SignatureAlgorithm::Ed25519Sha256 => Algorithm::Ed25519Sha256,
        };
        self.key.p.verify_bytes(signed, signature, algorithm).is_ok()
    }
}

/// Where a key stands.
pub(super) fn record_name(selector: &str, domain: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}
