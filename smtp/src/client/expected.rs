//! What a reply to come will answer.

use super::ClientEvent;
use crate::reply::Reply;

/// What a reply to come will answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Greeting,
    Hello,
    Helo,
    StartTls,
    XClient,
    Mail,
    Rcpt,
    Data,
    Message,
    Chunk,
    Reset,
    Noop,
    Quit,
}

impl Expected {
    /// Whether `code` makes sense as the answer (RFC 5321 section 4.3.2): refusals always do.
    pub(super) fn allows(self, code: u16) -> bool {
        match (self, code) {
            (_, 400..=599) => true,
            (Self::Data, _) => code == 354,
            (Self::Greeting | Self::StartTls | Self::XClient, _) => code == 220,
            (_, 200..=299) => true,
            _ => false,
        }
    }

    pub(super) fn event(self, reply: Reply) -> ClientEvent {
        match self {
            Self::Greeting => ClientEvent::Greeting(reply),
            Self::Hello | Self::Helo => ClientEvent::Hello(reply),
            Self::StartTls => ClientEvent::StartTls(reply),
            Self::XClient => ClientEvent::XClient(reply),
            Self::Mail => ClientEvent::Mail(reply),
            Self::Rcpt => ClientEvent::Rcpt(reply),
            Self::Data => ClientEvent::Data(reply),
            Self::Message => ClientEvent::Message(reply),
            Self::Chunk => ClientEvent::Chunk(reply),
            Self::Reset => ClientEvent::Reset(reply),
            Self::Noop => ClientEvent::Noop(reply),
            Self::Quit => ClientEvent::Quit(reply),
        }
    }
}
