//! What stands in `[plugin.surbl.config]`, and its checks. Every error names the key and says how to mend it.

use serde::Deserialize;

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

/// A list: the last octet of its answer (127.0.0.x) is a set of bits.
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
    /// Whether the list knows IPv4 addresses (SURBL does, some domain lists answer them with an error).
    #[serde(default = "yes")]
    pub addresses: bool,
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
    fn check(&self) -> Result<(), String> {
        let mut seen: u16 = 0;
        let keys = [
            ("reject_bits", &self.reject_bits),
            ("tempfail_bits", &self.tempfail_bits),
            ("quarantine_bits", &self.quarantine_bits),
            ("tag_bits", &self.tag_bits),
        ];
        for (key, bits) in keys {
            for &bit in bits {
                if bit == 1 {
                    return Err(format!(
                        "{key}: lists answer 127.0.0.1 to say that they refuse us; bit 1 is no listing"
                    ));
                }
                if !bit.is_power_of_two() || bit > 128 {
                    return Err(format!("{key}: {bit} is not a bit; use 2, 4, 8, 16, 32, 64 and 128, each on its own"));
                }
                if seen & bit != 0 {
                    return Err(format!("{key}: bit {bit} stands twice; one bit has one action"));
                }
                seen |= bit;
            }
        }
        if seen == 0 {
            return Err("it has no bits, so that no answer would matter; add reject_bits".to_owned());
        }
        Ok(())
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
