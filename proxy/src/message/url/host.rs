//! Hosts: which one a browser would go to.

use url::{Host, Url};

/// The host of an absolute URL with a scheme that goes to a host; userinfo, backslashes, tabs and newlines, percent
/// encoding and the like are taken as browsers take them.
pub(super) fn of_url(url: &str) -> Option<String> {
    let rest = ["https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    // What follows the authority has no part in the host, and cannot be wrong.
    let authority = rest.and_then(|rest| rest.split(['/', '\\', '?', '#']).next());
    authority.and_then(simple).or_else(|| parsed(url))
}

fn parsed(url: &str) -> Option<String> {
    let parsed = Url::parse(url).ok()?;
    if !matches!(parsed.scheme(), "http" | "https" | "ftp" | "ws" | "wss") {
        return None;
    }
    canonical(parsed.host()?)
}

/// A bare host name.
pub(super) fn of_name(name: &str) -> Option<String> {
    simple(name).or_else(|| canonical(Host::parse(name).ok()?))
}

/// The name of a bare host that clients would take for a link.
pub(super) fn of_plausible_name(name: &str) -> Option<String> {
    // A single label is none, nor could it become several: what stands for a dot is not US-ASCII.
    if !name.contains('.') && name.is_ascii() && !name.contains('%') {
        return None;
    }
    of_name(name).filter(|host| is_plausible_domain(host))
}

/// A name that is its own host but for its case: letters, digits, hyphens, underscores and single dots, nothing that could
/// be an address or in A-labels. Most are, and need not be parsed.
fn simple(name: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let last = name.rsplit('.').next()?;
    let is_simple = name.len() <= 253
        && last.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.bytes().all(is_plain)
        && !name.as_bytes().windows(2).any(|pair| pair == b"--");
    is_simple.then(|| name.to_ascii_lowercase())
}

fn canonical<T: AsRef<str>>(host: Host<T>) -> Option<String> {
    match host {
        Host::Domain(domain) => {
            let domain = domain.as_ref().trim_end_matches('.');
            (!domain.is_empty() && domain.len() <= 253).then(|| domain.to_owned())
        }
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
    }
}

/// Top-level domains that are no one's and never will be (RFC 2606 section 2), which trials and documentation use.
const RESERVED: [&str; 2] = ["test", "example"];

/// Whether a client would take a name without a scheme for a link: two labels or more, below a top-level domain that there
/// is, or after "www".
pub(super) fn is_plausible_domain(host: &str) -> bool {
    let Some((rest, last)) = host.rsplit_once('.') else { return false };
    let is_alphabetic = (2..=24).contains(&last.len()) && last.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_top_level = psl::suffix(last.as_bytes()).is_some_and(|suffix| suffix.is_known())
        || RESERVED.contains(&last)
        || (is_alphabetic && rest.starts_with("www."));
    is_top_level && rest.split('.').all(|label| (1..=63).contains(&label.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn simple_names_are_what_parsing_makes_of_them(
            name in "([a-zA-Z0-9_-]{0,4}\\.?){0,5}|0?[xX][0-9a-f]{1,3}|[ -~]{0,8}",
            rest in "([/?#\\\\][ -~\t\r\n\u{e9}]{0,8})?",
        ) {
            if let Some(host) = simple(&name) {
                prop_assert_eq!(canonical(Host::parse(&name).unwrap()), Some(host.clone()), "{}", name);
                prop_assert_eq!(parsed(&format!("http://{name}{rest}")), Some(host), "{}", name);
            }
            let plausible = Host::parse(&name).ok().and_then(canonical).filter(|host| is_plausible_domain(host));
            prop_assert_eq!(of_plausible_name(&name), plausible, "{}", name);
        }
    }

    #[test]
    fn names_that_are_links() {
        for host in ["bad.com", "a.b.co.uk", "x.xn--p1ai", "www.bad.nonesuch", "bad.zip", "bad.test", "bad.example"] {
            assert!(is_plausible_domain(host), "{host}");
        }
        for host in ["com", "file.txt", "foo.comm", "parent.parent", "a..com", "www.txt", "1.2.3", "index.html"] {
            assert!(!is_plausible_domain(host), "{host}");
        }
    }

    #[test]
    fn hosts_as_browsers_read_them() {
        for (url, host) in [
            ("http://Good.example@BAD.example:80/x", Some("bad.example")),
            ("http://good.example\\@bad.example/", Some("good.example")),
            ("http:\\\\bad.example\\x", Some("bad.example")),
            ("http:bad.example", Some("bad.example")),
            ("ht\ntp://b\tad.exa\r\nmple", Some("bad.example")),
            ("http://%62ad%2Eexample/", Some("bad.example")),
            ("http://bad\u{3002}example", Some("bad.example")),
            ("http://b\u{ad}ad.\u{200b}example", Some("bad.example")),
            ("http://b\u{fc}cher.example", Some("xn--bcher-kva.example")),
            ("http://\u{ff42}ad.example", Some("bad.example")),
            ("http://bad.example./", Some("bad.example")),
            ("http://3232235777/", Some("192.168.1.1")),
            ("http://0xC0.0250.257", Some("192.168.1.1")),
            ("http://0300.168.1.1", Some("192.168.1.1")),
            ("http://[2001:DB8::1]:80/", Some("2001:db8::1")),
            ("mailto:a@bad.example", None),
            ("javascript://bad.example", None),
            ("http://", None),
        ] {
            assert_eq!(of_url(url).as_deref(), host, "{url}");
        }
    }
}
