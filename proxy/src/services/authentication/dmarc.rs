//! DMARC (RFC 9989): the policy found by walking up the DNS tree, and whether SPF or DKIM speaks for the author's
//! domain. `pct`, which RFC 9989 dropped, is still honoured where a record has it and no `t`.

use super::results::{AuthorFault, DkimResult, DmarcPolicy, DmarcResult, Outcome, SpfResult, clean_domain, clean_text};
use crate::services::dns::{Dns, Error};

/// Domains of one From field that are evaluated; the strictest result counts.
const AUTHOR_DOMAINS: usize = 4;
/// RFC 9989 section 4.10: a longer name is cut to this many labels after the first query.
const LABELS: usize = 7;

/// What DMARC builds on.
pub(super) struct Evidence<'a> {
    pub(super) spf: &'a SpfResult,
    pub(super) dkim: &'a [DkimResult],
}

pub(super) async fn evaluate(
    dns: &Dns,
    authors: Result<Vec<String>, AuthorFault>,
    evidence: &Evidence<'_>,
) -> DmarcResult {
    let authors = match authors {
        Ok(authors) => authors,
        Err(fault) => return without_domain(fault_text(&fault)),
    };
    let mut domains: Vec<String> = Vec::new();
    for domain in authors.iter().filter_map(|author| author.rsplit_once('@')).map(|(_, domain)| domain) {
        let domain = clean_domain(domain);
        if !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    if domains.len() > AUTHOR_DOMAINS {
        return without_domain("too many domains in the From field".to_owned());
    }
    let mut worst: Option<DmarcResult> = None;
    for domain in &domains {
        let result = evaluate_domain(dns, domain, evidence).await;
        if worst.as_ref().is_none_or(|worst| gravity(&result) > gravity(worst)) {
            worst = Some(result);
        }
    }
    worst.unwrap_or_else(|| without_domain("no domain in the From field".to_owned()))
}

fn without_domain(reason: String) -> DmarcResult {
    DmarcResult { outcome: Outcome::PermError, reason: clean_text(&reason, 200), ..none(String::new()) }
}

fn none(from_domain: String) -> DmarcResult {
    DmarcResult {
        outcome: Outcome::None,
        from_domain,
        policy_domain: String::new(),
        policy: DmarcPolicy::None,
        spf_aligned: false,
        dkim_aligned: false,
        reason: String::new(),
    }
}

fn fault_text(fault: &AuthorFault) -> String {
    match fault {
        AuthorFault::Missing => "no From field".to_owned(),
        AuthorFault::Several(count) => format!("{count} From fields"),
        AuthorFault::Unparsable(reason) => format!("the From field has {reason}"),
    }
}

const fn gravity(result: &DmarcResult) -> u8 {
    match (result.outcome, result.policy) {
        (Outcome::Fail, DmarcPolicy::Reject) => 5,
        (Outcome::Fail, DmarcPolicy::Quarantine) => 4,
        (Outcome::TempError, _) => 3,
        (Outcome::Fail, DmarcPolicy::None) => 2,
        (Outcome::Pass, _) => 0,
        _ => 1,
    }
}

async fn evaluate_domain(dns: &Dns, author: &str, evidence: &Evidence<'_>) -> DmarcResult {
    let result = none(author.to_owned());
    let temporary = |error: &Error| DmarcResult {
        outcome: Outcome::TempError,
        reason: clean_text(&error.to_string(), 200),
        ..result.clone()
    };
    if author.starts_with('?') || crate::services::dns::clean_name(author).is_err() {
        return result;
    }
    let walk = match walk(dns, author).await {
        Ok(walk) => walk,
        Err(error) => return temporary(&error),
    };
    let organization = walk.organizational_domain(author);
    let Some((at, record)) = walk.policy(author, &organization) else { return result };
    let Some(policy) = applicable(dns, author, at, record).await else { return result };
    let result = DmarcResult { policy_domain: at.clone(), policy, ..result };

    let mut trouble: Option<Error> = None;
    let mut aligned = |outcome: Result<bool, Error>| {
        outcome.unwrap_or_else(|error| {
            trouble = Some(error);
            false
        })
    };
    let spf = evidence.spf;
    let spf_matters = matches!(spf.outcome, Outcome::Pass | Outcome::TempError);
    let spf_matches =
        spf_matters && aligned(is_aligned(dns, &spf.domain, author, &organization, record.spf_alignment).await);
    let (mut dkim_aligned, mut undecided) = (false, spf_matches && spf.outcome == Outcome::TempError);
    for signature in evidence.dkim {
        let matters = matches!(signature.outcome, Outcome::Pass | Outcome::TempError);
        if matters && aligned(is_aligned(dns, &signature.domain, author, &organization, record.dkim_alignment).await) {
            dkim_aligned |= signature.outcome == Outcome::Pass;
            undecided |= signature.outcome == Outcome::TempError;
        }
    }
    let result = DmarcResult { spf_aligned: spf_matches && spf.outcome == Outcome::Pass, dkim_aligned, ..result };
    if result.spf_aligned || result.dkim_aligned {
        return DmarcResult { outcome: Outcome::Pass, ..result };
    }
    // Without an answer to the checks that could have passed there is no failure either.
    let undecided_result = |reason: String| DmarcResult {
        outcome: Outcome::TempError,
        policy: DmarcPolicy::None,
        reason: clean_text(&reason, 200),
        ..result.clone()
    };
    match trouble {
        Some(error) => undecided_result(error.to_string()),
        None if undecided => undecided_result("an aligned check has no result for now".to_owned()),
        None => DmarcResult { outcome: Outcome::Fail, reason: "nothing that passed is aligned".to_owned(), ..result },
    }
}

/// The policy of a record for the author's domain, or none when DMARC does not apply.
async fn applicable(dns: &Dns, author: &str, at: &str, record: &Record) -> Option<DmarcPolicy> {
    let stated = if !record.is_valid {
        // Section 4.10.1: without a usable policy the record is good for reports only.
        return record.wants_reports.then_some(DmarcPolicy::None);
    } else if at == author {
        record.policy
    } else {
        let existing = record.subdomains.unwrap_or(record.policy);
        let missing = record.nonexistent.unwrap_or(existing);
        if missing != existing && dns.ipv4(author).await == Err(Error::NoName) { missing } else { existing }
    };
    let lenient = match (record.testing, record.percent) {
        (Some(testing), _) => testing,
        (None, Some(percent)) => percent < 100 && fastrand::u8(0..100) >= percent,
        (None, None) => false,
    };
    Some(match (stated, lenient) {
        (DmarcPolicy::Reject, true) => DmarcPolicy::Quarantine,
        (DmarcPolicy::Quarantine, true) => DmarcPolicy::None,
        (stated, _) => stated,
    })
}

/// Section 4.10.2, relaxed: the same organizational domain. Strict: the same domain.
async fn is_aligned(
    dns: &Dns,
    domain: &str,
    author: &str,
    organization: &str,
    alignment: Alignment,
) -> Result<bool, Error> {
    if domain.is_empty() {
        return Ok(false);
    }
    if domain == author {
        return Ok(true);
    }
    if alignment == Alignment::Strict || !is_within(domain, organization) {
        return Ok(false);
    }
    match walk(dns, domain).await {
        Ok(walk) => Ok(walk.organizational_domain(domain) == organization),
        Err(error) => Err(error),
    }
}

fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The records found on the way up, the longest name first.
struct Walk(Vec<(String, Record)>);

/// Section 4.10: at most eight queries.
async fn walk(dns: &Dns, domain: &str) -> Result<Walk, Error> {
    let labels: Vec<&str> = domain.split('.').collect();
    let mut found = Vec::new();
    let mut count = labels.len();
    loop {
        let name = labels[labels.len() - count..].join(".");
        if let Some(record) = lookup(dns, &name).await? {
            let stop = record.suffix != Suffix::Unknown;
            found.push((name, record));
            if stop {
                break;
            }
        }
        count = if count > LABELS + 1 { LABELS } else { count - 1 };
        if count == 0 {
            break;
        }
    }
    Ok(Walk(found))
}

async fn lookup(dns: &Dns, name: &str) -> Result<Option<Record>, Error> {
    match dns.txt(&format!("_dmarc.{name}")).await {
        Ok(answer) => {
            let mut records = answer.values.iter().filter_map(|text| Record::parse(text));
            // Several records are none.
            Ok(records.next().filter(|_| records.next().is_none()))
        }
        Err(error) if error.is_temporary() => Err(error),
        Err(_) => Ok(None),
    }
}

impl Walk {
    /// Section 4.10.2.
    fn organizational_domain(&self, domain: &str) -> String {
        for (name, record) in &self.0 {
            match record.suffix {
                Suffix::No => return name.clone(),
                Suffix::Yes if name != domain => {
                    // One label below the public suffix.
                    let below = domain.strip_suffix(name.as_str()).unwrap_or_default().trim_end_matches('.');
                    let label = below.rsplit('.').next().unwrap_or_default();
                    return format!("{label}.{name}");
                }
                _ => {}
            }
        }
        self.0.last().map_or_else(|| domain.to_owned(), |(name, _)| name.clone())
    }

    /// The record that applies (section 4.10.1): the author's own, the organization's, or the public suffix's.
    fn policy(&self, author: &str, organization: &str) -> Option<(&String, &Record)> {
        let at = |wanted: &str| self.0.iter().find(|(name, _)| name == wanted);
        let suffix = || self.0.iter().find(|(_, record)| record.suffix == Suffix::Yes);
        at(author).or_else(|| at(organization)).or_else(suffix).map(|(name, record)| (name, record))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alignment {
    Relaxed,
    Strict,
}

/// psd=
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suffix {
    Yes,
    No,
    Unknown,
}

/// Section 4.7. Tags that cannot be read count as absent.
#[derive(Debug)]
struct Record {
    policy: DmarcPolicy,
    subdomains: Option<DmarcPolicy>,
    nonexistent: Option<DmarcPolicy>,
    /// p= is there, and no policy tag has an unknown value.
    is_valid: bool,
    dkim_alignment: Alignment,
    spf_alignment: Alignment,
    suffix: Suffix,
    /// t=
    testing: Option<bool>,
    /// pct= (RFC 7489)
    percent: Option<u8>,
    wants_reports: bool,
}

impl Record {
    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let mut tags =
            text.split(';').filter_map(|tag| tag.split_once('=')).map(|(name, value)| (name.trim(), value.trim()));
        if tags.next() != Some(("v", "DMARC1")) || !text.split(';').next().is_some_and(|first| first.contains('=')) {
            return None;
        }
        let tags: Vec<(String, &str)> = tags.map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        let value = |wanted: &str| tags.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value);
        let policy = |wanted: &str| match value(wanted).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("none") => Ok(Some(DmarcPolicy::None)),
            Some("quarantine") => Ok(Some(DmarcPolicy::Quarantine)),
            Some("reject") => Ok(Some(DmarcPolicy::Reject)),
            Some(_) => Err(()),
        };
        let (stated, subdomains, nonexistent) = (policy("p"), policy("sp"), policy("np"));
        let alignment = |wanted: &str| match value(wanted) {
            Some(mode) if mode.eq_ignore_ascii_case("s") => Alignment::Strict,
            _ => Alignment::Relaxed,
        };
        Some(Self {
            is_valid: matches!(stated, Ok(Some(_))) && subdomains.is_ok() && nonexistent.is_ok(),
            policy: stated.ok().flatten().unwrap_or(DmarcPolicy::None),
            subdomains: subdomains.ok().flatten(),
            nonexistent: nonexistent.ok().flatten(),
            dkim_alignment: alignment("adkim"),
            spf_alignment: alignment("aspf"),
            suffix: match value("psd") {
                Some(flag) if flag.eq_ignore_ascii_case("y") => Suffix::Yes,
                Some(flag) if flag.eq_ignore_ascii_case("n") => Suffix::No,
                _ => Suffix::Unknown,
            },
            testing: value("t").map(|flag| flag.eq_ignore_ascii_case("y")),
            percent: value("pct").and_then(|percent| percent.parse().ok()).filter(|percent| *percent <= 100),
            wants_reports: value("rua").is_some_and(|uris| uris.to_ascii_lowercase().contains("mailto:")),
        })
    }
}
