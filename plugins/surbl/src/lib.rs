//! URL block lists: the registrable domains of a message's URLs, looked up in lists such as SURBL's.
//!
//! The host finds the URLs, in header fields and decoded text, and undoes their disguises; this filter reduces hosts
//! to what lists hold, asks all lists at once, and reads the answers.

pub mod config;
pub mod domain;
pub mod listing;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use mailweir_filter::dns::{self, Error, Names};
use mailweir_filter::mail::{Url, UrlSource};
use mailweir_filter::observe;
use mailweir_filter::prelude::*;

use config::{Config, OnDnsFailure, Zone};
use domain::Subject;
use listing::{Action, Answer, Evidence};

/// How many listings a reason names.
const NAMED: usize = 5;

/// The filter, configured.
#[derive(Debug)]
pub struct Surbl {
    config: Config,
}

/// A domain on a list.
#[derive(Debug)]
struct Listing {
    subject: Subject,
    zone: String,
    action: Action,
    evidence: Evidence,
}

/// What all lists said about a message.
#[derive(Debug, Default)]
struct Answers {
    listings: Vec<Listing>,
    /// Lists that did not answer, or refused to; each once, though every query may have met the same.
    failures: BTreeSet<String>,
    /// For the operator.
    warnings: BTreeSet<String>,
}

impl Filter for Surbl {
    type Config = Config;

    fn configure(config: Config) -> Result<(Self, Plan), String> {
        Ok((Self { config: config::check(config)? }, Plan::new().on_end()))
    }

    fn on_end(&mut self, mail: &Mail) -> (Decision, Edits) {
        let mut subjects = self.subjects(&mail.urls());
        let limit = usize::try_from(self.config.max_domains).unwrap_or(usize::MAX);
        let is_capped = subjects.len() > limit;
        if is_capped {
            // A sender that could tell which ones are looked up would put harmless ones there.
            let key = mail.session().id;
            subjects.sort_by_key(|(source, subject)| (rank(*source), keyed_hash(&key, subject)));
            subjects.truncate(limit);
        }
        let subjects: Vec<Subject> = subjects.into_iter().map(|(_, subject)| subject).collect();
        let decision = self.decide(self.ask(&subjects), subjects.is_empty());
        if is_capped { decision.tag("surbl-capped", limit.to_string()) } else { decision }.into()
    }
}

impl Surbl {
    /// What is looked up, each once, in the order of the URLs.
    fn subjects(&self, urls: &[Url]) -> Vec<(UrlSource, Subject)> {
        let mut subjects: Vec<(UrlSource, Subject)> = Vec::new();
        let (mut hosts, mut seen) = (BTreeSet::new(), BTreeSet::new());
        // Of links to one host, the first says all.
        for url in urls.iter().filter(|url| hosts.insert(url.host.as_str())) {
            let Some(subject) = Subject::of_host(&url.host, &self.config.extra_suffixes) else { continue };
            let is_ignored = subject.is_under(&self.config.ignore)
                || self.config.ignore.iter().any(|above| domain::is_within(&url.host, above));
            if is_ignored {
                continue;
            }
            let mapped = subject.mapped();
            for subject in std::iter::once(subject).chain(mapped) {
                if seen.insert(subject.clone()) {
                    subjects.push((url.source, subject));
                }
            }
        }
        subjects
    }

    /// Ask every list for every subject, in one call to the host.
    fn ask(&self, subjects: &[Subject]) -> Answers {
        let (asked, queries): (Vec<(&Subject, &Zone)>, Vec<String>) = subjects
            .iter()
            .flat_map(|subject| self.config.zones.iter().map(move |zone| (subject, zone)))
            .filter(|(subject, zone)| zone.addresses || matches!(subject, Subject::Domain(_)))
            .filter_map(|(subject, zone)| Some(((subject, zone), subject.query(&zone.zone)?)))
            .unzip();
        if queries.is_empty() {
            return Answers::default();
        }
        let mut answers = Answers::default();
        let mut replies = dns::dnsbl(&queries).into_iter();
        for (subject, zone) in asked {
            // Fewer replies than queries would be the host's fault; what was not answered is not clean.
            let reply = replies.next().unwrap_or(Err(Error::Timeout));
            answers.add(subject, zone, reply);
        }
        answers
    }

    fn decide(&self, answers: Answers, nothing_asked: bool) -> Decision {
        let Answers { mut listings, failures, warnings } = answers;
        warnings.iter().for_each(|warning| observe::warn(warning));
        listings.sort_by_key(|listing| std::cmp::Reverse(listing.action));
        let Some(worst) = listings.first() else {
            return self.decide_unlisted(failures, nothing_asked);
        };
        let decision = match worst.action {
            Action::Reject => Decision::reject("5.7.1", format!("the message names {worst}")),
            Action::Tempfail => Decision::tempfail("4.7.1", format!("the message names {worst}")),
            Action::Quarantine => Decision::quarantine(worst.to_string()),
            Action::Tag => Decision::pass(),
        };
        observe::count("listed", 1);
        let mut named = listings.iter().take(NAMED).map(ToString::to_string).collect::<Vec<_>>().join("; ");
        if listings.len() > NAMED {
            named.push_str(&format!("; and {} more", listings.len() - NAMED));
        }
        decision.because(named).tag("surbl", "listed")
    }

    fn decide_unlisted(&self, failures: BTreeSet<String>, nothing_asked: bool) -> Decision {
        if !failures.is_empty() {
            let decision = match self.config.on_dns_failure {
                OnDnsFailure::Pass => Decision::pass(),
                OnDnsFailure::Tempfail => {
                    Decision::tempfail("4.4.3", "domains in the message cannot be looked up now, try again later")
                }
            };
            let lists = failures.into_iter().take(NAMED).collect::<Vec<_>>().join("; ");
            return decision.because(lists).tag("surbl", "temperror");
        }
        Decision::pass().tag("surbl", if nothing_asked { "none" } else { "clean" })
    }
}

impl Answers {
    fn add(&mut self, subject: &Subject, zone: &Zone, reply: Result<Names, Error>) {
        let addresses = match reply {
            Ok(names) => names.values,
            Err(Error::NotFound | Error::Invalid(_)) => return,
            Err(Error::Timeout | Error::Failure(_)) => {
                observe::count("unanswered", 1);
                self.failures.insert(format!("{} does not answer", zone.zone));
                return;
            }
        };
        let answers = addresses.iter().filter_map(|address| address.parse::<Ipv4Addr>().ok());
        for answer in answers.map(|address| listing::read(address, zone)) {
            match answer {
                Answer::Listed(action, evidence) => {
                    let (subject, zone) = (subject.clone(), zone.zone.clone());
                    self.listings.push(Listing { subject, zone, action, evidence });
                }
                Answer::Refused(address) => {
                    observe::count("refused", 1);
                    let refusal = format!("{} answers {address}: it refuses to serve this resolver", zone.zone);
                    self.warnings.insert(refusal.clone());
                    self.failures.insert(refusal);
                }
                Answer::Foreign(address) => {
                    observe::count("foreign_answer", 1);
                    self.warnings.insert(format!("{} answers {address}, which no list does: ignored", zone.zone));
                }
                Answer::Irrelevant => {}
            }
        }
    }
}

impl std::fmt::Display for Listing {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}, listed in {} ({})", self.subject, self.zone, self.evidence)
    }
}

/// Links in the text are what a reader follows; what header fields name comes last.
fn rank(source: UrlSource) -> u8 {
    match source {
        UrlSource::Html | UrlSource::Text => 0,
        UrlSource::Header => 1,
    }
}

/// FNV-1a of the transaction's id and the subject: an order that the sender cannot foresee.
fn keyed_hash(key: &str, subject: &Subject) -> u64 {
    let text = format!("{key} {subject}");
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

mailweir_filter::export!(Surbl);
