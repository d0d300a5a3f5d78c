//! How a message ended: what the client is told, and what is written down.

use mailweir_smtp::reply::Reply;

use crate::admin::metrics::MessageOutcome;
use crate::upstream::{Delivery, UpstreamError};

/// How a message ended.
pub(super) struct Outcome {
    pub(super) kind: MessageOutcome,
    /// What the client is told.
    pub(super) reply: Reply,
    pub(super) disconnect: bool,
    /// The upstream's own reply and name, when it was asked.
    pub(super) upstream: Option<(String, Reply)>,
    pub(super) reason: String,
}

impl Outcome {
    fn ours(reply: Reply) -> Self {
        Self { kind: MessageOutcome::Delivered, reply, disconnect: false, upstream: None, reason: String::new() }
    }

    /// Ours to answer for, whoever gets it.
    pub(super) fn accepted(kind: MessageOutcome, id: &str) -> Self {
        Self { kind, ..Self::ours(Reply::new(250, "2.0.0", &format!("OK {id}"))) }
    }

    /// Refused by us or by a filter.
    pub(super) fn refused(reply: Reply) -> Self {
        let kind = if reply.is_permanent() { MessageOutcome::Rejected } else { MessageOutcome::TempFailed };
        Self { kind, ..Self::ours(reply) }
    }

    /// The client left in the middle of its message, or before the answer to it.
    pub(super) fn aborted() -> Self {
        let reply = Reply::new(451, "4.4.2", "The client left");
        Self { kind: MessageOutcome::Aborted, ..Self::ours(reply) }
    }

    /// Refused by us, for a reason of ours.
    pub(super) fn failed(reply: Reply, reason: &str) -> Self {
        Self { reason: reason.to_owned(), ..Self::refused(reply) }
    }

    /// What the upstream said is what the client is told.
    pub(super) fn upstream(name: String, reply: Reply) -> Self {
        let kind = if reply.is_positive() { MessageOutcome::Delivered } else { MessageOutcome::UpstreamRefused };
        Self { kind, upstream: Some((name, reply.clone())), ..Self::ours(reply) }
    }
}

/// What became of a message that was sent.
pub(super) fn answered(delivery: &Delivery, answer: Result<Reply, UpstreamError>) -> Outcome {
    // Asked for afterwards: a connection that had died meanwhile may have been replaced by one to another host.
    let name = name(delivery);
    match answer {
        Ok(reply) => Outcome::upstream(name, reply),
        Err(error) => {
            tracing::warn!(upstream = name, %error, in_doubt = error.is_in_doubt(), "the upstream gave no answer to the message");
            Outcome::failed(error.reply(), &error.to_string())
        }
    }
}

/// Route and host, for the log.
pub(super) fn name(delivery: &Delivery) -> String {
    let route = delivery.route().name();
    delivery.host().map_or_else(|| route.to_owned(), |host| format!("{route}/{host}"))
}
