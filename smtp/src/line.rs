//! Command lines, cut out of the input: bounded, incremental, ended by CRLF and nothing else.

use bytes::{Buf, BytesMut};
use thiserror::Error;

/// Why a line was thrown away. The client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LineError {
    /// The line is longer than the limit.
    #[error("line too long")]
    TooLong,
    /// A CR or LF that is not part of a CRLF.
    #[error("bare CR or LF in a command line")]
    BareNewline,
}

/// Finds the end of one command line after another, and looks at no byte twice.
///
/// A faulty line is reported as soon as it is known to be faulty and dropped up to the next CRLF: what comes after a
/// bare LF is never taken for a command of its own.
#[derive(Debug)]
pub struct LineReader {
    limit: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The input up to here holds neither CR nor LF, but for a CR at the very end.
    Reading { scanned: usize },
    /// The line was reported; its rest is dropped.
    Dropping,
}

impl LineReader {
    /// `limit`: octets of a line, CRLF included.
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(2), state: State::Reading { scanned: 0 } }
    }

    /// The length of the line at the front of `input`, without its CRLF; `None` when more bytes are needed.
    ///
    /// The line stays in `input` until [`Self::consume`] is called.
    ///
    /// # Errors
    ///
    /// See [`LineError`]. The faulty line goes on being dropped by the next call.
    pub fn find(&mut self, input: &mut BytesMut) -> Option<Result<usize, LineError>> {
        if matches!(self.state, State::Dropping) {
            drop_to_newline(input)?;
            self.state = State::Reading { scanned: 0 };
        }
        let State::Reading { scanned } = self.state else { return None };
        let end = memchr::memchr2(b'\r', b'\n', &input[scanned..]).map_or(input.len(), |found| scanned + found);
        if end + 2 > self.limit {
            self.state = State::Dropping;
            return Some(Err(LineError::TooLong));
        }
        match input[end..] {
            [b'\r', b'\n', ..] => {
                self.state = State::Reading { scanned: end };
                Some(Ok(end))
            }
            [] | [b'\r'] => {
                self.state = State::Reading { scanned: end };
                None
            }
            _ => {
                self.state = State::Dropping;
                Some(Err(LineError::BareNewline))
            }
        }
    }

    /// Removes the line that [`Self::find`] found, with its CRLF.
    pub fn consume(&mut self, input: &mut BytesMut, length: usize) {
        input.advance(length + 2);
        self.state = State::Reading { scanned: 0 };
    }
}

/// Drops all up to and with the next CRLF; `None` when there is none yet.
fn drop_to_newline(input: &mut BytesMut) -> Option<()> {
    if let Some(found) = memchr::memmem::find(input, b"\r\n") {
        input.advance(found + 2);
        return Some(());
    }
    // The CR at the end may be half of it.
    let kept = usize::from(input.ends_with(b"\r"));
    input.advance(input.len() - kept);
    None
}

#[cfg(test)]
mod tests;
