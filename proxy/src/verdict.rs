//! What filters decide and how a message ends: the host's own, checked form of the contract's records.

use std::time::Duration;

use mailweir_smtp::reply::Reply;

/// What one filter wants to happen, checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// No objection.
    Pass,
    /// No objection, and no further call to this filter in this transaction.
    Accept,
    /// A permanent refusal; the reply is 5xx.
    Reject(Reply),
    /// A refusal for now; the reply is 4xx.
    TempFail(Reply),
    /// Accepted towards the client, and dropped.
    Discard,
    /// Answered with this reply, and the connection closed.
    Disconnect(Reply),
    /// Kept in the quarantine for this reason.
    Quarantine(String),
    /// Answered only after this long, then as `Pass`.
    Tarpit(Duration),
    /// Delivered through the route of this name.
    Route(String),
}

impl Verdict {
    /// The word for it in logs, metrics and `replay`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Accept => "accept",
            Self::Reject(_) => "reject",
            Self::TempFail(_) => "tempfail",
            Self::Discard => "discard",
            Self::Disconnect(_) => "disconnect",
            Self::Quarantine(_) => "quarantine",
            Self::Tarpit(_) => "tarpit",
            Self::Route(_) => "route",
        }
    }
}

/// A fact about the message that a filter, or the host, states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// What it is about.
    pub name: String,
    /// What is said.
    pub value: String,
}

/// A verdict with what explains it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What is to happen.
    pub verdict: Verdict,
    /// The filter's own measure.
    pub score: Option<f32>,
    /// For the log; never sent to the client.
    pub reason: String,
    /// Facts for later filters and the log.
    pub tags: Vec<Tag>,
}

impl Decision {
    /// No objection and nothing to say.
    pub fn pass() -> Self {
        Self { verdict: Verdict::Pass, score: None, reason: String::new(), tags: Vec::new() }
    }
}

/// A change to the message or its envelope, checked: names are field names, values hold no bare CR or LF, addresses
/// parse.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// A field at the end of the header section.
    AddHeader {
        /// The field's name.
        name: String,
        /// Its value, folded or not, without the CRLF at its end.
        value: Vec<u8>,
    },
    /// A field before the one at this position from the top.
    InsertHeader {
        /// 0 is the top.
        position: usize,
        /// The field's name.
        name: String,
        /// Its value.
        value: Vec<u8>,
    },
    /// The nth field of that name goes.
    RemoveHeader {
        /// The field's name, in any case.
        name: String,
        /// 0 is the topmost.
        occurrence: usize,
    },
    /// The nth field of that name gets this value.
    ReplaceHeader {
        /// The field's name, in any case.
        name: String,
        /// 0 is the topmost.
        occurrence: usize,
        /// Its new value.
        value: Vec<u8>,
    },
    /// One more envelope recipient.
    AddRecipient(String),
    /// One envelope recipient less.
    RemoveRecipient(String),
    /// Another envelope sender; empty for the null reverse-path.
    ChangeSender(String),
    /// Everything after the header section.
    ReplaceBody(Vec<u8>),
}

/// What is remembered of an edit that was applied: all of it but a body's bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum EditNote {
    /// A change to the header section or the envelope.
    Whole(Edit),
    /// The body was replaced by one of so many bytes.
    ReplacedBody(usize),
}

impl From<Edit> for EditNote {
    fn from(edit: Edit) -> Self {
        match edit {
            Edit::ReplaceBody(body) => Self::ReplacedBody(body.len()),
            edit => Self::Whole(edit),
        }
    }
}
