//! From the results to what happens to the message. It reads no message and calls no host.

use mailweir_filter::authentication::{ArcResult, AuthorFault, DmarcPolicy, DmarcResult, Outcome};

use crate::config::{Config, DmarcMode, Temperror};

/// What DMARC leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Delivered: it passed, or nobody asked for more.
    Deliver,
    /// It failed, but a trusted forwarder vouches for it; this one.
    TrustedForwarder(String),
    /// It failed, but our configuration only tags.
    Tagged,
    /// Into the quarantine.
    Quarantine,
    /// Refused.
    Reject,
    /// Could not be found out now.
    Retry,
}

/// The disposition of a message whose From field is sound.
///
/// A permanent error of the record counts as no record (RFC 7489 section 6.6.3). An ARC chain counts when it passes
/// and we trust its last sealer, whose seal covers all before it (RFC 8617 section 7.2.1).
pub fn dmarc(config: &Config, result: &DmarcResult, arc: &ArcResult) -> Disposition {
    let mode = config.dmarc_mode(&result.from_domain);
    let consequence = match (result.outcome, result.policy, mode) {
        (Outcome::TempError, _, DmarcMode::Tag) => Disposition::Tagged,
        (Outcome::TempError, ..) => match config.temperror {
            Temperror::Tempfail => Disposition::Retry,
            Temperror::Accept => Disposition::Tagged,
        },
        (Outcome::Fail, DmarcPolicy::None, _) => Disposition::Deliver,
        (Outcome::Fail, _, DmarcMode::Tag) => Disposition::Tagged,
        (Outcome::Fail, _, DmarcMode::Quarantine) | (Outcome::Fail, DmarcPolicy::Quarantine, DmarcMode::Enforce) => {
            Disposition::Quarantine
        }
        (Outcome::Fail, DmarcPolicy::Reject, DmarcMode::Enforce) => Disposition::Reject,
        _ => Disposition::Deliver,
    };
    if consequence == Disposition::Deliver {
        return consequence;
    }
    match arc.sealers.last() {
        Some(sealer) if arc.outcome == Outcome::Pass && config.trusts_sealer(sealer) => {
            Disposition::TrustedForwarder(sealer.clone())
        }
        _ => consequence,
    }
}

/// The different domains of the authors' addresses, lower case.
///
/// # Errors
///
/// An address without a domain.
pub fn author_domains(authors: &[String]) -> Result<Vec<String>, AuthorFault> {
    let mut domains: Vec<String> = Vec::new();
    for author in authors {
        let domain = author.rsplit_once('@').map(|(_, domain)| domain.trim_end_matches('.').to_lowercase());
        match domain {
            Some(domain) if !domain.is_empty() => {
                if !domains.contains(&domain) {
                    domains.push(domain);
                }
            }
            _ => return Err(AuthorFault::Unparsable(author.clone())),
        }
    }
    if domains.is_empty() { Err(AuthorFault::Missing) } else { Ok(domains) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(json: &str) -> Config {
        serde_json::from_str::<Config>(json).expect("JSON").checked().expect("a configuration")
    }

    #[test]
    fn modes_and_policies() {
        use Disposition::{Deliver, Quarantine, Reject, Retry, Tagged};
        let no_arc = ArcResult::new(Outcome::None, &[]);
        for (json, outcome, policy, expected) in [
            ("{}", Outcome::Pass, DmarcPolicy::Reject, Deliver),
            ("{}", Outcome::None, DmarcPolicy::None, Deliver),
            ("{}", Outcome::PermError, DmarcPolicy::None, Deliver),
            ("{}", Outcome::Fail, DmarcPolicy::None, Deliver),
            ("{}", Outcome::Fail, DmarcPolicy::Quarantine, Quarantine),
            ("{}", Outcome::Fail, DmarcPolicy::Reject, Reject),
            ("{}", Outcome::TempError, DmarcPolicy::None, Retry),
            (r#"{"temperror":"accept"}"#, Outcome::TempError, DmarcPolicy::None, Tagged),
            (r#"{"dmarc":"quarantine"}"#, Outcome::Fail, DmarcPolicy::Reject, Quarantine),
            (r#"{"dmarc":"quarantine"}"#, Outcome::Fail, DmarcPolicy::None, Deliver),
            (r#"{"dmarc":"tag"}"#, Outcome::Fail, DmarcPolicy::Reject, Tagged),
            (r#"{"dmarc":"tag"}"#, Outcome::TempError, DmarcPolicy::None, Tagged),
            (r#"{"overrides":{"example.org":"tag"}}"#, Outcome::Fail, DmarcPolicy::Reject, Tagged),
            (r#"{"dmarc":"tag","overrides":{"Example.org.":"enforce"}}"#, Outcome::Fail, DmarcPolicy::Reject, Reject),
        ] {
            let result = DmarcResult::new(outcome, "example.org", policy);
            assert_eq!(dmarc(&config(json), &result, &no_arc), expected, "{json} {outcome:?} {policy:?}");
        }
    }

    #[test]
    fn only_the_last_sealer_of_a_passing_chain_vouches() {
        let config = config(r#"{"trusted_arc_sealers":["lists.example.net"]}"#);
        let result = DmarcResult::new(Outcome::Fail, "example.org", DmarcPolicy::Reject);
        for (arc, expected) in [
            (
                ArcResult::new(Outcome::Pass, &["a.example", "Lists.Example.NET"]),
                Disposition::TrustedForwarder("Lists.Example.NET".to_owned()),
            ),
            (ArcResult::new(Outcome::Pass, &["lists.example.net", "evil.example"]), Disposition::Reject),
            (ArcResult::new(Outcome::Fail, &["lists.example.net"]), Disposition::Reject),
            (ArcResult::new(Outcome::Pass, &[]), Disposition::Reject),
        ] {
            assert_eq!(dmarc(&config, &result, &arc), expected, "{arc:?}");
        }
    }

    #[test]
    fn domains_of_authors() {
        let domains = |list: &[&str]| author_domains(&list.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(domains(&["a@Example.org", "b@example.org."]), Ok(vec!["example.org".to_owned()]));
        assert_eq!(domains(&["a@example.org", "b@example.net"]).map(|list| list.len()), Ok(2));
        assert_eq!(domains(&[]), Err(AuthorFault::Missing));
        assert!(domains(&["a"]).is_err());
    }
}
