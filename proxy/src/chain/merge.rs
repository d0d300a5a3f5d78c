//! How the decisions of several filters become one: the rules in docs/filters.md, as code.

use std::time::Duration;

use mailweir_smtp::reply::Reply;

use crate::config::{Effect, OnError};
use crate::host::{Cause, Cost, Failure};
use crate::message::Message;
use crate::verdict::{Decision, EditNote, Tag, Verdict};

use super::Envelope;

/// Tarpits of one transaction add up to this at most.
const MAX_TARPIT: Duration = Duration::from_secs(30);

/// The tag of a message that can be read in several ways, or of which something could not be unpacked.
pub const CONTENT: &str = "mailweir-content";

/// Tags that a transaction keeps; a filter that sets some for each recipient would hold memory without bound.
const MAX_TAGS: usize = 256;

/// What a phase before the end of the message leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Ruling {
    /// Nothing stands against going on.
    Continue,
    /// The command, the recipient or the message is refused.
    Refuse(Refusal),
}

/// Who refused, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// What the client is told.
    pub reply: Reply,
    /// Whether the connection is closed after it.
    pub disconnect: bool,
}

/// What becomes of a message in the end.
#[derive(Debug, Clone, PartialEq)]
pub enum Disposition {
    /// Through this route, or the listener's.
    Deliver {
        /// A filter's choice.
        route: Option<String>,
    },
    /// Refused.
    Refuse(Refusal),
    /// Accepted and dropped.
    Discard,
    /// Accepted and kept.
    Quarantine {
        /// The filter that asked for it.
        plugin: String,
        /// Why.
        reason: String,
    },
}

/// The end of a transaction's way through its chain.
#[derive(Debug, Clone)]
pub struct Conclusion {
    /// What becomes of the message.
    pub disposition: Disposition,
    /// The message with all edits.
    pub message: Message,
    /// The envelope with all edits.
    pub envelope: Envelope,
}

/// What one filter said and cost in a transaction, for the log, the metrics and `replay`.
#[derive(Debug, Clone, Default)]
pub struct PluginRecord {
    /// Its name in the configuration.
    pub name: String,
    /// The weightiest thing it said: a verdict's name, or "failed".
    pub verdict: &'static str,
    /// Why.
    pub reason: String,
    /// The sum of its scores.
    pub score: Option<f32>,
    /// What it used.
    pub cost: Cost,
    /// How it failed, if it did.
    pub failed: Option<Cause>,
    /// Whether it was called at all.
    pub called: bool,
}

/// What has been said so far in a transaction.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) tags: Vec<Tag>,
    pub(super) fate: Fate,
    pub(super) edits: Vec<(String, EditNote)>,
    tarpit: Duration,
    tarpit_owed: Duration,
}

/// What is to become of a message if nobody refuses it.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate {
    /// Who wants it kept, and why.
    pub(super) quarantine: Option<(String, String)>,
    pub(super) route: Option<String>,
    pub(super) discarded: bool,
}

/// What one decision means for the filters after it.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// The next filter is called.
    Next,
    /// The next filter is called; this one never again in this transaction.
    Retire,
    /// The phase is over.
    Stop(Refusal),
    /// The message will be dropped: no filter is called any more.
    Drop,
}

impl Tally {
    /// Tags a message for what was odd about its content, once a filter has had it looked into.
    pub(super) fn note_content(&mut self, message: &Message) {
        for mark in message.marks() {
            let tag = Tag { name: CONTENT.to_owned(), value: mark.as_str().to_owned() };
            if !self.tags.contains(&tag) {
                self.tags.push(tag);
            }
        }
    }

    /// Takes in what a filter decided.
    pub(super) fn take(&mut self, plugin: &str, decision: Decision, record: &mut PluginRecord) -> Step {
        record.note(&decision);
        let room = MAX_TAGS.saturating_sub(self.tags.len());
        self.tags.extend(decision.tags.into_iter().take(room));
        match decision.verdict {
            Verdict::Pass => Step::Next,
            Verdict::Accept => Step::Retire,
            Verdict::Reject(reply) | Verdict::TempFail(reply) => Step::Stop(Refusal { reply, disconnect: false }),
            Verdict::Disconnect(reply) => Step::Stop(Refusal { reply, disconnect: true }),
            Verdict::Discard => {
                self.fate.discarded = true;
                Step::Drop
            }
            Verdict::Quarantine(reason) => {
                self.fate.quarantine.get_or_insert_with(|| (plugin.to_owned(), reason));
                Step::Next
            }
            Verdict::Tarpit(delay) => {
                let granted = delay.min(MAX_TARPIT.saturating_sub(self.tarpit));
                self.tarpit += granted;
                self.tarpit_owed += granted;
                Step::Next
            }
            Verdict::Route(name) => {
                self.fate.route = Some(name);
                Step::Next
            }
        }
    }

    /// Takes in that a filter failed: what follows is the operator's choice for each cause.
    pub(super) fn take_failure(
        &mut self,
        plugin: &str,
        failure: &Failure,
        effect: Effect,
        record: &mut PluginRecord,
    ) -> Step {
        record.verdict = "failed";
        record.reason = failure.to_string();
        let refuse = |reply| Step::Stop(Refusal { reply, disconnect: false });
        match effect {
            Effect::TempFail => refuse(Reply::new(451, "4.7.1", "The message cannot be checked now, try again later")),
            Effect::Reject => refuse(Reply::new(554, "5.7.1", "The message cannot be checked")),
            Effect::Skip => {
                self.tags.push(Tag { name: "mailweir-skipped".to_owned(), value: plugin.to_owned() });
                Step::Retire
            }
        }
    }

    /// The delay that is due since the last call.
    pub(super) fn take_tarpit(&mut self) -> Duration {
        std::mem::take(&mut self.tarpit_owed)
    }
}

impl PluginRecord {
    /// What it said, in a word: one that was never asked is not reported to have passed anything.
    pub fn said(&self) -> &'static str {
        if self.called || self.failed.is_some() || self.verdict != "pass" { self.verdict } else { "not called" }
    }

    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), verdict: "pass", ..Self::default() }
    }

    fn note(&mut self, decision: &Decision) {
        if let Some(score) = decision.score {
            *self.score.get_or_insert(0.0) += score;
        }
        // A later "pass" or "accept" does not take back what was said before it.
        let verdict = decision.verdict.name();
        if weight(verdict) > weight(self.verdict) || (verdict == self.verdict && !decision.reason.is_empty()) {
            self.verdict = verdict;
            self.reason.clone_from(&decision.reason);
        } else if self.reason.is_empty() {
            self.reason.clone_from(&decision.reason);
        }
    }
}

/// How much a verdict says: of what one filter said in a transaction, the weightiest is shown.
fn weight(verdict: &str) -> Option<usize> {
    const ORDER: [&str; 9] =
        ["pass", "accept", "tarpit", "route", "quarantine", "discard", "tempfail", "reject", "disconnect"];
    ORDER.iter().position(|name| *name == verdict)
}

/// The operator's choice for a cause of failure.
pub(super) fn effect(on_error: &OnError, cause: Cause) -> Effect {
    match cause {
        Cause::Trap => on_error.trap,
        Cause::Timeout => on_error.timeout,
        Cause::Memory => on_error.memory,
        Cause::Unavailable => on_error.unavailable,
    }
}
