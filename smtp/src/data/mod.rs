//! The content of messages: where it ends, how it is framed, what newlines it may hold.
//!
//! DATA ends at CRLF `.` CRLF (RFC 5321 section 4.1.1.4), where the first CRLF may be that of the DATA command itself,
//! and at nothing else. Lines are ended by CRLF and nothing else either, so a bare CR or LF is content that some
//! other server could take for the end of a line, and then for the end of the message ("SMTP smuggling"). What is done
//! about them is [`BareNewline`]'s to say, for DATA and BDAT alike.
//!
//! Octets above 127 pass, and so does NUL: RFC 5321 forbids it without BINARYMIME, but refusing it is a filter's
//! decision, except where it could change framing. A server that drops NULs would take NUL `.` CRLF at the beginning of
//! a line for the end, so a line that begins with NUL, or with `.` NUL, is a fault under any policy but
//! [`BareNewline::Keep`].

mod scanner;
mod content;
mod stuffing;
mod unremarkable;

pub use scanner::{ChunkScanner, DataScanner, PIECE, Scanned};
pub use stuffing::{DotStuffer, DotUnstuffer, Pieces};
pub use unremarkable::{Unremarkable, unremarkable};

use thiserror::Error;

use crate::reply::Reply;

/// How the bytes of a message are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// As DATA transmits it: a `.` at the beginning of a line is preceded by another (RFC 5321 section 4.5.2).
    DotStuffed,
    /// As BDAT transmits it: as it is.
    Plain,
}

/// What a CR without LF, or a LF without CR, leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareNewline {
    /// The message is refused.
    #[default]
    Reject,
    /// It becomes CRLF in what is passed on. For the end of data it counts as any other octet.
    Normalize,
    /// It is content like any other: right for BODY=BINARYMIME, where lengths do the framing, and nowhere else.
    Keep,
}

/// A message that came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageSummary {
    /// Octets of the content, without dot-stuffing, after normalization.
    pub bytes: u64,
    /// Whether the content is empty or ends in CRLF. Always so after DATA; after BDAT a sender of DATA has to supply
    /// the CRLF before the final dot.
    pub ends_with_newline: bool,
}

/// Why a message is refused, whatever its content says. The client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MessageFault {
    /// A bare CR or LF, under [`BareNewline::Reject`].
    #[error("bare CR or LF in the message")]
    BareNewline,
    /// A NUL that, dropped by somebody on the way, could make the line's dot the end of the message.
    #[error("NUL at the beginning of a line")]
    Nul,
    /// More octets than the limit.
    #[error("message too large")]
    TooLarge,
}

impl MessageFault {
    /// 550 5.6.11, or 552 5.3.4 for size.
    pub fn reply(self) -> Reply {
        match self {
            Self::BareNewline => Reply::new(550, "5.6.11", "Bare CR or LF in the message"),
            Self::Nul => Reply::new(550, "5.6.11", "NUL at the beginning of a line"),
            Self::TooLarge => Reply::new(552, "5.3.4", "Message too large"),
        }
    }
}
