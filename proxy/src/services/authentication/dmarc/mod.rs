//! DMARC (RFC 9989): the policy found by walking up the DNS tree, and whether SPF or DKIM speaks for the author's
//! domain. `pct`, which RFC 9989 dropped, is still honoured where a record has it and no `t`.

use super::lookups::Lookups;
use super::results::{AuthorFault, DkimResult, DmarcPolicy, DmarcResult, Outcome, SpfResult, clean_domain, clean_text};
use crate::services::dns::Error;

mod record;
mod walk;

use record::{Alignment, Record};
use walk::Walk;

/// Domains of one From field that are evaluated; the strictest result counts (RFC 9989 section 11.5).
const AUTHOR_DOMAINS: usize = 4;

/// What DMARC builds on.
pub(super) struct Evidence<'a> {
    pub(super) spf: &'a SpfResult,
    pub(super) dkim: &'a [DkimResult],
}

pub(super) async fn evaluate(
    lookups: &Lookups,
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
    let lookups = lookups.for_policies();
    let mut worst: Option<DmarcResult> = None;
    for domain in &domains {
        let result = evaluate_domain(&lookups, domain, evidence).await;
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

async fn evaluate_domain(lookups: &Lookups, author: &str, evidence: &Evidence<'_>) -> DmarcResult {
    let none = none(author.to_owned());
    // An address literal, or nothing that the DNS could know: there is no policy.
    if author.contains('?') || crate::services::dns::clean_name(author).is_err() {
        return none;
    }
    let walk = Walk::up(lookups, author).await;
    let (at, record) = match walk.policy() {
        Ok(Some(found)) => found,
        Ok(None) => return none,
        Err(error) => return undecided(none, error.to_string()),
    };
    // Section 4.10.1: a record with a policy that is none is good for reports, or for nothing.
    if !record.is_valid && !record.wants_reports {
        return none;
    }
    let mut alignment = Alignments { lookups, author, walk: &walk, trouble: None };
    let (spf_aligned, spf_open) = alignment.spf(evidence.spf, record.spf_alignment).await;
    let (dkim_aligned, dkim_open) = alignment.dkim(evidence.dkim, record.dkim_alignment).await;
    let trouble = alignment.trouble;
    let result = DmarcResult { policy_domain: at.to_owned(), spf_aligned, dkim_aligned, ..none };
    let passed = spf_aligned || dkim_aligned;
    // Without an answer to the checks that could have passed there is no failure either (section 5.3.6).
    if let Some(error) = trouble.filter(|_| !passed) {
        return undecided(result, error.to_string());
    }
    if !passed && (spf_open || dkim_open) {
        return undecided(result, "an aligned check has no result for now".to_owned());
    }
    let policy = match stated_policy(lookups, author, at, record).await {
        Ok(policy) => lowered(policy, record),
        // It decides nothing about a message that passed.
        Err(_) if passed => lowered(record.subdomains.unwrap_or(record.policy), record),
        Err(error) => return undecided(result, error.to_string()),
    };
    match passed {
        true => DmarcResult { outcome: Outcome::Pass, policy, ..result },
        false => DmarcResult {
            outcome: Outcome::Fail,
            policy,
            reason: "nothing that passed is aligned".to_owned(),
            ..result
        },
    }
}

fn undecided(result: DmarcResult, reason: String) -> DmarcResult {
    DmarcResult { outcome: Outcome::TempError, policy: DmarcPolicy::None, reason: clean_text(&reason, 200), ..result }
}

/// What the owner of the record at `at` asks for mail from the author's domain (section 4.10.1).
async fn stated_policy(lookups: &Lookups, author: &str, at: &str, record: &Record) -> Result<DmarcPolicy, Error> {
    if !record.is_valid {
        return Ok(DmarcPolicy::None);
    }
    if at == author {
        return Ok(record.policy);
    }
    let existing = record.subdomains.unwrap_or(record.policy);
    let missing = record.nonexistent.unwrap_or(existing);
    if missing == existing {
        return Ok(existing);
    }
    // Section 3.2.13: NXDOMAIN, whatever type is asked for. A name without addresses exists.
    match lookups.ipv4(author).await {
        Err(Error::NoName) => Ok(missing),
        Err(error) if error.is_temporary() => Err(error),
        _ => Ok(existing),
    }
}

/// Test mode asks for one level less. A record that still relies on pct= (RFC 7489 section 6.6.4) gets its sample.
fn lowered(stated: DmarcPolicy, record: &Record) -> DmarcPolicy {
    let lenient = match (record.testing, record.percent) {
        (Some(testing), _) => testing,
        (None, Some(percent)) => percent < 100 && fastrand::u8(0..100) >= percent,
        (None, None) => false,
    };
    match (stated, lenient) {
        (DmarcPolicy::Reject, true) => DmarcPolicy::Quarantine,
        (DmarcPolicy::Quarantine, true) => DmarcPolicy::None,
        (stated, _) => stated,
    }
}

/// Whether what was authenticated is the author's (section 4.10.2).
struct Alignments<'a> {
    lookups: &'a Lookups,
    author: &'a str,
    walk: &'a Walk,
    trouble: Option<Error>,
}

impl Alignments<'_> {
    /// Whether SPF passed for an aligned domain, and whether it still could.
    async fn spf(&mut self, result: &SpfResult, alignment: Alignment) -> (bool, bool) {
        self.check(&result.domain, result.outcome, alignment).await
    }

    /// Whether a signature of an aligned domain passed, and whether one still could.
    async fn dkim(&mut self, signatures: &[DkimResult], alignment: Alignment) -> (bool, bool) {
        let (mut aligned, mut open) = (false, false);
        for signature in signatures {
            let (is_aligned, is_open) = self.check(&signature.domain, signature.outcome, alignment).await;
            aligned |= is_aligned;
            open |= is_open;
        }
        (aligned, open)
    }

    async fn check(&mut self, domain: &str, outcome: Outcome, alignment: Alignment) -> (bool, bool) {
        if !matches!(outcome, Outcome::Pass | Outcome::TempError) {
            return (false, false);
        }
        match self.is_aligned(domain, alignment).await {
            Ok(aligned) => (aligned && outcome == Outcome::Pass, aligned && outcome == Outcome::TempError),
            Err(error) => {
                self.trouble = Some(error);
                (false, false)
            }
        }
    }

    /// Strict: the same domain. Relaxed: the same organizational domain.
    async fn is_aligned(&self, domain: &str, alignment: Alignment) -> Result<bool, Error> {
        if domain == self.author {
            return Ok(!domain.is_empty());
        }
        if domain.is_empty() || alignment == Alignment::Strict {
            return Ok(false);
        }
        if let Some(trouble) = &self.walk.trouble {
            return Err(trouble.clone());
        }
        let organization = self.walk.organizational_domain();
        if !is_within(domain, organization) {
            return Ok(false);
        }
        let walk = Walk::up(self.lookups, domain).await;
        match walk.trouble {
            Some(trouble) => Err(trouble),
            None => Ok(walk.organizational_domain() == organization),
        }
    }
}

fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
