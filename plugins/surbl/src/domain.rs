//! From the host of a URL to the name that a list is asked for.

use std::net::IpAddr;

/// What is looked up for a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// A domain that somebody registered.
    Domain(String),
    /// An address.
    Address(IpAddr),
}

impl Subject {
    /// The subject of a host as [`mailweir_filter::mail::Url`] gives it: lower case, A-labels, dotted quad, IPv6 without
    /// brackets. `None` for what lists do not hold: single labels, public suffixes, names no resolver would take.
    pub fn of_host(host: &str, extra_suffixes: &[String]) -> Option<Self> {
        let host = host.strip_suffix('.').unwrap_or(host);
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Address(address));
        }
        if !is_host_name(host) || !host.contains('.') {
            return None;
        }
        registrable(host, extra_suffixes).map(|domain| Self::Domain(domain.to_owned()))
    }

    /// The IPv4 address that an IPv6 address maps: it leads to the same host, and lists know it by that.
    pub fn mapped(&self) -> Option<Self> {
        match self {
            Self::Address(IpAddr::V6(address)) => address.to_ipv4_mapped().map(|address| Self::Address(address.into())),
            _ => None,
        }
    }

    /// The name to ask for in a zone; an address with its octets or nibbles reversed (RFC 5782 sections 2.1 and 2.4).
    /// `None` when the two together are longer than a name may be.
    pub fn query(&self, zone: &str) -> Option<String> {
        let query = match self {
            Self::Domain(domain) => [domain.as_str(), ".", zone].concat(),
            Self::Address(IpAddr::V4(address)) => {
                let [a, b, c, d] = address.octets();
                format!("{d}.{c}.{b}.{a}.{zone}")
            }
            Self::Address(IpAddr::V6(address)) => {
                let nibbles = address.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
                nibbles.map(|nibble| format!("{nibble:x}.")).chain([zone.to_owned()]).collect()
            }
        };
        (query.len() <= 253).then_some(query)
    }

    /// Whether one of these domains is this one, or above it.
    pub fn is_under(&self, domains: &[String]) -> bool {
        match self {
            Self::Domain(domain) => domains.iter().any(|above| is_within(domain, above)),
            Self::Address(address) => domains.contains(&address.to_string()),
        }
    }
}

impl std::fmt::Display for Subject {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Domain(domain) => formatter.write_str(domain),
            Self::Address(address) => address.fmt(formatter),
        }
    }
}

/// One label more than the longest suffix that applies. A host that is itself a suffix has no owner of its own, and is
/// not looked up; one of the operator's is, as it stands.
fn registrable<'a>(host: &'a str, extra_suffixes: &[String]) -> Option<&'a str> {
    let extra = extra_suffixes.iter().filter(|suffix| is_within(host, suffix)).map(|suffix| suffix.len()).max();
    let listed = psl::suffix(host.as_bytes())?;
    let suffix = listed.as_bytes().len().max(extra.unwrap_or(0));
    if suffix >= host.len() {
        return (extra == Some(host.len())).then_some(host);
    }
    let above = host.get(..host.len() - suffix - 1)?;
    let begin = above.rfind('.').map_or(0, |dot| dot + 1);
    host.get(begin..)
}

/// Whether the host is the domain or a subdomain of it.
pub fn is_within(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

/// Letters, digits, hyphens and underscores in labels of 1 to 63, together at most 253. More than DNS registries
/// allow, because resolvers take it and so do browsers.
pub fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain_of(host: &str, extra: &[&str]) -> Option<String> {
        let extra: Vec<String> = extra.iter().map(ToString::to_string).collect();
        Subject::of_host(host, &extra).map(|subject| subject.to_string())
    }

    #[test]
    fn registrable_domains() {
        for (host, expected) in [
            ("www.example.com", Some("example.com")),
            ("example.com.", Some("example.com")),
            ("a.b.example.co.uk", Some("example.co.uk")),
            ("co.uk", None),
            ("com", None),
            ("user.github.io", Some("user.github.io")),
            ("www.user.github.io", Some("user.github.io")),
            ("github.io", None),
            ("uk.com", None),
            ("www.city.kobe.jp", Some("city.kobe.jp")),
            ("www.bad.test", Some("bad.test")),
            ("www.xn--85x722f.xn--55qx5d.cn", Some("xn--85x722f.xn--55qx5d.cn")),
            ("localhost", None),
            ("2001:db8::1", Some("2001:db8::1")),
            ("a..example.com", None),
            ("a b.example.com", None),
            ("192.0.2.7", Some("192.0.2.7")),
        ] {
            assert_eq!(domain_of(host, &[]).as_deref(), expected, "{host}");
        }
    }

    #[test]
    fn lists_of_two_and_three_levels() {
        assert_eq!(domain_of("a.user.hosting.example", &["hosting.example"]).as_deref(), Some("user.hosting.example"));
        assert_eq!(domain_of("a.b.c.d.example", &["c.d.example"]).as_deref(), Some("b.c.d.example"));
        assert_eq!(domain_of("hosting.example", &["hosting.example"]).as_deref(), Some("hosting.example"));
        assert_eq!(domain_of("github.io", &["github.io"]).as_deref(), Some("github.io"));
        assert_eq!(domain_of("a.otherhosting.example", &["hosting.example"]).as_deref(), Some("otherhosting.example"));
    }

    #[test]
    fn queries() {
        let query = |host: &str| Subject::of_host(host, &[]).and_then(|subject| subject.query("multi.surbl.org"));
        assert_eq!(query("127.0.0.2").as_deref(), Some("2.0.0.127.multi.surbl.org"));
        assert_eq!(
            query("::ffff:7f00:2").as_deref(),
            Some("2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.multi.surbl.org")
        );
        assert_eq!(query("www.example.com").as_deref(), Some("example.com.multi.surbl.org"));
        assert_eq!(
            query(&format!("{0}.{0}.{0}.{1}.com", "a".repeat(63), "b".repeat(55))).map(|query| query.len()),
            Some(75)
        );
    }
}
