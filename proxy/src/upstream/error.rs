//! Why a delivery did not come about, and what the client hears then.

use mailweir_smtp::client::ClientError;
use mailweir_smtp::reply::{MAX_TEXT, Reply};

use crate::message::StoreError;

/// Why there is no answer of an upstream's own to hand to the client. Never a success: the client keeps the message.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No upstream could be connected to, or none that is ready to take mail. Theirs, or the network's fault.
    #[error("no upstream of route {route} is reachable: {detail}")]
    Unreachable {
        /// The route's name.
        route: String,
        /// What the last host tried said or did.
        detail: String,
    },
    /// The route has as many connections as it may, and none came free. The operator's limit, or slow clients.
    #[error("route {route} has all of its connections in use (max_connections)")]
    TooMany {
        /// The route's name.
        route: String,
    },
    /// The connection broke, went silent or spoke nonsense in the middle of a transaction.
    #[error("{host} was lost: {cause}{}", if *.in_doubt { "; whether it took the message is in doubt" } else { "" })]
    Lost {
        /// The upstream.
        host: String,
        /// What happened.
        cause: ConnectionError,
        /// The whole message had been sent: the upstream may have taken it, and the client, who hears 451, will send
        /// it again (RFC 1047).
        in_doubt: bool,
    },
    /// The domain says that it takes no mail (RFC 7505).
    #[error("{0} has a null MX")]
    NullMx(String),
    /// The domain does not exist, or none of its mail exchangers has an address.
    #[error("{0} has no mail server")]
    NoMailServer(String),
    /// We are the domain's best mail exchanger ourselves.
    #[error("mail for {0} would come back to us")]
    Loop(String),
    /// The DNS did not answer.
    #[error("looking up {name}: {detail}")]
    Lookup {
        /// The name asked for.
        name: String,
        /// Why there is no answer.
        detail: String,
    },
    /// The message's bytes could not be read back. Our fault; the upstream was hung up on in the middle.
    #[error("the message could not be read: {0}")]
    Store(#[from] StoreError),
}

/// How a connection became unusable.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The peer closed it.
    #[error("connection closed")]
    Closed,
    /// Nothing came, or nothing could be written, for as long as the route allows.
    #[error("timed out")]
    TimedOut,
    /// The network failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A reply that is none, or none that was asked for.
    #[error(transparent)]
    Protocol(#[from] ClientError),
    /// A positive reply to a message that was not yet sent to its end.
    #[error("answered too early: {0}")]
    Early(Reply),
    /// The upstream closes the connection with a 421 (RFC 5321 section 3.8).
    #[error("the upstream closed the connection: {0}")]
    ShuttingDown(Reply),
}

impl ConnectionError {
    /// Whether the connection is at its end, as one may be that was idle for long; rather than in disorder.
    pub(super) fn is_end(&self) -> bool {
        match self {
            Self::Closed | Self::TimedOut | Self::Io(_) | Self::ShuttingDown(_) => true,
            Self::Protocol(_) | Self::Early(_) => false,
        }
    }
}

impl UpstreamError {
    /// What the client is told.
    pub fn reply(&self) -> Reply {
        match self {
            Self::Unreachable { .. } => Reply::new(451, "4.4.1", "The next mail server does not answer, try again"),
            Self::TooMany { .. } => Reply::new(451, "4.3.2", "Too many connections to the next mail server, try again"),
            Self::Lost { .. } => Reply::new(451, "4.4.2", "The connection to the next mail server broke, try again"),
            Self::NullMx(_) => Reply::new(556, "5.1.10", "The recipient's domain takes no mail"),
            Self::NoMailServer(_) => Reply::new(550, "5.1.2", "The recipient's domain has no mail server"),
            Self::Loop(_) => Reply::new(554, "5.4.6", "Mail for this domain would come back to us"),
            Self::Lookup { .. } => Reply::new(451, "4.4.3", "The recipient's domain cannot be looked up, try again"),
            Self::Store(StoreError::Full) => Reply::new(452, "4.3.1", "Out of room, try again"),
            Self::Store(_) => Reply::new(451, "4.3.0", "The message could not be read, try again"),
        }
    }

    /// Whether the upstream may have taken the message although it did not say so.
    pub fn is_in_doubt(&self) -> bool {
        matches!(self, Self::Lost { in_doubt: true, .. })
    }
}

/// A reply of the upstream's as the client may hear it: word for word, but a line too long for SMTP is cut at
/// [`MAX_TEXT`] octets, and a 421 becomes a 451.
///
/// 421 says that whoever sends it closes the connection (RFC 5321 section 3.8), which is true of the upstream's
/// connection to us and not of ours to the client. The enhanced code and the text stay: both are of class 4.
pub fn for_client(reply: Reply) -> Reply {
    let is_long = reply.lines().iter().any(|line| line.len() > MAX_TEXT);
    if reply.code() != 421 && !is_long {
        return reply;
    }
    let code = if reply.code() == 421 { 451 } else { reply.code() };
    let lines: Vec<&str> = reply.lines().iter().map(String::as_str).collect();
    Reply::multi(code, "", &lines)
}

#[cfg(test)]
mod tests {
    use mailweir_smtp::reply::ReplyParser;

    use super::*;

    #[test]
    fn a_421_is_not_passed_on_as_such() {
        let passed = for_client(Reply::multi(421, "4.3.2", &["shutting", "down"]));
        assert_eq!(passed, Reply::multi(451, "4.3.2", &["shutting", "down"]));
        let kept = Reply::new(451, "4.7.1", "Greylisted");
        assert_eq!(for_client(kept.clone()), kept);
    }

    #[test]
    fn a_line_that_smtp_cannot_hold_is_cut() {
        let wire = [b"550-5.7.1 ".as_slice(), &[0xff; 4000], b"\r\n550 5.7.1 Policy\r\n"].concat();
        let reply = ReplyParser::default().next(&mut wire.as_slice().into()).unwrap().unwrap();
        assert!(reply.lines()[0].len() > 3 * 4000, "what is no UTF-8 grows");
        let passed = for_client(reply);
        assert_eq!((passed.code(), passed.enhanced(), passed.lines().len()), (550, Some("5.7.1"), 2));
        assert!(passed.lines()[0].len() <= MAX_TEXT && passed.lines()[1] == "5.7.1 Policy");
    }

    #[test]
    fn no_failure_is_a_success() {
        let lost = UpstreamError::Lost { host: "a".to_owned(), cause: ConnectionError::Closed, in_doubt: true };
        assert!(lost.is_in_doubt());
        assert_eq!(lost.reply().code(), 451);
        assert_eq!(lost.to_string(), "a was lost: connection closed; whether it took the message is in doubt");
        assert_eq!(UpstreamError::NullMx("example.com".to_owned()).reply().code(), 556);
    }
}
