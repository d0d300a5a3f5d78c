//! What a filter answers: a verdict and what explains it.

use core::time::Duration;

use crate::Edits;
pub use crate::bindings::mailweir::filter::types::{Decision, Verdict};
use crate::{Reply, Tag};

impl Decision {
    /// This verdict, with nothing said about it.
    pub const fn new(verdict: Verdict) -> Self {
        Self { verdict, score: None, reason: String::new(), tags: Vec::new() }
    }

    /// No objection.
    pub const fn pass() -> Self {
        Self::new(Verdict::Pass)
    }

    /// No objection, and no further call to this filter in this transaction. The other filters go on.
    pub const fn accept() -> Self {
        Self::new(Verdict::Accept)
    }

    /// Refuse for good, with the code 550 (see [`code`](Self::code)), an RFC 3463 code such as "5.7.1" (or "" for the
    /// host's default) and at most 400 bytes of text on one line.
    pub fn reject(enhanced: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Verdict::Reject(Reply::new(550, enhanced, text)))
    }

    /// Refuse for now, with the code 451 (see [`code`](Self::code)) and an RFC 3463 code such as "4.7.1".
    pub fn tempfail(enhanced: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Verdict::Tempfail(Reply::new(451, enhanced, text)))
    }

    /// Answer with this code (4xx or 5xx) and close the connection.
    pub fn disconnect(code: u16, enhanced: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Verdict::Disconnect(Reply::new(code, enhanced, text)))
    }

    /// Tell the client that the message was accepted, and drop it.
    pub const fn discard() -> Self {
        Self::new(Verdict::Discard)
    }

    /// Keep the message in the quarantine, for this reason, instead of delivering it.
    pub fn quarantine(reason: impl Into<String>) -> Self {
        Self::new(Verdict::Quarantine(reason.into()))
    }

    /// Answer only after this long (whole milliseconds; the host caps it at 30 s), then as if [`pass`](Self::pass).
    pub fn tarpit(delay: Duration) -> Self {
        Self::new(Verdict::Tarpit(u32::try_from(delay.as_millis()).unwrap_or(u32::MAX)))
    }

    /// Deliver through the route of this name instead of the listener's.
    pub fn route(name: impl Into<String>) -> Self {
        Self::new(Verdict::Route(name.into()))
    }

    /// Why, for the log and the operator; never sent to the client. A second call replaces the first.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reason = reason.into();
        self
    }

    /// State a fact about the message; later filters and the log see it.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push(Tag { name: name.into(), value: value.into() });
        self
    }

    /// This filter's own measure. Those of all filters are added up.
    #[must_use]
    pub const fn score(mut self, score: f32) -> Self {
        self.score = Some(score);
        self
    }

    /// Another reply code than the default; it does nothing to a verdict without a reply. 4xx for tempfail, 5xx for
    /// reject, either for disconnect.
    #[must_use]
    pub const fn code(mut self, code: u16) -> Self {
        if let Verdict::Reject(reply) | Verdict::Tempfail(reply) | Verdict::Disconnect(reply) = &mut self.verdict {
            reply.code = code;
        }
        self
    }

    /// Together with these edits: what [`Filter::on_end`](crate::Filter::on_end) returns.
    pub const fn with(self, edits: Edits) -> (Self, Edits) {
        (self, edits)
    }

    /// Whether it neither refuses the message nor takes it off its way: pass, accept or tarpit.
    pub const fn is_pass(&self) -> bool {
        matches!(self.verdict, Verdict::Pass | Verdict::Accept | Verdict::Tarpit(_))
    }
}

impl Default for Decision {
    fn default() -> Self {
        Self::pass()
    }
}

impl From<Decision> for (Decision, Edits) {
    fn from(decision: Decision) -> Self {
        (decision, Edits::new())
    }
}

impl Reply {
    /// A reply of one line.
    pub fn new(code: u16, enhanced: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code, enhanced: enhanced.into(), text: text.into() }
    }
}
