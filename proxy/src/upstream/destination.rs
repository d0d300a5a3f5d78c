//! From a route and a recipient's domain to hosts, and from a host to addresses.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mailweir_smtp::address::Domain;

use super::error::UpstreamError;
use crate::config::{UpstreamHost, Upstreams};
use crate::services::dns::{self, Dns, Exchange};

/// Where SMTP servers listen for each other (RFC 5321 section 4.5.4.2).
const SMTP_PORT: u16 = 25;
/// Mail exchangers of a domain tried; RFC 5321 section 5.1 lets a client stop somewhere.
const EXCHANGERS: usize = 10;
/// Addresses of a host tried.
const ADDRESSES: usize = 6;

/// Hosts to try, best first.
pub(super) enum Destination {
    /// The configured ones.
    Hosts(Arc<[Arc<UpstreamHost>]>),
    /// The recipient domain's mail exchangers.
    Mx,
}

impl Destination {
    pub(super) fn new(upstreams: &Upstreams) -> Self {
        match upstreams {
            Upstreams::Hosts(hosts) => Self::Hosts(hosts.iter().cloned().map(Arc::new).collect()),
            Upstreams::Mx => Self::Mx,
        }
    }

    /// The hosts for a domain.
    ///
    /// # Errors
    /// Those about the domain; never any for configured hosts.
    pub(super) async fn hosts(
        &self,
        domain: &Domain,
        dns: &Dns,
        hostname: &str,
    ) -> Result<Vec<Arc<UpstreamHost>>, UpstreamError> {
        match self {
            Self::Hosts(hosts) => Ok(hosts.to_vec()),
            Self::Mx => Box::pin(exchangers(domain, dns, hostname)).await,
        }
    }
}

/// RFC 5321 section 5.1.
async fn exchangers(domain: &Domain, dns: &Dns, hostname: &str) -> Result<Vec<Arc<UpstreamHost>>, UpstreamError> {
    if let Some(address) = domain.address_literal() {
        return Ok(vec![smtp_host(address.to_string())]);
    }
    let records = match dns.mx(domain.as_str()).await {
        Ok(answer) => answer.values,
        // An implicit MX: the domain is its own host.
        Err(dns::Error::NoRecord) => {
            let name = dns::clean_name(domain.as_str()).map_err(|error| lookup_error(domain.as_str(), &error))?;
            return Ok(vec![smtp_host(name)]);
        }
        Err(error) => return Err(lookup_error(domain.as_str(), &error)),
    };
    let names = choose(&records, hostname).map_err(|refusal| match refusal {
        Refusal::NullMx => UpstreamError::NullMx(domain.to_string()),
        Refusal::Loop => UpstreamError::Loop(domain.to_string()),
    })?;
    Ok(names.into_iter().map(smtp_host).collect())
}

#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    NullMx,
    Loop,
}

/// Exchangers by preference, in random order among equals; ours and what is not better than ours left out.
fn choose(records: &[Exchange], hostname: &str) -> Result<Vec<String>, Refusal> {
    // RFC 7505: a lone "."; among others it is no host.
    let mut records: Vec<&Exchange> = records.iter().filter(|record| record.host != ".").collect();
    if records.is_empty() {
        return Err(Refusal::NullMx);
    }
    let own = records.iter().filter(|record| record.host.eq_ignore_ascii_case(hostname));
    if let Some(preference) = own.map(|record| record.preference).min() {
        records.retain(|record| record.preference < preference);
        if records.is_empty() {
            return Err(Refusal::Loop);
        }
    }
    fastrand::shuffle(&mut records);
    records.sort_by_key(|record| record.preference);
    Ok(records.into_iter().take(EXCHANGERS).map(|record| record.host.clone()).collect())
}

/// A host's addresses. The operator's names may be in /etc/hosts as well; those of exchangers come from the DNS only.
///
/// # Errors
/// [`UpstreamError::NoMailServer`] or [`UpstreamError::Lookup`].
pub(super) async fn addresses(
    host: &UpstreamHost,
    destination: &Destination,
    dns: &Dns,
) -> Result<Vec<SocketAddr>, UpstreamError> {
    if let Ok(address) = host.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, host.port)]);
    }
    let error = match dns.addresses(&host.host).await {
        Ok(answer) => {
            let addresses = answer.values.iter().take(ADDRESSES);
            return Ok(addresses.map(|address| SocketAddr::new(*address, host.port)).collect());
        }
        Err(error) => error,
    };
    if matches!(destination, Destination::Hosts(_))
        && let Ok(found) = system_addresses(host).await
    {
        return Ok(found);
    }
    Err(lookup_error(&host.host, &error))
}

/// What the system's resolver knows, /etc/hosts above all.
async fn system_addresses(host: &UpstreamHost) -> std::io::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((host.host.as_str(), host.port)).await?;
    Ok(found.take(ADDRESSES).collect())
}

fn smtp_host(host: String) -> Arc<UpstreamHost> {
    Arc::new(UpstreamHost { host, port: SMTP_PORT })
}

fn lookup_error(name: &str, error: &dns::Error) -> UpstreamError {
    if error.is_temporary() {
        UpstreamError::Lookup { name: name.to_owned(), detail: error.to_string() }
    } else {
        UpstreamError::NoMailServer(name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(records: &[(u16, &str)]) -> Result<Vec<String>, Refusal> {
        let records: Vec<Exchange> = records
            .iter()
            .map(|(preference, host)| Exchange { preference: *preference, host: (*host).to_owned() })
            .collect();
        choose(&records, "us.example")
    }

    #[test]
    fn preference_orders_exchangers() {
        let expected = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(chosen(&[(30, "c"), (10, "a"), (20, "b")]), Ok(expected));
    }

    #[test]
    fn equals_take_turns() {
        let first: std::collections::HashSet<String> =
            (0..200).map(|_| chosen(&[(10, "a"), (10, "b"), (20, "c")]).unwrap().swap_remove(0)).collect();
        assert_eq!(first, ["a", "b"].map(str::to_owned).into());
    }

    #[test]
    fn null_mx_and_loops() {
        assert_eq!(chosen(&[(0, ".")]), Err(Refusal::NullMx));
        assert_eq!(chosen(&[(0, "."), (5, "a")]), Ok(vec!["a".to_owned()]));
        assert_eq!(chosen(&[(10, "US.example"), (20, "a")]), Err(Refusal::Loop));
        assert_eq!(chosen(&[(10, "us.example"), (10, "b"), (5, "a")]), Ok(vec!["a".to_owned()]));
    }
}
