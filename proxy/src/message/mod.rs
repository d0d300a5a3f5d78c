//! A message: its bytes, header fields, MIME parts, texts, URLs, edits and its form on the wire.
//!
//! Bytes are copied once, from the socket into a chunk, and stay there as they came: dot-stuffed from DATA, plain from
//! BDAT. [`Incoming`] takes them while they arrive; [`Message`] is the finished thing, immutable and cheap to clone.
//! What is derived from it (one contiguous view, the MIME tree, decoded texts, URLs) is made on first need and once.
//!
//! Every byte held, received or derived, is charged to a [`Budget`]: beyond its memory share bytes go to unlinked
//! files, beyond its disk share the sender waits, and then gets [`StoreError::Full`]. The charge lives inside the
//! `Bytes` themselves, so it ends when the last slice of them does, whoever holds it.
//!
//! This module decides nothing: caps end in a [`MessageFault`], and the caller rejects.

mod budget;
mod spill;
mod fault;
mod accumulator;
mod framing;
mod rope;
mod header;
mod header_end;
mod incoming;
mod content;
mod model;
mod mime;
mod decode;
mod text;
mod html;
mod url;
mod edit;
pub mod scan;
mod refusal;

pub use budget::{Begun, Budget, Reservation, Turn, Usage};
pub use content::{Chunks, Wire};
pub use edit::{EditError, EditFault};
pub use framing::Framing;
pub use header::{Field, HeaderSection, is_field_name};
pub use incoming::Incoming;
pub use mime::{Disposition, Mark, Mime, Origin, Part, Text};
pub use model::{Contiguous, Message};
pub use spill::clear as clear_spill_files;
pub use text::TextUnit;
pub use url::{Url, UrlSource};

use std::{io, sync::Arc};

use crate::config::{Excess, Limits};

/// Caps on a message's structure. One over its cap is refused whole, never half-parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageLimits {
    /// Bytes of the header section.
    pub header_size: u64,
    /// Fields of the header section, and of each part's.
    pub header_fields: usize,
    /// MIME parts, multiparts and attached messages included.
    pub mime_parts: usize,
    /// MIME parts inside one another.
    pub mime_depth: usize,
    /// Caps on what is unpacked of attachments.
    pub decoding: DecodingLimits,
}

/// Caps on what is unpacked of attached archives and the like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodingLimits {
    /// Unpacked bytes of a message.
    pub size: u64,
    /// Unpacked bytes for each byte of the message; it counts from 16 MiB on.
    pub ratio: u64,
    /// Files unpacked.
    pub entries: usize,
    /// Archives inside one another.
    pub depth: usize,
    /// What a message over one of these leads to.
    pub excess: Excess,
}

impl DecodingLimits {
    /// Those of a listener that sets none.
    pub const DEFAULT: Self = Self { size: 100 << 20, ratio: 200, entries: 5000, depth: 8, excess: Excess::Reject };
}

impl From<&Limits> for MessageLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            header_size: limits.header_size,
            header_fields: limits.header_fields,
            mime_parts: limits.mime_parts,
            mime_depth: limits.mime_depth,
            decoding: DecodingLimits {
                size: limits.decoded_size,
                ratio: limits.decoded_ratio,
                entries: limits.decoded_entries,
                depth: limits.decoded_depth,
                excess: limits.decoded_excess,
            },
        }
    }
}

/// What is wrong with a message, so that it has to be refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MessageFault {
    /// The sender's fault: the header section has more bytes than the cap.
    #[error("header section larger than {0} bytes")]
    HeaderTooLarge(u64),
    /// The sender's fault: a header section has more fields than the cap.
    #[error("more than {0} header fields")]
    TooManyFields(usize),
    /// The sender's fault: a Content-Type or Content-Disposition field has more parameters than anything sane.
    #[error("more than {0} parameters in a MIME header field")]
    TooManyParameters(usize),
    /// The sender's fault: more MIME parts than the cap.
    #[error("more than {0} MIME parts")]
    TooManyParts(usize),
    /// The sender's fault: MIME parts nested deeper than the cap.
    #[error("MIME parts nested deeper than {0}")]
    TooDeep(usize),
    /// The sender's fault: it can be read in more ways than are tried.
    #[error("MIME parts that can be read in more than {0} ways")]
    TooAmbiguous(usize),
    /// The sender's fault: its attachments unpack to more than the caps allow; the text says which.
    #[error("an attachment cannot be unpacked within limits: {0}")]
    Decoding(String),
    /// The sender's fault: its URLs have more different hosts than are kept.
    #[error("URLs of more than {0} hosts")]
    TooManyHosts(usize),
    /// Not the sender's fault: the bytes could not be kept or read. A refusal for now.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why message bytes could not be kept or read back.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Memory and disk shares are used up, and nothing came free in time; or the disk is full (452 4.3.1).
    #[error("no room for message bytes")]
    Full,
    /// The spill file failed (451 4.3.0).
    #[error("spill file: {0}")]
    Io(Arc<io::Error>),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::Full,
            _ => Self::Io(Arc::new(error)),
        }
    }
}

#[cfg(test)]
mod tests;
