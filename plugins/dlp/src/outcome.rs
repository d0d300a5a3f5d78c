//! From the rules that apply to one decision, its reason and its edits.

use mailweir_filter::{Decision, Edits, Reply, Verdict};

use crate::config::{self, Action};
use crate::search::Found;

/// How many masked values of one kind a reason shows.
const SHOWN: usize = 5;

/// Tags of a decision: the host takes no more.
const MAX_TAGS: usize = 64;

/// Bytes of a reason; a long one is cut.
const MAX_REASON: usize = 1000;

/// A rule that applies.
#[derive(Debug)]
pub(crate) struct Triggered<'a> {
    name: &'a str,
    action: &'a Action,
    /// What was found, masked.
    description: String,
}

impl<'a> Triggered<'a> {
    pub(crate) fn new(name: &'a str, action: &'a Action, found: &[(&str, &Found)]) -> Self {
        let kinds = found.iter().filter(|(_, found)| !found.distinct.is_empty());
        let description = kinds.map(|(kind, found)| describe(kind, found)).collect::<Vec<_>>().join(", ");
        Self { name, action, description }
    }
}

/// "credit-card 2 (************1111, ************0004)"; values that may not be shown are only counted.
fn describe(kind: &str, found: &Found) -> String {
    let at_least = if found.is_incomplete { "at least " } else { "" };
    let mut description = format!("{kind} {at_least}{}", found.distinct.len());
    let shown: Vec<&str> = found.distinct.values().filter_map(Option::as_deref).take(SHOWN).collect();
    if !shown.is_empty() {
        let more = if found.distinct.len() > SHOWN { ", ..." } else { "" };
        description.push_str(&format!(" ({}{more})", shown.join(", ")));
    }
    description
}

/// Searches that ended at the host's limit, and what the operator wants then.
#[derive(Debug)]
pub(crate) struct Incomplete<'a> {
    pub(crate) searches: &'a [&'a str],
    pub(crate) action: config::Incomplete,
}

impl Incomplete<'_> {
    const TEXT: &'static str = "too many candidate matches to check";

    /// The verdict, unless that of the rules is more severe.
    fn verdict(&self, of_rules: Verdict) -> Verdict {
        use config::Incomplete as Wanted;
        let is_milder = matches!(of_rules, Verdict::Pass | Verdict::Route(_));
        let is_kept = matches!(of_rules, Verdict::Quarantine(_));
        match self.action {
            _ if self.searches.is_empty() => of_rules,
            Wanted::Reject if is_milder || is_kept => Verdict::Reject(Reply::new(550, "5.7.1", Self::TEXT)),
            Wanted::TempFail if is_milder || is_kept => Verdict::Tempfail(Reply::new(451, "4.7.1", Self::TEXT)),
            Wanted::Quarantine if is_milder => Verdict::Quarantine(Self::TEXT.to_owned()),
            _ => of_rules,
        }
    }
}

/// The most severe action is the verdict, the first rule's among equals; tags of all rules are set, and recipients
/// added as long as the message is delivered at all. All rules are reported, and all searches that were cut short.
pub(crate) fn decide(
    triggered: &[Triggered<'_>],
    incomplete: &Incomplete<'_>,
    recipients: impl FnOnce() -> Vec<Vec<u8>>,
) -> (Decision, Edits) {
    if triggered.is_empty() && incomplete.searches.is_empty() {
        return Decision::pass().into();
    }
    let winner = triggered.iter().rev().max_by_key(|rule| rule.action.severity());
    let of_rules = match winner.map(|rule| rule.action) {
        Some(Action::Reject(reply)) => Verdict::Reject(reply.clone()),
        Some(Action::Quarantine(reason)) => Verdict::Quarantine(reason.clone()),
        _ => route(triggered).map_or(Verdict::Pass, Verdict::Route),
    };
    let verdict = incomplete.verdict(of_rules);
    let is_delivered = matches!(verdict, Verdict::Pass | Verdict::Route(_));
    let decision = Decision::new(verdict).because(reason(triggered, incomplete.searches));
    let decision = tag(decision, triggered, incomplete.searches);
    let edits = if is_delivered { added_recipients(triggered, recipients) } else { Edits::new() };
    decision.with(edits)
}

/// Searches that were cut short, then what the operator wants to see, then every rule; `dlp-more` says how many tags had no
/// room.
fn tag(decision: Decision, triggered: &[Triggered<'_>], cut_short: &[&str]) -> Decision {
    let searches = cut_short.iter().map(|search| ("dlp-incomplete", *search));
    let own = triggered.iter().filter_map(|rule| match rule.action {
        Action::Tag(name) => Some((name.as_str(), rule.name)),
        _ => None,
    });
    let rules = triggered.iter().map(|rule| ("dlp", rule.name));
    let tags: Vec<(&str, &str)> = searches.chain(own).chain(rules).collect();
    let room = if tags.len() > MAX_TAGS { MAX_TAGS - 1 } else { tags.len() };
    let left_out = tags.len() - room;
    let decision = tags.into_iter().take(room).fold(decision, |decision, (name, value)| decision.tag(name, value));
    if left_out == 0 { decision } else { decision.tag("dlp-more", left_out.to_string()) }
}

fn route(triggered: &[Triggered<'_>]) -> Option<String> {
    triggered.iter().find_map(|rule| match rule.action {
        Action::Route(name) => Some(name.clone()),
        _ => None,
    })
}

/// Each address once, and none that is a recipient already: the message would go to it twice.
fn added_recipients(triggered: &[Triggered<'_>], recipients: impl FnOnce() -> Vec<Vec<u8>>) -> Edits {
    let wanted = triggered.iter().filter_map(|rule| match rule.action {
        Action::AddRecipient(address) => Some(address.as_str()),
        _ => None,
    });
    let wanted: Vec<&str> = wanted.collect();
    if wanted.is_empty() {
        return Edits::new();
    }
    let recipients = recipients();
    let mut added: Vec<&str> = Vec::new();
    for address in wanted {
        let is_there = recipients.iter().any(|recipient| recipient.eq_ignore_ascii_case(address.as_bytes()))
            || added.iter().any(|other| other.eq_ignore_ascii_case(address));
        if !is_there {
            added.push(address);
        }
    }
    added.into_iter().fold(Edits::new(), |edits, address| edits.add_recipient(address))
}

fn reason(triggered: &[Triggered<'_>], cut_short: &[&str]) -> String {
    let rules = triggered.iter().map(|rule| format!("rule \"{}\": {}", rule.name, rule.description));
    // What was cut short stands first, so that a long reason does not lose it.
    let searches = cut_short.iter().map(|search| format!("{search}: {}", Incomplete::TEXT));
    let mut reason = searches.chain(rules).collect::<Vec<_>>().join("; ");
    if reason.len() > MAX_REASON {
        reason.truncate(reason.floor_char_boundary(MAX_REASON));
        reason.push_str("...");
    }
    reason
}
