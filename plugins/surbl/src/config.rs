//! What stands in `[plugin.surbl.config]`, and its checks. Every error names the key and says how to mend it.

use std::net::Ipv4Addr;

use serde::Deserialize;

use crate::listing::{Action, is_refusal};

/// More domains than this would let one message send thousands of queries.
const MAX_DOMAINS: u32 = 200;

/// The configuration as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The lists to ask.
    pub zones: Vec<Zone>,
    /// How many different domains of a message are looked up.
    #[serde(default = "twenty")]
    pub max_domains: u32,
    /// Domains that are not looked up, nor their subdomains.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Names under which every name one label longer has an owner of its own, beyond the public-suffix list: the
    /// two-level and three-level lists of SURBL go here.
    #[serde(default)]
    pub extra_suffixes: Vec<String>,
    /// What a list that does not answer means.
    #[serde(default)]
    pub on_dns_failure: OnDnsFailure,
}

/// A list. In some the last octet of an answer (127.0.0.x) is a set of bits, in others each answer is a code by itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Zone {
    /// The domain to ask in, such as "multi.surbl.org".
    pub zone: String,
    /// Bits that refuse the message.
    #[serde(default)]
    pub reject_bits: Vec<u16>,
    /// Bits that refuse it for now.
    #[serde(default)]
    pub tempfail_bits: Vec<u16>,
    /// Bits that put it into the quarantine.
    #[serde(default)]
    pub quarantine_bits: Vec<u16>,
    /// Bits that only tag it.
    #[serde(default)]
    pub tag_bits: Vec<u16>,
    /// Answers that refuse the message.
    #[serde(default)]
    pub reject_codes: Vec<Codes>,
    /// Answers that refuse it for now.
    #[serde(default)]
    pub tempfail_codes: Vec<Codes>,
    /// Answers that put it into the quarantine.
    #[serde(default)]
    pub quarantine_codes: Vec<Codes>,
    /// Answers that only tag it.
    #[serde(default)]
    pub tag_codes: Vec<Codes>,
    /// Whether the list knows addresses (SURBL does, some domain lists answer them with an error).
    #[serde(default = "yes")]
    pub addresses: bool,
}

/// Answers from one address to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Codes {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

/// What a list that does not answer means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDnsFailure {
    /// Nothing but the tag `surbl=temperror`.
    #[default]
    Pass,
    /// 451 4.4.3.
    Tempfail,
}

/// Check what serde cannot, and bring names into the form in which the host gives them.
///
/// # Errors
///
/// The key, what is wrong with it, and what would be right.
pub fn check(mut config: Config) -> Result<Config, String> {
    if config.zones.is_empty() {
        return Err("zones: there is none; add { zone = \"multi.surbl.org\", reject_bits = [8, 16] }".to_owned());
    }
    if !(1..=MAX_DOMAINS).contains(&config.max_domains) {
        return Err(format!("max_domains: {} is not between 1 and {MAX_DOMAINS}", config.max_domains));
    }
    for zone in &mut config.zones {
        zone.zone = name(&zone.zone).map_err(|problem| format!("zones.zone: {problem}"))?;
        zone.check().map_err(|problem| format!("zone \"{}\": {problem}", zone.zone))?;
    }
    for domain in &mut config.ignore {
        *domain = name(domain).map_err(|problem| format!("ignore: {problem}"))?;
    }
    for suffix in &mut config.extra_suffixes {
        *suffix = name(suffix).map_err(|problem| format!("extra_suffixes: {problem}"))?;
    }
    Ok(config)
}

impl Zone {
    /// The bits of each action, the most severe first.
    pub fn bits(&self) -> impl Iterator<Item = (Action, &[u16])> {
        [
            (Action::Reject, &*self.reject_bits),
            (Action::Tempfail, &*self.tempfail_bits),
            (Action::Quarantine, &*self.quarantine_bits),
            (Action::Tag, &*self.tag_bits),
        ]
        .into_iter()
    }

    /// The codes of each action, the most severe first.
    pub fn codes(&self) -> impl Iterator<Item = (Action, &[Codes])> {
        [
            (Action::Reject, &*self.reject_codes),
            (Action::Tempfail, &*self.tempfail_codes),
            (Action::Quarantine, &*self.quarantine_codes),
            (Action::Tag, &*self.tag_codes),
        ]
        .into_iter()
    }

    /// Whether the answers of this list are sets of bits.
    pub fn has_bits(&self) -> bool {
        self.bits().any(|(_, bits)| !bits.is_empty())
    }

    fn check(&self) -> Result<(), String> {
        let mut seen: u16 = 0;
        for (action, bits) in self.bits() {
            let key = action.name();
            for &bit in bits {
                if bit == 1 {
                    return Err(format!(
                        "{key}_bits: lists answer 127.0.0.1 to say that they refuse us; bit 1 is no listing"
                    ));
                }
                if !bit.is_power_of_two() || bit > 128 {
                    return Err(format!(
                        "{key}_bits: {bit} is not a bit; use 2, 4, 8, 16, 32, 64 and 128, each on its own"
                    ));
                }
                if seen & bit != 0 {
                    return Err(format!("{key}_bits: bit {bit} stands twice; one bit has one action"));
                }
                seen |= bit;
            }
        }
        let mut known: Vec<Codes> = Vec::new();
        for (action, codes) in self.codes() {
            for range in codes {
                if let Some(other) = known.iter().find(|other| other.overlaps(*range)) {
                    return Err(format!("{}_codes: {range} overlaps {other}; one code has one action", action.name()));
                }
                known.push(*range);
            }
        }
        if seen == 0 && known.is_empty() {
            return Err("it has no bits and no codes, so that no answer would matter; add reject_bits or reject_codes"
                .to_owned());
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn named(zone: &str) -> Self {
        Self {
            zone: zone.to_owned(),
            reject_bits: Vec::new(),
            tempfail_bits: Vec::new(),
            quarantine_bits: Vec::new(),
            tag_bits: Vec::new(),
            reject_codes: Vec::new(),
            tempfail_codes: Vec::new(),
            quarantine_codes: Vec::new(),
            tag_codes: Vec::new(),
            addresses: true,
        }
    }
}

impl Codes {
    /// Whether an answer is one of these.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    fn overlaps(&self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl TryFrom<String> for Codes {
    type Error = String;

    /// `127.0.1.2`, `127.0.1.2-127.0.1.99`, or `127.0.1.2-99`.
    fn try_from(text: String) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let wrong =
            || format!("\"{}\" is not a code such as \"127.0.1.2\" or \"127.0.1.2-127.0.1.99\"", text.escape_debug());
        let first: Ipv4Addr = first.trim().parse().map_err(|_| wrong())?;
        let [a, b, c, _] = first.octets();
        let last = last.trim();
        let within = last.parse::<u8>().map(|octet| Ipv4Addr::new(a, b, c, octet));
        let last = within.or_else(|_| last.parse::<Ipv4Addr>()).map_err(|_| wrong())?;
        if !first.is_loopback() || !last.is_loopback() {
            return Err(format!("{text} is not within 127.0.0.0/8, where the answers of lists are"));
        }
        if last < first {
            return Err(format!("{text} ends before it begins"));
        }
        let range = Self { first, last };
        let refusals = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 1, 255), Ipv4Addr::new(127, 255, 255, 0)];
        match refusals.into_iter().find(|refusal| range.contains(*refusal)) {
            Some(refusal) => {
                Err(format!("{text} holds {refusal}, with which lists say that they refuse us; that is no listing"))
            }
            None if is_refusal(first) => {
                Err(format!("{text}: lists say with it that they refuse us; that is no listing"))
            }
            None => Ok(range),
        }
    }
}

impl std::fmt::Display for Codes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.first == self.last {
            self.first.fmt(formatter)
        } else {
            write!(formatter, "{}-{}", self.first, self.last)
        }
    }
}

/// Lower case, without the dot at the end; international names in A-labels.
fn name(text: &str) -> Result<String, String> {
    let name = text.trim().trim_matches('.').to_ascii_lowercase();
    if !name.is_ascii() {
        return Err(format!("\"{name}\" is not ASCII; write international names as A-labels (xn--...)"));
    }
    if crate::domain::is_host_name(&name) {
        Ok(name)
    } else {
        Err(format!("\"{}\" is not a domain name", text.escape_debug()))
    }
}

fn twenty() -> u32 {
    20
}

fn yes() -> bool {
    true
}
