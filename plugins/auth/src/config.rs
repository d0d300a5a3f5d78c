//! What stands in `[plugin.auth.config]`, and its checks. Every error names the key and says how to mend it.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What a failure of DMARC leads to.
    #[serde(default)]
    pub dmarc: DmarcMode,
    /// What an SPF fail leads to.
    #[serde(default)]
    pub spf_fail: SpfFail,
    /// `dmarc` for the From addresses of these domains and their subdomains.
    #[serde(default)]
    pub overrides: BTreeMap<String, DmarcMode>,
    /// Domains (d= of the last ARC-Seal) whose word is enough against a DMARC failure.
    #[serde(default)]
    pub trusted_arc_sealers: Vec<String>,
    /// What a DMARC record that cannot be looked up leads to.
    #[serde(default)]
    pub temperror: Temperror,
    /// What a From field that is missing, there several times or unreadable leads to.
    #[serde(default)]
    pub from_faults: OnFault,
    /// What addresses of several domains in the one From field lead to.
    #[serde(default)]
    pub several_from_domains: OnFault,
    /// Whether the name of the client's address is checked and reported.
    #[serde(default)]
    pub iprev: bool,
    /// Whether messages of clients in the listener's trusted networks go unchecked.
    #[serde(default = "yes")]
    pub skip_trusted: bool,
    /// Other names whose Authentication-Results are believed behind us, such as those of the fleet's other edges:
    /// inbound fields in their name are removed too.
    #[serde(default)]
    pub remove_results_of: Vec<String>,
}

/// What a failure of DMARC leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DmarcMode {
    /// What the domain owner asks for: p=reject refuses, p=quarantine quarantines.
    #[default]
    Enforce,
    /// p=reject and p=quarantine both quarantine.
    Quarantine,
    /// A tag and the Authentication-Results field.
    Tag,
}

/// What an SPF fail leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpfFail {
    /// A tag and the Authentication-Results field; DMARC has the last word.
    #[default]
    Tag,
    /// 550 5.7.23 at MAIL.
    Reject,
}

/// What a DMARC record that cannot be looked up leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Temperror {
    /// 451 4.4.3: who can make our queries time out cannot get around p=reject by it.
    #[default]
    Tempfail,
    /// A tag and the Authentication-Results field.
    Accept,
}

/// What a fault of the From field leads to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFault {
    /// 550 5.7.1.
    #[default]
    Reject,
    /// A tag and the Authentication-Results field.
    Tag,
}

impl Config {
    /// Check what serde cannot, and bring domains to lower case.
    ///
    /// # Errors
    ///
    /// The key, what is wrong with it, and what would be right.
    pub fn checked(mut self) -> Result<Self, String> {
        self.overrides = std::mem::take(&mut self.overrides)
            .into_iter()
            .map(|(domain, mode)| Ok((name(&domain).map_err(|problem| format!("overrides: {problem}"))?, mode)))
            .collect::<Result<_, String>>()?;
        for (key, domains) in
            [("trusted_arc_sealers", &mut self.trusted_arc_sealers), ("remove_results_of", &mut self.remove_results_of)]
        {
            for domain in domains {
                *domain = name(domain).map_err(|problem| format!("{key}: {problem}"))?;
            }
        }
        Ok(self)
    }

    /// What a DMARC failure of this From domain leads to: the override of the domain or the closest one above it.
    pub fn dmarc_mode(&self, from_domain: &str) -> DmarcMode {
        let from_domain = from_domain.trim_end_matches('.').to_ascii_lowercase();
        let mut name = from_domain.as_str();
        loop {
            if let Some(mode) = self.overrides.get(name) {
                return *mode;
            }
            match name.split_once('.') {
                Some((_, above)) => name = above,
                None => return self.dmarc,
            }
        }
    }

    /// Whether this sealer's word counts.
    pub fn trusts_sealer(&self, domain: &str) -> bool {
        let domain = domain.trim_end_matches('.');
        self.trusted_arc_sealers.iter().any(|trusted| trusted.eq_ignore_ascii_case(domain))
    }
}

fn name(text: &str) -> Result<String, String> {
    let name = text.trim().trim_end_matches('.').to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.split('.').all(is_label) {
        return Ok(name);
    }
    Err(format!("\"{}\" is not a domain name; write international names as A-labels (xn--...)", text.escape_debug()))
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_override_counts() {
        let mut config: Config = serde_json::from_str("{}").expect("the defaults");
        config.overrides = [("example.org", DmarcMode::Tag), ("strict.example.org", DmarcMode::Quarantine)]
            .map(|(name, mode)| (name.to_owned(), mode))
            .into();
        for (domain, expected) in [
            ("example.org", DmarcMode::Tag),
            ("News.Example.ORG.", DmarcMode::Tag),
            ("a.strict.example.org", DmarcMode::Quarantine),
            ("notexample.org", DmarcMode::Enforce),
            ("", DmarcMode::Enforce),
        ] {
            assert_eq!(config.dmarc_mode(domain), expected, "{domain}");
        }
    }
}
