//! One value at a time: durations, sizes, addresses, networks, names. Every refusal says how to write it right.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::Name;
use ipnet::IpNet;
use toml::de::DeValue;

use super::error::{Problem, nearest};
use super::table::described;
use super::types::UpstreamHost;

/// Longer than any of ours needs to be, and short enough that no sum of a few overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) fn string<'v>(value: &'v DeValue<'_>) -> Result<&'v str, Problem> {
    value.as_str().ok_or_else(|| {
        let what = format!("must be a string, not {}", described(value));
        Problem::new(what, "write it in double quotes")
    })
}

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Problem> {
    let what = || format!("must be true or false, not {}", described(value));
    value.as_bool().ok_or_else(|| Problem::new(what(), "write true or false, without quotes"))
}

/// An integer of at least `minimum`, and at most a thousand million: nothing we count goes beyond.
pub(super) fn count(minimum: usize) -> impl Fn(&DeValue<'_>) -> Result<usize, Problem> {
    const MAXIMUM: usize = 1_000_000_000;
    move |value| {
        let remedy = || format!("write an integer from {minimum} to {MAXIMUM}, without quotes");
        let Some(integer) = value.as_integer() else {
            return Err(Problem::new(format!("must be an integer, not {}", described(value)), remedy()));
        };
        usize::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| (minimum..=MAXIMUM).contains(number))
            .ok_or_else(|| Problem::new(format!("{integer} is out of range"), remedy()))
    }
}

/// One of a few words.
pub(super) fn one_of<T: Copy>(words: &[(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Result<T, Problem> {
    move |value| {
        let all = || words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        let Some(written) = value.as_str() else {
            return Err(Problem::new(
                format!("must be a string, not {}", described(value)),
                format!("one of {}", all()),
            ));
        };
        match words.iter().find(|(word, _)| *word == written) {
            Some((_, meaning)) => Ok(*meaning),
            None => {
                let near = nearest(written, words.iter().map(|(word, _)| *word));
                let hint = near.map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
                Err(Problem::new(format!("{written:?} is not known here"), format!("{hint}one of {}", all())))
            }
        }
    }
}

/// A duration of at least a millisecond: `"100ms"`, `"30s"`, `"5m"`, `"1h"`, `"1d"`, or several such after one another.
pub(super) fn duration(value: &DeValue<'_>) -> Result<Duration, Problem> {
    let duration = duration_or_zero(value)?;
    if duration.is_zero() {
        return Err(Problem::new("must be longer than 0", "write a duration of at least \"1ms\""));
    }
    Ok(duration)
}

/// As [`duration`], with 0 allowed.
pub(super) fn duration_or_zero(value: &DeValue<'_>) -> Result<Duration, Problem> {
    const REMEDY: &str = "write a number and ms, s, m, h or d in quotes, such as \"30s\" or \"1m30s\"";
    let Some(text) = value.as_str() else {
        return Err(Problem::new(format!("must be a duration in a string, not {}", described(value)), REMEDY));
    };
    let duration = duration_text(text).ok_or_else(|| Problem::new(format!("{text:?} is not a duration"), REMEDY))?;
    if duration > LONGEST {
        return Err(Problem::new(format!("{text:?} is too long"), "write at most \"365d\""));
    }
    Ok(duration)
}

fn duration_text(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    loop {
        let (number, unit);
        (number, rest) = leading_number(rest)?;
        (unit, rest) = rest.split_at(rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len()));
        let millis: u64 = match unit.trim() {
            "ms" => 1,
            "s" => 1000,
            "m" | "min" => 60 * 1000,
            "h" => 3600 * 1000,
            "d" => 24 * 3600 * 1000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(millis)?)?;
        if rest.is_empty() {
            return Some(Duration::from_millis(total));
        }
    }
}

/// A size in bytes of at least 1: `"512MiB"`, `"64KiB"`, `"10MB"`, `"4096B"`.
pub(super) fn size(value: &DeValue<'_>) -> Result<u64, Problem> {
    match size_or_zero(value)? {
        0 => Err(Problem::new("must be more than 0", "write a size such as \"64MiB\"")),
        size => Ok(size),
    }
}

/// As [`size`], with 0 allowed.
pub(super) fn size_or_zero(value: &DeValue<'_>) -> Result<u64, Problem> {
    const REMEDY: &str = "write a number and B, KiB, MiB, GiB, TiB, kB, MB, GB or TB in quotes, such as \"64MiB\"";
    let Some(text) = value.as_str() else {
        return Err(Problem::new(format!("must be a size in a string, not {}", described(value)), REMEDY));
    };
    size_text(text).ok_or_else(|| Problem::new(format!("{text:?} is not a size"), REMEDY))
}

fn size_text(text: &str) -> Option<u64> {
    let (number, unit) = leading_number(text)?;
    let bytes: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    // The signed bound keeps sums of sizes clear of overflow.
    number.checked_mul(bytes).filter(|size| *size <= i64::MAX as u64)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

/// An address to bind: `"127.0.0.1:25"`, `"[::1]:25"`.
pub(super) fn socket_address(value: &DeValue<'_>) -> Result<SocketAddr, Problem> {
    const REMEDY: &str = "write an address and a port, such as \"127.0.0.1:25\", \"0.0.0.0:25\" or \"[::]:25\"";
    let text = string(value)?;
    text.parse().map_err(|_| {
        let what = match text.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(_) => format!("{text:?} has no port"),
            Err(_) => format!("{text:?} is not an address with a port"),
        };
        Problem::new(what, REMEDY)
    })
}

/// A DNS server: as [`socket_address`], port 53 when none is given.
pub(super) fn resolver(value: &DeValue<'_>) -> Result<SocketAddr, Problem> {
    if let Ok(address) = string(value)?.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, 53));
    }
    socket_address(value)
}

/// `"10.0.0.0/8"`, `"2001:db8::/32"`, or one address.
pub(super) fn network(value: &DeValue<'_>) -> Result<IpNet, Problem> {
    let text = string(value)?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.into());
    }
    let Ok(network) = text.parse::<IpNet>() else {
        let remedy = "write an address, or a network such as \"10.0.0.0/8\" or \"2001:db8::/32\"";
        return Err(Problem::new(format!("{text:?} is not a network"), remedy));
    };
    if network.addr() != network.network() {
        let what = format!("{text:?} has bits set beyond its prefix");
        return Err(Problem::new(what, format!("write \"{}\" for the whole network", network.trunc())));
    }
    Ok(network)
}

/// A domain name in letters, digits and hyphens (RFC 5321 section 2.3.5), lower case.
pub(super) fn host_name(value: &DeValue<'_>) -> Result<String, Problem> {
    let text = string(value)?;
    if !is_host_name(text) {
        let remedy = "write a full domain name such as \"mx.example.com\"";
        return Err(Problem::new(format!("{text:?} is not a domain name"), remedy));
    }
    Ok(text.to_ascii_lowercase())
}

/// A mail domain, made lower case and A-labels (RFC 5891), or `*`.
pub(super) fn mail_domain(value: &DeValue<'_>) -> Result<String, Problem> {
    let text = string(value)?;
    if text == "*" {
        return Ok(text.to_owned());
    }
    domain_to_ascii(text).ok_or_else(|| {
        let remedy = "write a domain such as \"example.com\", or \"*\" for any; each subdomain is listed by itself";
        Problem::new(format!("{text:?} is not a mail domain"), remedy)
    })
}

/// A domain in lower case and A-labels; `None` when it is none.
pub fn domain_to_ascii(domain: &str) -> Option<String> {
    if domain.is_ascii() {
        return is_host_name(domain).then(|| domain.to_ascii_lowercase());
    }
    let ascii = Name::from_utf8(domain).ok()?.to_ascii().to_ascii_lowercase();
    is_host_name(&ascii).then_some(ascii)
}

/// `host`, `host:port`, `address`, `address:port`, `[IPv6]` or `[IPv6]:port`.
pub(super) fn upstream_host(text: &str, default_port: u16) -> Result<UpstreamHost, Problem> {
    const REMEDY: &str = "write host, host:port, 192.0.2.1:port or [2001:db8::1]:port";
    let refused = |what: &str| Problem::new(format!("{text:?} {what}"), REMEDY);
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or_else(|| refused("has no closing bracket"))?;
            address.parse::<Ipv6Addr>().map_err(|_| refused("has no IPv6 address in its brackets"))?;
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':').ok_or_else(|| refused("has no colon before its port"))?),
            };
            (address, port)
        }
        None if text.parse::<Ipv6Addr>().is_ok() => return Err(refused("is an IPv6 address without brackets")),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.parse::<IpAddr>().is_err() && !is_host_name(host) {
        return Err(refused("has neither a domain name nor an address as its host"));
    }
    let port = match port {
        None => default_port,
        Some(port) => {
            port.parse().ok().filter(|port| *port != 0).ok_or_else(|| refused("has no port from 1 to 65535"))?
        }
    };
    Ok(UpstreamHost { host: host.to_ascii_lowercase(), port })
}

fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    // A last label of digits would make it look like an address.
    let named = text.rsplit('.').next().is_some_and(|last| !last.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= 253 && named && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> DeValue<'_> {
        DeValue::String(text.into())
    }

    #[test]
    fn durations() {
        let good =
            [("100ms", 100), ("30s", 30_000), ("1m30s", 90_000), ("5min", 300_000), ("1d", 86_400_000), ("2 s", 2000)];
        for (written, millis) in good {
            assert_eq!(duration(&text(written)), Ok(Duration::from_millis(millis)), "{written}");
        }
        for written in
            ["", "10", "s", "1y", "-1s", "1.5s", "0s", "366d", "99999999999999999999s", "184467440737095516d"]
        {
            assert!(duration(&text(written)).is_err(), "{written}");
        }
    }

    #[test]
    fn sizes() {
        let good =
            [("1B", 1), ("64KiB", 65_536), ("50MiB", 52_428_800), ("2 gib", 2_147_483_648), ("10MB", 10_000_000)];
        for (written, bytes) in good {
            assert_eq!(size(&text(written)), Ok(bytes), "{written}");
        }
        for written in ["", "10", "MiB", "-1MiB", "1.5MiB", "0MiB", "99999999TiB", "1XiB", "18446744073709551615B"] {
            assert!(size(&text(written)).is_err(), "{written}");
        }
    }

    #[test]
    fn addresses_to_bind() {
        for written in ["127.0.0.1:25", "[::1]:2525", "0.0.0.0:0", "[2001:db8::1]:25"] {
            assert!(socket_address(&text(written)).is_ok(), "{written}");
        }
        for written in ["127.0.0.1", "::1", "[::1]", ":25", "*:25", "localhost:25", "127.0.0.1:70000", "::1:25", ""] {
            assert!(socket_address(&text(written)).is_err(), "{written}");
        }
        assert_eq!(resolver(&text("::1")), Ok("[::1]:53".parse().unwrap()));
        assert_eq!(resolver(&text("127.0.0.1:5353")), Ok("127.0.0.1:5353".parse().unwrap()));
    }

    #[test]
    fn networks() {
        for written in ["10.0.0.0/8", "::1", "192.0.2.7", "2001:db8::/32", "0.0.0.0/0"] {
            assert!(network(&text(written)).is_ok(), "{written}");
        }
        for written in ["10.0.0.1/8", "10.0.0.0/33", "10.0.0/8", "2001:db8::1/32", "example.com", ""] {
            assert!(network(&text(written)).is_err(), "{written}");
        }
    }

    #[test]
    fn domains() {
        for written in ["mx.example.com", "localhost", "a-b.example", "3com.com", "MX.Example.COM"] {
            assert!(host_name(&text(written)).is_ok(), "{written}");
        }
        for written in
            ["", ".", "example.com.", "-a.example", "a_b.example", "127.0.0.1", "a b", "a..b", "x.123", "é.example"]
        {
            assert!(host_name(&text(written)).is_err(), "{written}");
        }
        assert_eq!(mail_domain(&text("BÜCHER.example")).as_deref(), Ok("xn--bcher-kva.example"));
        assert_eq!(mail_domain(&text("Example.COM")).as_deref(), Ok("example.com"));
        assert_eq!(mail_domain(&text("*")).as_deref(), Ok("*"));
        assert!(mail_domain(&text("*.example.com")).is_err());
        assert!(mail_domain(&text("user@example.com")).is_err());
    }

    #[test]
    fn upstreams() {
        let host = |host: &str, port| Ok(UpstreamHost { host: host.to_owned(), port });
        assert_eq!(upstream_host("mail.example.com", 25), host("mail.example.com", 25));
        assert_eq!(upstream_host("Mail.example.com:2525", 25), host("mail.example.com", 2525));
        assert_eq!(upstream_host("192.0.2.1:25", 25), host("192.0.2.1", 25));
        assert_eq!(upstream_host("[::1]:2525", 25), host("::1", 2525));
        assert_eq!(upstream_host("[2001:db8::1]", 25), host("2001:db8::1", 25));
        for written in [
            "",
            "::1",
            "::1:25",
            "[::1",
            "[::1]25",
            "[127.0.0.1]:25",
            "host:",
            "host:0",
            "host:99999",
            "a b",
            "300.1.1.1",
            "h:1:2",
        ] {
            assert!(upstream_host(written, 25).is_err(), "{written}");
        }
    }

    #[test]
    fn counts() {
        let table = toml::de::DeTable::parse("a = 0\nb = 0x10\nc = -1\nd = 99999999999\ne = 1_000").unwrap();
        let value = |key: &str| table.get_ref().get(key).unwrap().get_ref();
        assert!(count(1)(value("a")).is_err());
        assert_eq!(count(0)(value("a")), Ok(0));
        assert_eq!(count(1)(value("b")), Ok(16));
        assert!(count(0)(value("c")).is_err());
        assert!(count(0)(value("d")).is_err());
        assert_eq!(count(0)(value("e")), Ok(1000));
    }
}
