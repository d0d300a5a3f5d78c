//! DNS through the host's cache. Needs the grant "dns".

pub use crate::bindings::mailweir::filter::dns::{Dnssec, Error, Exchange, Exchanges, Names, Texts};
use crate::host;

/// TXT records of a name, each with its strings joined.
///
/// # Errors
///
/// [`Error::NotFound`] when the name or the record type does not exist; the other errors say nothing about the name.
pub fn txt(name: &str) -> Result<Texts, Error> {
    host::dns::txt(name)
}

/// IPv4 and IPv6 addresses of a name, as text.
///
/// # Errors
///
/// As [`txt`].
pub fn addresses(name: &str) -> Result<Names, Error> {
    host::dns::addresses(name)
}

/// Mail exchangers of a domain.
///
/// # Errors
///
/// As [`txt`].
pub fn mx(name: &str) -> Result<Exchanges, Error> {
    host::dns::mx(name)
}

/// The names of an IPv4 or IPv6 address.
///
/// # Errors
///
/// As [`txt`]; [`Error::Invalid`] when it is not an address.
pub fn ptr(address: &str) -> Result<Names, Error> {
    host::dns::ptr(address)
}

/// IPv4 answers for each query name (RFC 5782), such as "example.com.multi.surbl.org", asked all at once; the results
/// stand in the order of the queries. [`Error::NotFound`] means: not listed.
pub fn dnsbl(queries: &[String]) -> Vec<Result<Names, Error>> {
    host::dns::dnsbl(queries)
}
