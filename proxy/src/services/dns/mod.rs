//! DNS for filters, for authentication and for routing: one resolver, one bounded cache, one limit on the queries in
//! flight.
//!
//! Names are absolute: no search list, no hosts file. The answers of one question are shared by everybody who asks it
//! at the same time. It does not follow mail routing rules (RFC 5321 section 5.1): that is the upstream's business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::dnssec::TrustAnchors;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config;

mod answer;
mod cache;

pub use answer::{Answer, Dnssec, Error, Exchange};
use cache::{Cache, Entry, Key, Values};

/// Queries on the wire at once, for all sessions together. More wait, within their own timeout.
const IN_FLIGHT: usize = 1024;
/// Of one `dnsbl` call, how many queries run at once.
const DNSBL_AT_ONCE: usize = 32;
/// The longest name in text form, without the final dot (RFC 1035 section 2.3.4).
const NAME_LIMIT: usize = 253;
/// The largest answer over UDP that is asked for: what fits everywhere without fragments (DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;

/// The resolver. Clones share everything.
#[derive(Clone)]
pub struct Dns(Arc<Inner>);

struct Inner {
    resolver: TokioResolver,
    cache: Cache,
    in_flight: Semaphore,
    timeout: Duration,
    validate: bool,
}

/// Why a resolver could not be made: the operator's configuration, or the system's.
#[derive(Debug, thiserror::Error)]
#[error("the DNS resolver cannot be set up: {0}")]
pub struct SetupError(String);

impl Dns {
    /// Make the resolver of a configuration. No query is sent yet.
    ///
    /// # Errors
    /// When no resolvers are configured and the system's cannot be read.
    pub fn new(config: &config::Dns) -> Result<Self, SetupError> {
        Self::with_trust_anchors(config, TrustAnchors::default())
    }

    /// As [`Dns::new`], with other keys of the root to trust than those of IANA, when the configuration validates.
    ///
    /// # Errors
    /// As those of [`Dns::new`].
    pub fn with_trust_anchors(config: &config::Dns, anchors: TrustAnchors) -> Result<Self, SetupError> {
        let (servers, mut options) = if config.resolvers.is_empty() {
            let (system, options) =
                hickory_resolver::system_conf::read_system_conf().map_err(|error| SetupError(error.to_string()))?;
            // Search lists stay out: every name is absolute.
            (system.name_servers().to_vec(), options)
        } else {
            (config.resolvers.iter().map(|address| name_server(*address)).collect(), ResolverOpts::default())
        };
        let validate = config.dnssec == config::Dnssec::Validate;
        options.ndots = 0;
        options.use_hosts_file = ResolveHosts::Never;
        // Two tries fit into the time one question has.
        options.timeout = (config.timeout / 2).max(Duration::from_millis(1));
        options.attempts = 1;
        options.edns0 = true;
        options.edns_payload_len = UDP_PAYLOAD;
        options.validate = validate;
        options.max_active_requests = IN_FLIGHT;
        // Answers are kept in our own cache, checked and in the form we hand out. Validation needs the keys of the
        // zones above again and again, so it keeps its own.
        options.cache_size = if validate { 4096 } else { 0 };
        let servers = ResolverConfig::from_parts(None, Vec::new(), servers);
        let builder =
            TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default()).with_options(options);
        // Anchors given to it make it validate.
        let builder = if validate { builder.with_trust_anchor(Arc::new(anchors)) } else { builder };
        let resolver = builder.build().map_err(|error| SetupError(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            resolver,
            cache: Cache::new(config.cache_size),
            in_flight: Semaphore::new(IN_FLIGHT),
            timeout: config.timeout,
            validate,
        })))
    }

    /// TXT records, each with its strings joined.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn txt(&self, name: &str) -> Result<Answer<Bytes>, Error> {
        texts(self.0.ask(Key::new(name, RecordType::TXT)?).await)
    }

    /// As [`Dns::txt`], but only what is in the cache: `None` when that would have to be asked for.
    #[must_use]
    pub fn cached_txt(&self, name: &str) -> Option<Result<Answer<Bytes>, Error>> {
        let key = match Key::new(name, RecordType::TXT) {
            Ok(key) => key,
            Err(error) => return Some(Err(error)),
        };
        Some(texts(self.0.cache.fresh(&key)?.result))
    }

    /// IPv4 addresses.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ipv4(&self, name: &str) -> Result<Answer<Ipv4Addr>, Error> {
        match self.0.ask(Key::new(name, RecordType::A)?).await? {
            (Values::V4(values), dnssec) => Ok(Answer { values, dnssec }),
            _ => Err(Error::NoRecord),
        }
    }

    /// IPv6 addresses.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ipv6(&self, name: &str) -> Result<Answer<Ipv6Addr>, Error> {
        match self.0.ask(Key::new(name, RecordType::AAAA)?).await? {
            (Values::V6(values), dnssec) => Ok(Answer { values, dnssec }),
            _ => Err(Error::NoRecord),
        }
    }

    /// IPv6 and IPv4 addresses, asked for at once; IPv4 first. One family's failure does not hide the other's answer.
    ///
    /// # Errors
    /// See [`Error`]; a failure of one family counts when the other has nothing.
    pub async fn addresses(&self, name: &str) -> Result<Answer<IpAddr>, Error> {
        let (v4, v6) = tokio::join!(self.ipv4(name), self.ipv6(name));
        let mut values: Vec<IpAddr> = Vec::new();
        let mut dnssec = None;
        let mut fault: Option<Error> = None;
        let families = [
            v4.map(|answer| (answer.values.iter().copied().map(IpAddr::V4).collect::<Vec<_>>(), answer.dnssec)),
            v6.map(|answer| (answer.values.iter().copied().map(IpAddr::V6).collect::<Vec<_>>(), answer.dnssec)),
        ];
        for family in families {
            match family {
                Ok((addresses, status)) => {
                    values.extend(addresses);
                    dnssec = Some(dnssec.map_or(status, |other: Dnssec| other.weaker(status)));
                }
                Err(error) => {
                    fault = Some(match fault {
                        Some(other) => other.graver(error),
                        None => error,
                    })
                }
            }
        }
        match (dnssec, fault) {
            (Some(dnssec), _) => Ok(Answer { values: values.into(), dnssec }),
            (None, fault) => Err(fault.unwrap_or(Error::NoRecord)),
        }
    }

    /// Mail exchangers by preference, the best first. A null MX (RFC 7505) is the single host `"."`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn mx(&self, name: &str) -> Result<Answer<Exchange>, Error> {
        match self.0.ask(Key::new(name, RecordType::MX)?).await? {
            (Values::Exchanges(values), dnssec) => Ok(Answer { values, dnssec }),
            _ => Err(Error::NoRecord),
        }
    }

    /// The names of an address, lower case, without the final dot.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn ptr(&self, address: IpAddr) -> Result<Answer<String>, Error> {
        match self.0.ask(Key::new(&reverse_name(address), RecordType::PTR)?).await? {
            (Values::Names(values), dnssec) => Ok(Answer { values, dnssec }),
            _ => Err(Error::NoRecord),
        }
    }

    /// IPv4 answers for each query name (RFC 5782), asked at once; results stand in the order of the queries.
    pub async fn dnsbl(&self, queries: &[String]) -> Vec<Result<Answer<Ipv4Addr>, Error>> {
        let mut results: Vec<Result<Answer<Ipv4Addr>, Error>> = vec![Err(Error::Timeout); queries.len()];
        let mut running = JoinSet::new();
        let mut waiting = queries.iter().enumerate();
        loop {
            while running.len() < DNSBL_AT_ONCE {
                let Some((index, query)) = waiting.next() else { break };
                // An answer from the cache costs no task.
                match Key::new(query, RecordType::A) {
                    Err(error) => results[index] = Err(error),
                    Ok(key) => match self.0.cache.fresh(&key) {
                        Some(entry) => results[index] = v4_only(entry.result),
                        None => {
                            let inner = Arc::clone(&self.0);
                            running.spawn(async move { (index, v4_only(inner.ask(key).await)) });
                        }
                    },
                }
            }
            match running.join_next().await {
                Some(Ok((index, result))) => results[index] = result,
                Some(Err(_)) => {}
                None => return results,
            }
        }
    }

    /// Units of the cache's bound that its answers take: one for each, and one for each 512 bytes of it.
    #[must_use]
    pub fn cached_units(&self) -> u64 {
        self.0.cache.weight()
    }

    /// Questions on the wire now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        (IN_FLIGHT - self.0.in_flight.available_permits().min(IN_FLIGHT)) as u64
    }

    /// Answers in the cache, for the metrics.
    #[must_use]
    pub fn cached(&self) -> usize {
        self.0.cache.len()
    }
}

fn texts(result: Result<(Values, Dnssec), Error>) -> Result<Answer<Bytes>, Error> {
    match result? {
        (Values::Texts(values), dnssec) => Ok(Answer { values, dnssec }),
        _ => Err(Error::NoRecord),
    }
}

fn v4_only(result: Result<(Values, Dnssec), Error>) -> Result<Answer<Ipv4Addr>, Error> {
    match result? {
        (Values::V4(values), dnssec) => Ok(Answer { values, dnssec }),
        _ => Err(Error::NoRecord),
    }
}

impl Inner {
    async fn ask(&self, key: Key) -> Result<(Values, Dnssec), Error> {
        if let Some(entry) = self.cache.fresh(&key) {
            return entry.result;
        }
        // Whoever comes first asks; the others wait for that answer.
        match tokio::time::timeout(self.timeout, self.cache.wait_or_ask(&key)).await {
            Ok(Ok(entry)) => entry.result,
            Ok(Err(place)) => {
                // Silence is remembered like any failure, so that not everybody waits for it.
                let entry = tokio::time::timeout(self.timeout, self.query(&key)).await;
                let entry = entry.unwrap_or_else(|_| Entry::failure(Error::Timeout));
                let result = entry.result.clone();
                place.fill(entry);
                result
            }
            Err(_) => Err(Error::Timeout),
        }
    }

    async fn query(&self, key: &Key) -> Entry {
        let Ok(_permit) = self.in_flight.acquire().await else {
            return Entry::failure(Error::Failure("shutting down".to_owned()));
        };
        let name = match key.absolute_name() {
            Ok(name) => name,
            Err(error) => return Entry::failure(error),
        };
        match self.resolver.lookup(name, key.kind()).await {
            Ok(lookup) => {
                let until = lookup.valid_until();
                let records = lookup.answers().iter().filter(|record| record.record_type() == key.kind());
                let mut dnssec: Option<Dnssec> = None;
                let mut data = Vec::new();
                for record in records {
                    let status = if self.validate { Dnssec::from(record.proof) } else { Dnssec::Indeterminate };
                    dnssec = Some(dnssec.map_or(status, |other| other.weaker(status)));
                    data.push(&record.data);
                }
                match dnssec {
                    None => Entry::absent(Error::NoRecord, None),
                    Some(Dnssec::Bogus) => Entry::failure(Error::Failure("DNSSEC validation failed".to_owned())),
                    Some(dnssec) => Entry::found(values(&data), dnssec, until),
                }
            }
            Err(error) => answer::entry_of_error(error),
        }
    }
}

/// The records in the form we hand out. They are all of one type.
fn values(data: &[&RData]) -> Values {
    match data.first() {
        Some(RData::TXT(_)) => Values::Texts(
            data.iter()
                .filter_map(|record| match record {
                    RData::TXT(text) => match &*text.txt_data {
                        [one] => Some(Bytes::copy_from_slice(one)),
                        strings => Some(Bytes::from(strings.concat())),
                    },
                    _ => None,
                })
                .collect(),
        ),
        Some(RData::A(_)) => Values::V4(
            data.iter().filter_map(|record| if let RData::A(a) = record { Some(a.0) } else { None }).collect(),
        ),
        Some(RData::AAAA(_)) => Values::V6(
            data.iter().filter_map(|record| if let RData::AAAA(a) = record { Some(a.0) } else { None }).collect(),
        ),
        Some(RData::MX(_)) => {
            let mut exchanges: Vec<Exchange> = data
                .iter()
                .filter_map(|record| match record {
                    RData::MX(mx) => Some(Exchange { preference: mx.preference, host: host(&mx.exchange) }),
                    _ => None,
                })
                .collect();
            exchanges.sort_by_key(|exchange| exchange.preference);
            Values::Exchanges(exchanges.into())
        }
        _ => Values::Names(
            data.iter()
                .filter_map(|record| if let RData::PTR(name) = record { Some(host(&name.0)) } else { None })
                .collect(),
        ),
    }
}

/// A name as text, the way it is asked for: lower case, no final dot, nothing escaped. The root is `"."`, and so is what
/// no text could name again, because a label has a dot or a control character in it.
fn host(name: &Name) -> String {
    let plain = |label: &[u8]| label.iter().all(|byte| (b' '..=b'~').contains(byte) && *byte != b'.');
    if name.is_root() || !name.iter().all(plain) {
        return ".".to_owned();
    }
    let labels: Vec<String> = name.iter().map(|label| String::from_utf8_lossy(label).to_ascii_lowercase()).collect();
    labels.join(".")
}

fn name_server(address: std::net::SocketAddr) -> NameServerConfig {
    let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
    udp.port = address.port();
    tcp.port = address.port();
    // The operator named these servers: what they say does not exist does not exist.
    NameServerConfig::new(address.ip(), true, vec![udp, tcp])
}

/// The name under which an address's PTR record stands (RFC 1035 section 3.5, RFC 3596 section 2.5).
#[must_use]
pub fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let mut name = String::with_capacity(72);
            for octet in v6.octets().iter().rev() {
                for nibble in [octet & 15, octet >> 4] {
                    name.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
                    name.push('.');
                }
            }
            name.push_str("ip6.arpa");
            name
        }
    }
}

/// A name as it is asked for: lower case, A-labels, no final dot.
///
/// # Errors
/// [`Error::Invalid`] with the reason.
pub fn clean_name(name: &str) -> Result<String, Error> {
    let invalid = |reason: &str| Err(Error::Invalid(reason.to_owned()));
    let name = name.strip_suffix('.').unwrap_or(name);
    let name = mail_auth::common::to_a_label(name);
    if name.is_empty() || name.len() > NAME_LIMIT {
        return invalid("a name has 1 to 253 characters");
    }
    // A space is odd, but a label may have it, and SPF's macros can make one.
    if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return invalid("a name has printable ASCII characters only");
    }
    if name.split('.').any(|label| label.is_empty() || label.len() > 63) {
        return invalid("a label has 1 to 63 characters");
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests;
