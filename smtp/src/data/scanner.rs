//! Content handed on in pieces that share the input's memory: what follows DATA, and what follows BDAT.

use bytes::{Buf, Bytes, BytesMut};

use super::content::{Content, Fate};
use super::{BareNewline, Framing, MessageFault, MessageSummary, Unremarkable};

/// Pieces of at least this many octets are handed on, except at the end of a message, so that a client that sends
/// octet by octet, or chunk by tiny chunk, costs no allocation for each.
pub const PIECE: usize = 16 * 1024;

/// Where the input has less room than this left, half a piece is handed on as well: for more to be read, it would have to
/// be moved.
const LEAST_ROOM: usize = 2 * 1024;

/// What a scanner found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scanned {
    /// The next piece of the content.
    Piece(Bytes),
    /// The end of the message, or, under BDAT, of a chunk that broke it. No piece follows a fault.
    End(Result<MessageSummary, MessageFault>),
}

/// Reads the content that follows DATA; pieces come out dot-stuffed, as they came in.
///
/// Content stays in the caller's input until there are [`PIECE`] octets of it, so the input must be able to grow a
/// few octets beyond that.
#[derive(Debug)]
pub struct DataScanner {
    content: Content,
    /// Octets at the front of the input that have been looked at and are to be handed on.
    verified: usize,
}

/// Reads the content of BDAT chunks; pieces come out plain.
#[derive(Debug)]
pub struct ChunkScanner {
    content: Content,
}

impl DataScanner {
    /// A message of at most `limit` octets.
    pub fn new(newlines: BareNewline, limit: u64) -> Self {
        Self { content: Content::new(Framing::DotStuffed, newlines, limit), verified: 0 }
    }

    /// The same, with another way of passing over ordinary lines.
    #[must_use]
    pub fn passing(mut self, unremarkable: Unremarkable) -> Self {
        self.content.unremarkable = unremarkable;
        self
    }

    /// The fault that has been found, if there is one. No piece follows, only the end.
    pub fn fault(&self) -> Option<MessageFault> {
        self.content.fault()
    }

    /// Takes the next piece, or the end, from `input`; `None` when more bytes are needed.
    ///
    /// After the end, what is left in `input` are commands, and the scanner is done.
    pub fn next(&mut self, input: &mut BytesMut) -> Option<Scanned> {
        let ended = self.content.scan(input, &mut self.verified);
        if let Fate::Dropping(fault) = self.content.fate {
            input.advance(std::mem::take(&mut self.verified));
            if !ended {
                return None;
            }
            input.advance(TERMINATOR.len());
            return Some(Scanned::End(Err(fault)));
        }
        let ready = self.content.gathered.len() + self.verified;
        let is_full = || ready >= PIECE / 2 && input.capacity() - input.len() < LEAST_ROOM;
        if ready >= PIECE || (ended && ready > 0) || is_full() {
            return Some(Scanned::Piece(self.take_verified(input)));
        }
        if !ended {
            return None;
        }
        input.advance(TERMINATOR.len());
        Some(Scanned::End(Ok(self.content.summary())))
    }

    fn take_verified(&mut self, input: &mut BytesMut) -> Bytes {
        let verified = input.split_to(std::mem::take(&mut self.verified));
        if self.content.gathered.is_empty() {
            return verified.freeze();
        }
        self.content.gathered.extend_from_slice(&verified);
        self.content.gathered.split().freeze()
    }

    /// Reads on to the end, but hands nothing on: the caller has lost interest.
    pub(crate) fn discard(&mut self) {
        // Which fault is of no matter, nobody will be told.
        self.content.fail(MessageFault::TooLarge);
    }
}

/// What ends DATA, after the CRLF that belongs to the content.
const TERMINATOR: &[u8] = b".\r\n";

impl ChunkScanner {
    /// A message of at most `limit` octets.
    pub fn new(newlines: BareNewline, limit: u64) -> Self {
        Self { content: Content::new(Framing::Plain, newlines, limit) }
    }

    /// The same, with another way of passing over ordinary lines.
    #[must_use]
    pub fn passing(mut self, unremarkable: Unremarkable) -> Self {
        self.content.unremarkable = unremarkable;
        self
    }

    /// Announces a chunk of `size` octets, which may already be too many.
    pub fn begin(&mut self, size: u64) {
        if self.content.size.saturating_add(size) > self.content.limit {
            self.content.fail(MessageFault::TooLarge);
        }
    }

    /// Takes the next piece of the chunk, of which `remaining` octets are still in `input` or to come.
    ///
    /// `None` means that more bytes are needed or, when `remaining` is zero, that the chunk is over.
    pub fn next(&mut self, input: &mut BytesMut, remaining: &mut u64) -> Option<Bytes> {
        let wanted = usize::try_from(*remaining).unwrap_or(usize::MAX);
        let available = input.len().min(wanted);
        if let Fate::Dropping(_) = self.content.fate {
            input.advance(available);
            *remaining -= available as u64;
            return None;
        }
        if available == 0 || available < wanted.min(PIECE) {
            return None;
        }
        *remaining -= available as u64;
        self.absorb(input.split_to(available))
    }

    /// The fault that has been found, if there is one.
    pub fn fault(&self) -> Option<MessageFault> {
        self.content.fault()
    }

    /// After the last chunk: what is left, and then the end.
    pub fn finish(&mut self) -> Scanned {
        self.content.end_of_chunks();
        match self.fault() {
            Some(fault) => Scanned::End(Err(fault)),
            None if self.content.gathered.is_empty() => Scanned::End(Ok(self.content.summary())),
            None => Scanned::Piece(self.content.gathered.split().freeze()),
        }
    }

    fn absorb(&mut self, mut piece: BytesMut) -> Option<Bytes> {
        let mut verified = 0;
        self.content.scan(&mut piece, &mut verified);
        if self.fault().is_some() {
            return None;
        }
        let gathered = &mut self.content.gathered;
        if gathered.is_empty() && piece.len() >= PIECE {
            return Some(piece.freeze());
        }
        gathered.extend_from_slice(&piece);
        (gathered.len() >= PIECE).then(|| gathered.split().freeze())
    }
}

#[cfg(test)]
mod tests;
