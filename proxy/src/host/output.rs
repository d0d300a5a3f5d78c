//! Checks everything that comes back from a filter, and turns it into the proxy's own types.
//!
//! A value that the contract allows but that is larger than anybody needs is cut. A value that the contract forbids
//! is an error of the filter, and nothing of what it returned is used.

mod edits;
mod reply;

use std::time::Duration;

pub use super::bindings::mailweir::filter::types;
use super::failure::one_line;
use crate::verdict::{Decision, Tag, Verdict};

pub use edits::edits;

/// Bytes of a decision's reason; the rest is cut.
const REASON_LIMIT: usize = 1024;
/// Tags of a decision.
const TAGS_LIMIT: usize = 64;
/// Bytes of a tag's name.
const TAG_NAME_LIMIT: usize = 64;
/// Bytes of a tag's value; the rest is cut.
const TAG_VALUE_LIMIT: usize = 512;
/// Bytes of a quarantine's reason; the rest is cut.
const QUARANTINE_LIMIT: usize = 256;
/// Bytes of a route's name.
const ROUTE_LIMIT: usize = 128;

/// What a filter returned that it may not. Its error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// A reply whose code does not fit the verdict.
    #[error("a reply with code {code} to {verdict}")]
    Code {
        /// What it returned.
        code: u16,
        /// What it was to go with.
        verdict: &'static str,
    },
    /// An enhanced status code that is none, or of another class than the reply.
    #[error("a reply {code} with the enhanced status code {enhanced:?}")]
    Enhanced {
        /// The reply's code.
        code: u16,
        /// What it returned.
        enhanced: String,
    },
    /// A reply's text is too long.
    #[error("a reply of {0} bytes")]
    ReplyLength(usize),
    /// A reply's text holds a control character.
    #[error("a reply with the control character {0:?}")]
    ReplyCharacter(char),
    /// Too many tags.
    #[error("{0} tags in a decision")]
    Tags(usize),
    /// A tag's name is none.
    #[error("a tag named {0:?}")]
    TagName(String),
    /// A route's name is none.
    #[error("a route named {0:?}")]
    Route(String),
    /// A score that is no number.
    #[error("a score that is not finite")]
    Score,
    /// An edit; which one, and what is wrong with it.
    #[error("edit {position}: {fault}")]
    Edit {
        /// Counted from 0.
        position: usize,
        /// What is wrong.
        fault: EditFault,
    },
    /// Edits from a filter whose plan says that it makes none.
    #[error("edits, though its plan says that it makes none")]
    UnplannedEdits,
    /// Too many edits.
    #[error("{0} edits of one message")]
    Edits(usize),
}

/// What is wrong with an edit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditFault {
    /// Not a field name (RFC 5322 section 3.6.8), or a very long one.
    #[error("{0:?} is no field name")]
    FieldName(String),
    /// The value is too long.
    #[error("a field value of {0} bytes")]
    ValueLength(usize),
    /// The value holds a NUL, or a CR or LF that does not fold it.
    #[error("a field value with a NUL, a bare CR or LF, or a folded line without text")]
    Value,
    /// Not an address.
    #[error("{0:?} is no address")]
    Address(String),
    /// The body has a bare CR or LF, or its last line does not end.
    #[error("a body whose lines do not all end in CRLF")]
    Body,
    /// The edits of one message are too large together.
    #[error("edits of more than {0} bytes together")]
    Size(usize),
}

/// Checks a decision.
///
/// # Errors
///
/// The first thing in it that the contract forbids.
pub fn decision(decision: types::Decision) -> Result<Decision, OutputError> {
    if decision.tags.len() > TAGS_LIMIT {
        return Err(OutputError::Tags(decision.tags.len()));
    }
    if decision.score.is_some_and(|score| !score.is_finite()) {
        return Err(OutputError::Score);
    }
    Ok(Decision {
        verdict: verdict(decision.verdict)?,
        score: decision.score,
        reason: one_line(&decision.reason, REASON_LIMIT),
        tags: decision.tags.into_iter().map(tag).collect::<Result<_, _>>()?,
    })
}

fn verdict(verdict: types::Verdict) -> Result<Verdict, OutputError> {
    use types::Verdict as Returned;
    Ok(match verdict {
        Returned::Pass => Verdict::Pass,
        Returned::Accept => Verdict::Accept,
        Returned::Reject(reply) => Verdict::Reject(reply::reject(&reply)?),
        Returned::Tempfail(reply) => Verdict::TempFail(reply::tempfail(&reply)?),
        Returned::Discard => Verdict::Discard,
        Returned::Disconnect(reply) => Verdict::Disconnect(reply::disconnect(&reply)?),
        Returned::Quarantine(reason) => Verdict::Quarantine(one_line(&reason, QUARANTINE_LIMIT)),
        // Capped by the chain, which knows how long its client waits.
        Returned::Tarpit(milliseconds) => Verdict::Tarpit(Duration::from_millis(milliseconds.into())),
        Returned::Route(name) => Verdict::Route(route(name)?),
    })
}

/// A route's name is a key of the configuration; whether there is such a route is known by the chain.
fn route(name: String) -> Result<String, OutputError> {
    if name.is_empty() || name.len() > ROUTE_LIMIT || name.chars().any(char::is_control) {
        return Err(OutputError::Route(one_line(&name, ROUTE_LIMIT)));
    }
    Ok(name)
}

fn tag(tag: types::Tag) -> Result<Tag, OutputError> {
    let types::Tag { name, value } = tag;
    let named = !name.is_empty() && name.len() <= TAG_NAME_LIMIT && name.bytes().all(|byte| byte.is_ascii_graphic());
    if !named {
        return Err(OutputError::TagName(one_line(&name, TAG_NAME_LIMIT)));
    }
    Ok(Tag { name, value: one_line(&value, TAG_VALUE_LIMIT) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass() -> types::Decision {
        types::Decision { verdict: types::Verdict::Pass, score: None, reason: String::new(), tags: Vec::new() }
    }

    fn check(verdict: types::Verdict) -> Result<Verdict, OutputError> {
        decision(types::Decision { verdict, ..pass() }).map(|decision| decision.verdict)
    }

    #[test]
    fn what_explains_a_verdict_is_cut_to_one_line() {
        let long = types::Decision { reason: "a\r\n".repeat(10_000), ..pass() };
        let reason = decision(long).unwrap().reason;
        assert!(reason.len() <= REASON_LIMIT && reason.starts_with("a\\r\\na"));
        let quarantine = check(types::Verdict::Quarantine("x\n".repeat(10_000))).unwrap();
        assert!(matches!(quarantine, Verdict::Quarantine(reason) if reason.len() <= QUARANTINE_LIMIT));
    }

    #[test]
    fn tags_are_few_and_named() {
        let tagged = |name: &str, count: usize| {
            let tag = types::Tag { name: name.to_owned(), value: "v".repeat(1000) };
            decision(types::Decision { tags: vec![tag; count], ..pass() })
        };
        assert_eq!(tagged("spam", 64).unwrap().tags[63].value.len(), TAG_VALUE_LIMIT);
        assert_eq!(tagged("spam", 65), Err(OutputError::Tags(65)));
        for name in ["", "two words", "line\n", "\0", &"n".repeat(65)] {
            assert!(matches!(tagged(name, 1), Err(OutputError::TagName(_))), "{name:?}");
        }
    }

    #[test]
    fn scores_are_numbers_and_routes_have_names() {
        for score in [f32::NAN, f32::INFINITY] {
            assert_eq!(decision(types::Decision { score: Some(score), ..pass() }), Err(OutputError::Score));
        }
        assert_eq!(check(types::Verdict::Route("gateway".to_owned())), Ok(Verdict::Route("gateway".to_owned())));
        for name in ["", "a\r\nb", &"r".repeat(129)] {
            assert!(matches!(check(types::Verdict::Route(name.to_owned())), Err(OutputError::Route(_))));
        }
    }
}
