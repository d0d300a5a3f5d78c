//! What a lookup gives: values with their DNSSEC status, or why there are none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::dnssec::Proof;
use hickory_resolver::proto::op::ResponseCode;

use super::cache::Entry;

/// Values of one question. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<T> {
    /// At least one.
    pub values: Arc<[T]>,
    /// The weakest status among the records.
    pub dnssec: Dnssec,
}

/// RFC 4033 section 5. Always `Indeterminate` when validation is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dnssec {
    /// Signatures were checked up to the root.
    Secure,
    /// The zone is provably not signed.
    Insecure,
    /// Signatures are missing or wrong. Never in an answer: such an answer is an [`Error::Failure`].
    Bogus,
    /// Not known.
    Indeterminate,
}

impl Dnssec {
    pub(super) fn weaker(self, other: Self) -> Self {
        if self == Self::Bogus || other == Self::Bogus { Self::Bogus } else { self.max(other) }
    }
}

impl From<Proof> for Dnssec {
    fn from(proof: Proof) -> Self {
        match proof {
            Proof::Secure => Self::Secure,
            Proof::Insecure => Self::Insecure,
            Proof::Bogus => Self::Bogus,
            Proof::Indeterminate => Self::Indeterminate,
        }
    }
}

/// Why there are no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The name does not exist: NXDOMAIN, so nothing exists below it either (RFC 8020).
    #[error("the name does not exist")]
    NoName,
    /// The name exists but has no record of the type.
    #[error("there is no such record")]
    NoRecord,
    /// No answer in time; the resolver's or the zone owner's fault.
    #[error("the lookup timed out")]
    Timeout,
    /// SERVFAIL, REFUSED, a bogus signature, or an answer that could not be read.
    #[error("the lookup failed: {0}")]
    Failure(String),
    /// Not asked any more: whoever asks has a bound, so many questions, and has reached it.
    #[error("more than {0} lookups for one message")]
    Exhausted(u32),
    /// The caller's fault: not a domain name.
    #[error("not a domain name: {0}")]
    Invalid(String),
}

impl Error {
    /// Whether the DNS said that there is nothing, as opposed to saying nothing.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self, Self::NoName | Self::NoRecord)
    }

    /// Whether asking again later may help.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Timeout | Self::Failure(_) | Self::Exhausted(_))
    }

    /// Of the errors of two questions about one name, the one to report.
    pub(super) fn graver(self, other: Self) -> Self {
        let weight = |error: &Self| match error {
            Self::NoRecord => 0,
            Self::NoName => 1,
            Self::Invalid(_) => 2,
            Self::Timeout => 3,
            Self::Failure(_) => 4,
            Self::Exhausted(_) => 5,
        };
        // One family's NODATA proves that the name is there, whatever a broken server says about the other.
        match (&self, &other) {
            (Self::NoName, Self::NoRecord) | (Self::NoRecord, Self::NoName) => Self::NoRecord,
            _ if weight(&other) > weight(&self) => other,
            _ => self,
        }
    }
}

/// One exchanger of an MX answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Lower is better.
    pub preference: u16,
    /// Lower case without the final dot; `"."` is the null MX.
    pub host: String,
}

/// What the resolver's error means, and how long it may be remembered.
pub(super) fn entry_of_error(error: NetError) -> Entry {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Entry::absent(Error::NoName, none.negative_ttl),
            ResponseCode::NoError => Entry::absent(Error::NoRecord, none.negative_ttl),
            code => Entry::failure(Error::Failure(code.to_string())),
        },
        NetError::Dns(DnsError::Nsec { response, proof, .. }) => match (proof, response.response_code) {
            (Proof::Secure | Proof::Insecure, ResponseCode::NXDomain) => {
                Entry::absent(Error::NoName, response.negative_ttl())
            }
            (Proof::Secure | Proof::Insecure, ResponseCode::NoError) => {
                Entry::absent(Error::NoRecord, response.negative_ttl())
            }
            _ => Entry::failure(Error::Failure("DNSSEC validation failed".to_owned())),
        },
        NetError::Timeout => Entry::failure(Error::Timeout),
        other => Entry::failure(Error::Failure(other.to_string())),
    }
}

/// Bounds on how long answers are kept, whatever their TTL says.
pub(super) const SHORTEST: Duration = Duration::from_secs(1);
pub(super) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
pub(super) const LONGEST_ABSENT: Duration = Duration::from_secs(60 * 60);
/// Without a SOA record an absence has no TTL (RFC 2308 section 5).
pub(super) const ABSENT_WITHOUT_TTL: Duration = Duration::from_secs(30);
/// RFC 9520 section 3.2: failures are remembered, from a second to five minutes.
pub(super) const FAILURE: Duration = Duration::from_secs(5);

pub(super) fn until(now: Instant, lifetime: Duration, longest: Duration) -> Instant {
    now + lifetime.clamp(SHORTEST, longest)
}
