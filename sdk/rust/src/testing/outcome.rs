//! What a run came to.

use std::collections::BTreeMap;

use crate::observe::Level;
use crate::{Decision, Edit, Tag, Verdict};

/// The phases of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// `on_connect`
    Connect,
    /// `on_helo`
    Helo,
    /// `on_mail`
    Mail,
    /// `on_rcpt`
    Rcpt,
    /// `on_headers`
    Headers,
    /// `on_body`
    Body,
    /// `on_end`
    End,
}

/// What a filter did with a message.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Each decision, in the order in which they were made.
    pub decisions: Vec<(Phase, Decision)>,
    /// What it comes to for the message: the refusal that ended the transaction, else discard, quarantine or the last
    /// route, else pass.
    pub verdict: Verdict,
    /// The edits that `on_end` returned.
    pub edits: Vec<Edit>,
    /// The message after the edits; lines end in CRLF.
    pub message: Vec<u8>,
    /// The envelope sender after the edits.
    pub sender: Vec<u8>,
    /// The recipients that were not refused, after the edits.
    pub recipients: Vec<Vec<u8>>,
    /// What was logged.
    pub logs: Vec<(Level, String)>,
    /// What was counted, by event.
    pub counts: BTreeMap<String, u64>,
    /// The names that were looked up in DNS, in order.
    pub dns_queries: Vec<String>,
}

impl Outcome {
    /// The reply of a refusal, such as "550 5.7.1 No".
    pub fn reply(&self) -> Option<String> {
        match &self.verdict {
            Verdict::Reject(reply) | Verdict::Tempfail(reply) | Verdict::Disconnect(reply) => {
                let enhanced = if reply.enhanced.is_empty() { "" } else { " " };
                Some(format!("{}{enhanced}{} {}", reply.code, reply.enhanced, reply.text))
            }
            _ => None,
        }
    }

    /// The reasons that were given, in order.
    pub fn reasons(&self) -> Vec<&str> {
        self.decisions.iter().map(|(_, decision)| decision.reason.as_str()).filter(|text| !text.is_empty()).collect()
    }

    /// All tags that were set, in order.
    pub fn tags(&self) -> Vec<&Tag> {
        self.decisions.iter().flat_map(|(_, decision)| &decision.tags).collect()
    }

    /// The value of the last tag of that name.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.tags().into_iter().rev().find(|tag| tag.name == name).map(|tag| tag.value.as_str())
    }

    /// The sum of the scores.
    pub fn score(&self) -> f32 {
        self.decisions.iter().filter_map(|(_, decision)| decision.score).sum()
    }

    /// The value of the topmost field of that name in the message after the edits.
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers(name).into_iter().next()
    }

    /// The values of all fields of that name in the message after the edits, from the top.
    pub fn headers(&self, name: &str) -> Vec<String> {
        let section = &self.message[..super::message::header_size(&self.message)];
        let named = super::message::fields(section).into_iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| String::from_utf8_lossy(&value).into_owned()).collect()
    }
}
