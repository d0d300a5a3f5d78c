//! Reading replies off the wire, bounded and bit by bit.

use std::borrow::Cow;

use bytes::{Buf, BytesMut};
use thiserror::Error;

use super::{Reply, printable};

/// The longest line taken, in octets without CRLF. RFC 5321 says 512; some servers say more.
const MAX_LINE: usize = 4096;
/// The most lines of a reply. EHLO answers of 30 lines exist.
const MAX_LINES: usize = 128;

/// How a server broke the protocol with a reply. The server's fault, and the connection is past use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// A line is longer than 4096 octets.
    #[error("reply line too long")]
    LineTooLong,
    /// The reply has more than 128 lines.
    #[error("reply of too many lines")]
    TooManyLines,
    /// A line does not begin with a code of 200 to 599 and a space or hyphen, or ends in a bare LF, or holds a bare CR.
    #[error("malformed reply line")]
    Malformed,
    /// The lines of one reply disagree on the code.
    #[error("reply code changes from line to line")]
    CodeChanges,
}

/// Collects the lines of one reply after another.
///
/// The texts are kept word for word, except that a control character becomes `?` and bytes that are no UTF-8 become
/// U+FFFD.
#[derive(Debug, Default)]
pub struct ReplyParser {
    lines: Vec<String>,
    code: u16,
    /// How far into the input there is known to be no LF.
    scanned: usize,
}

impl ReplyParser {
    /// Takes the next whole reply from `input`; `None` when more bytes are needed.
    ///
    /// # Errors
    ///
    /// See [`ReplyError`]. After an error the parser's state is meaningless.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Reply>, ReplyError> {
        loop {
            let Some(found) = memchr::memchr(b'\n', &input[self.scanned..]) else {
                self.scanned = input.len();
                // One more for a CR whose LF is to come.
                return if input.len() > MAX_LINE + 1 { Err(ReplyError::LineTooLong) } else { Ok(None) };
            };
            let end = self.scanned + found;
            self.scanned = 0;
            let line = input[..end].strip_suffix(b"\r").ok_or(ReplyError::Malformed)?;
            let is_last = self.take_line(line)?;
            input.advance(end + 1);
            if is_last {
                return Ok(Some(Reply { code: self.code, lines: std::mem::take(&mut self.lines) }));
            }
        }
    }

    /// Whether a reply has begun and not ended.
    pub fn is_mid_reply(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Adds a line; says whether it is the reply's last.
    fn take_line(&mut self, line: &[u8]) -> Result<bool, ReplyError> {
        if line.len() > MAX_LINE {
            return Err(ReplyError::LineTooLong);
        }
        let &[class @ b'2'..=b'5', second @ b'0'..=b'9', third @ b'0'..=b'9', ref rest @ ..] = line else {
            return Err(ReplyError::Malformed);
        };
        let code = [class, second, third].iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        // A code without any text is allowed (RFC 5321 section 4.2: clients must accept it).
        let (is_last, text) = match rest {
            [] => (true, &[][..]),
            [b' ', text @ ..] => (true, text),
            [b'-', text @ ..] => (false, text),
            _ => return Err(ReplyError::Malformed),
        };
        if memchr::memchr(b'\r', text).is_some() {
            return Err(ReplyError::Malformed);
        }
        if self.is_mid_reply() && code != self.code {
            return Err(ReplyError::CodeChanges);
        }
        if self.lines.len() == MAX_LINES {
            return Err(ReplyError::TooManyLines);
        }
        self.code = code;
        // What from_utf8_lossy gives, and faster where the text is UTF-8, as nearly all is.
        self.lines.push(printable(str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed)));
        Ok(is_last)
    }
}
