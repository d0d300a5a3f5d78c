//! SPF records (RFC 7208 sections 4.6, 5, 6 and 12), read whole before anything of them is evaluated.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::macros::{MacroString, Place};
use crate::services::authentication::Outcome;

/// A well-formed record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) directives: Vec<Directive>,
    pub(super) redirect: Option<MacroString>,
    pub(super) explanation: Option<MacroString>,
}

#[derive(Debug)]
pub(super) struct Directive {
    /// `Pass`, `Fail`, `SoftFail` or `Neutral`.
    pub(super) outcome: Outcome,
    pub(super) mechanism: Mechanism,
}

#[derive(Debug)]
pub(super) enum Mechanism {
    All,
    Include(MacroString),
    A(Option<MacroString>, Prefixes),
    Mx(Option<MacroString>, Prefixes),
    Ptr(Option<MacroString>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(MacroString),
}

/// Prefix lengths for the two families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub(super) v4: u8,
    pub(super) v6: u8,
}

/// Whether a TXT record is an SPF record (RFC 7208 section 4.5).
pub(super) fn is_spf(text: &[u8]) -> bool {
    let Some((version, rest)) = text.split_at_checked(6) else { return false };
    version.eq_ignore_ascii_case(b"v=spf1") && matches!(rest.first(), None | Some(b' '))
}

impl Record {
    /// `text` satisfies [`is_spf`]. The error names the term.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.is_ascii()).ok_or("the record is not ASCII")?;
        let mut record = Self { directives: Vec::new(), redirect: None, explanation: None };
        for term in text.split(' ').skip(1).filter(|term| !term.is_empty()) {
            record.term(term).ok_or_else(|| format!("malformed term \"{term}\""))?;
        }
        Ok(record)
    }

    fn term(&mut self, term: &str) -> Option<()> {
        let name_end = term.find([':', '/', '=']).unwrap_or(term.len());
        if term.as_bytes().get(name_end) == Some(&b'=') {
            return self.modifier(&term[..name_end], &term[name_end + 1..]);
        }
        let (outcome, term) = match term.as_bytes().first()? {
            b'+' => (Outcome::Pass, &term[1..]),
            b'-' => (Outcome::Fail, &term[1..]),
            b'~' => (Outcome::SoftFail, &term[1..]),
            b'?' => (Outcome::Neutral, &term[1..]),
            _ => (Outcome::Pass, term),
        };
        let name_end = term.find([':', '/']).unwrap_or(term.len());
        let (name, argument) = term.split_at(name_end);
        let mechanism = Mechanism::parse(&name.to_ascii_lowercase(), argument)?;
        self.directives.push(Directive { outcome, mechanism });
        Some(())
    }

    fn modifier(&mut self, name: &str, value: &str) -> Option<()> {
        let mut rest = name.bytes();
        if !rest.next()?.is_ascii_alphabetic() || !rest.all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return None;
        }
        let place = match name.to_ascii_lowercase().as_str() {
            "redirect" => &mut self.redirect,
            "exp" => &mut self.explanation,
            _ => {
                // Unknown modifiers are ignored, once they are well-formed (section 6).
                MacroString::parse(value, Place::Domain).ok()?;
                return Some(());
            }
        };
        if place.is_some() {
            return None;
        }
        *place = Some(MacroString::parse_domain(value).ok()?);
        Some(())
    }
}

impl Mechanism {
    /// `argument` begins with its colon or slash, or is empty.
    fn parse(name: &str, argument: &str) -> Option<Self> {
        let domain = |text: &str| MacroString::parse_domain(text).ok();
        match name {
            "all" => argument.is_empty().then_some(Self::All),
            "include" => Some(Self::Include(domain(argument.strip_prefix(':')?)?)),
            "exists" => Some(Self::Exists(domain(argument.strip_prefix(':')?)?)),
            "ptr" if argument.is_empty() => Some(Self::Ptr(None)),
            "ptr" => Some(Self::Ptr(Some(domain(argument.strip_prefix(':')?)?))),
            "a" | "mx" => {
                let (target, prefixes) = split_prefixes(argument)?;
                let target = match target.strip_prefix(':') {
                    Some(text) => Some(domain(text)?),
                    None if target.is_empty() => None,
                    None => return None,
                };
                Some(if name == "a" { Self::A(target, prefixes) } else { Self::Mx(target, prefixes) })
            }
            "ip4" => {
                let (address, length) = network(argument.strip_prefix(':')?, 32)?;
                Some(Self::Ip4(address.parse().ok()?, length))
            }
            "ip6" => {
                let (address, length) = network(argument.strip_prefix(':')?, 128)?;
                Some(Self::Ip6(address.parse().ok()?, length))
            }
            _ => None,
        }
    }
}

/// Take `/24`, `//64` or `/24//64` off the end.
fn split_prefixes(argument: &str) -> Option<(&str, Prefixes)> {
    let mut prefixes = Prefixes { v4: 32, v6: 128 };
    let mut rest = argument;
    if let Some((before, digits)) = rest.rsplit_once("//")
        && is_digits(digits)
    {
        prefixes.v6 = length(digits, 128)?;
        rest = before;
    }
    if let Some((before, digits)) = rest.rsplit_once('/')
        && is_digits(digits)
        && !before.ends_with('/')
    {
        prefixes.v4 = length(digits, 32)?;
        rest = before;
    }
    Some((rest, prefixes))
}

fn network(text: &str, longest: u8) -> Option<(&str, u8)> {
    match text.split_once('/') {
        Some((address, digits)) => Some((address, length(digits, longest)?)),
        None => Some((text, longest)),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A prefix length without leading zeros.
fn length(digits: &str, longest: u8) -> Option<u8> {
    if !is_digits(digits) || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    digits.parse().ok().filter(|length| *length <= longest)
}

/// Whether `client` is in the network of `address` with that prefix length. Families never match each other.
pub(super) fn contains(address: IpAddr, prefixes: Prefixes, client: IpAddr) -> bool {
    match (address, client) {
        (IpAddr::V4(network), IpAddr::V4(client)) => {
            let shift = 32 - u32::from(prefixes.v4);
            u32::from(network).checked_shr(shift) == u32::from(client).checked_shr(shift)
        }
        (IpAddr::V6(network), IpAddr::V6(client)) => {
            let shift = 128 - u32::from(prefixes.v6);
            u128::from(network).checked_shr(shift) == u128::from(client).checked_shr(shift)
        }
        _ => false,
    }
}
