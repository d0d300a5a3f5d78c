//! DMARC policy records (RFC 9989 sections 4.7 and 4.8). What cannot be read counts as absent; unknown tags are nothing.

use crate::services::authentication::results::DmarcPolicy;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alignment {
    Relaxed,
    Strict,
}

/// psd=
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffix {
    Yes,
    No,
    Unknown,
}

/// A record that begins with `v=DMARC1`.
#[derive(Debug)]
pub(super) struct Record {
    /// p=; without one it is `none` (section 4.7).
    pub(super) policy: DmarcPolicy,
    /// sp=
    pub(super) subdomains: Option<DmarcPolicy>,
    /// np=
    pub(super) nonexistent: Option<DmarcPolicy>,
    /// No policy tag has a value that is not one.
    pub(super) is_valid: bool,
    pub(super) dkim_alignment: Alignment,
    pub(super) spf_alignment: Alignment,
    pub(super) suffix: Suffix,
    /// t=
    pub(super) testing: Option<bool>,
    /// pct= (RFC 7489), 0 to 100.
    pub(super) percent: Option<u8>,
    /// rua= has a URI that is one.
    pub(super) wants_reports: bool,
}

impl Record {
    /// `None`: not a policy record. The version is case-sensitive and comes first; of a tag that stands there twice the
    /// first counts.
    pub(super) fn parse(record: &[u8]) -> Option<Self> {
        // A stray byte in one value says nothing about the others.
        let text = String::from_utf8_lossy(record);
        let mut tags = text.split(';').map(|tag| match tag.split_once('=') {
            Some((name, value)) => (name.trim().to_ascii_lowercase(), value.trim()),
            None => (String::new(), ""),
        });
        if tags.next().is_none_or(|(name, value)| name != "v" || value != "DMARC1") {
            return None;
        }
        let tags: Vec<(String, &str)> = tags.take(MOST_TAGS).collect();
        let value = |wanted: &str| tags.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
        let is = |value: &str, word: &str| value.eq_ignore_ascii_case(word);
        let (stated, subdomains, nonexistent) = (policy(value("p")), policy(value("sp")), policy(value("np")));
        let alignment = |wanted: &str| match value(wanted) {
            Some(mode) if is(mode, "s") => Alignment::Strict,
            _ => Alignment::Relaxed,
        };
        Some(Self {
            is_valid: stated.is_ok() && subdomains.is_ok() && nonexistent.is_ok(),
            policy: stated.ok().flatten().unwrap_or(DmarcPolicy::None),
            subdomains: subdomains.ok().flatten(),
            nonexistent: nonexistent.ok().flatten(),
            dkim_alignment: alignment("adkim"),
            spf_alignment: alignment("aspf"),
            suffix: match value("psd") {
                Some(flag) if is(flag, "y") => Suffix::Yes,
                Some(flag) if is(flag, "n") => Suffix::No,
                _ => Suffix::Unknown,
            },
            testing: match value("t") {
                Some(flag) if is(flag, "y") => Some(true),
                Some(flag) if is(flag, "n") => Some(false),
                _ => None,
            },
            percent: value("pct").and_then(percent),
            wants_reports: value("rua").is_some_and(|uris| uris.split(',').any(is_uri)),
        })
    }
}

/// Tags of a record that are read; real ones have a dozen.
const MOST_TAGS: usize = 64;

/// `Err`: it is there, and not one.
fn policy(value: Option<&str>) -> Result<Option<DmarcPolicy>, ()> {
    let Some(value) = value else { return Ok(None) };
    [DmarcPolicy::None, DmarcPolicy::Quarantine, DmarcPolicy::Reject]
        .into_iter()
        .find(|policy| value.eq_ignore_ascii_case(policy.as_str()))
        .map(Some)
        .ok_or(())
}

fn percent(value: &str) -> Option<u8> {
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    value.parse().ok().filter(|percent| is_number && *percent <= 100)
}

/// Of the URI (RFC 3986) the scheme and that something follows it; a mailbox for mailto.
fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.trim().split_once(':') else { return false };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let is_rest = match scheme.eq_ignore_ascii_case("mailto") {
        true => rest.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty()),
        false => !rest.is_empty(),
    };
    is_scheme && is_rest && rest.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_record_and_what_is_not() {
        for (text, expected) in [
            ("v=DMARC1; p=reject", Some(DmarcPolicy::Reject)),
            ("v=DMARC1;p=reject;", Some(DmarcPolicy::Reject)),
            ("V = DMARC1 ; P = Reject", Some(DmarcPolicy::Reject)),
            ("v=DMARC1;;;p=reject", Some(DmarcPolicy::Reject)),
            ("v=DMARC1; what; ever=1; x-y=2; p=reject", Some(DmarcPolicy::Reject)),
            ("v=DMARC1; rua=mailto:caf\u{e9}@example.com; p=reject", Some(DmarcPolicy::Reject)),
            ("v=DMARC1; p=none; p=reject", Some(DmarcPolicy::None)),
            ("v=DMARC1; sp=reject", Some(DmarcPolicy::None)),
            ("v=DMARC1", Some(DmarcPolicy::None)),
            ("v=dmarc1; p=reject", None),
            ("v=DMARC1 p=reject", None),
            ("v=DMARC12; p=reject", None),
            ("p=reject; v=DMARC1", None),
            (";v=DMARC1; p=reject", None),
            ("DMARC1; p=reject", None),
            ("v=spf1 -all", None),
            ("", None),
        ] {
            assert_eq!(Record::parse(text.as_bytes()).map(|record| record.policy), expected, "{text}");
        }
        let latin = Record::parse(b"v=DMARC1; rua=mailto:caf\xe9@example.com; p=reject").unwrap();
        assert_eq!((latin.policy, latin.wants_reports), (DmarcPolicy::Reject, false));
    }

    #[test]
    fn values_that_cannot_be_read_count_as_absent() {
        let parse = |text: &str| Record::parse(text.as_bytes()).unwrap();
        for text in ["p=", "p=rejected", "p=reject; sp=x", "p=reject; np=", "sp=nonsense"] {
            assert!(!parse(&format!("v=DMARC1; {text}")).is_valid, "{text}");
        }
        assert!(parse("v=DMARC1; fo=zzz; ri=-1; rf=x; ruf=y; rua=:").is_valid);
        for (text, expected) in
            [("0", Some(0)), ("100", Some(100)), ("101", None), ("+5", None), ("", None), ("x", None)]
        {
            assert_eq!(parse(&format!("v=DMARC1; p=none; pct={text}")).percent, expected, "{text}");
        }
        for (text, expected) in [("y", Some(true)), ("N", Some(false)), ("1", None), ("", None)] {
            assert_eq!(parse(&format!("v=DMARC1; p=none; t={text}")).testing, expected, "{text}");
        }
        for (text, expected) in [("y", Suffix::Yes), ("n", Suffix::No), ("u", Suffix::Unknown), ("x", Suffix::Unknown)]
        {
            assert_eq!(parse(&format!("v=DMARC1; p=none; psd={text}")).suffix, expected, "{text}");
        }
        for (text, expected) in [
            ("mailto:a@example.com", true),
            ("mailto:a@example.com!10m", true),
            ("https://example.com/r", true),
            ("nonsense,  MAILTO:a@example.com", true),
            ("mailto:", false),
            ("mailto:a", false),
            ("a@example.com", false),
            ("", false),
        ] {
            assert_eq!(parse(&format!("v=DMARC1; rua={text}")).wants_reports, expected, "{text}");
        }
    }
}
