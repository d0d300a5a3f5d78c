//! Finding the end of the header section while the message arrives, and counting it against its caps.
//!
//! The header section ends at the first empty line, or before the first line that is neither a field nor a
//! continuation. Parsers differ on the latter: some take such a line for the beginning of the body, others skip it and
//! read on, so what stands after it can be hidden from one of them. As Postfix does, we take it for the body and send
//! an empty line before it, so that everybody after us reads what our filters read.

use memchr::memchr;

use super::{MessageFault, MessageLimits, framing::Framing, rope::Offset};

/// Where the header section of a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct HeaderEnd {
    /// Its beginning: 0, or after an mbox separator ("From " at the very beginning, RFC 4155), which is no part of a
    /// message and would make a body of everything after it.
    pub(super) start: Offset,
    /// The end of the last field.
    pub(super) fields: Offset,
    /// The beginning of the body; equal to `fields` when there is no empty line.
    pub(super) body: Offset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    LineStart,
    /// A CR at the beginning of a line.
    EmptyLine,
    Name,
    /// White space between the name and the colon (RFC 5322 section 4.5).
    NameSpace,
    /// In the value of a field, folded lines included.
    Value,
    /// In an mbox separator.
    Separator,
}

#[derive(Debug)]
pub(super) struct HeaderFinder {
    framing: Framing,
    limits: MessageLimits,
    state: State,
    at: Offset,
    line: Offset,
    start: Offset,
    fields: usize,
    /// The first bytes of the message, to recognise an mbox separator.
    opening: [u8; 6],
}

impl HeaderFinder {
    pub(super) fn new(framing: Framing, limits: MessageLimits) -> Self {
        Self {
            framing,
            limits,
            state: State::LineStart,
            at: Offset::default(),
            line: Offset::default(),
            start: Offset::default(),
            fields: 0,
            opening: [0; 6],
        }
    }

    /// Looks at the next bytes of the message, as they stand on the wire. Not to be called again after it gave
    /// something.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<Result<HeaderEnd, MessageFault>> {
        let mut rest = bytes;
        while let [byte, tail @ ..] = rest {
            if matches!(self.state, State::Value | State::Separator) {
                let line = memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
                self.advance(line);
                if rest[line - 1] == b'\n' {
                    self.end_line();
                }
                rest = &rest[line..];
            } else {
                let is_stuffing =
                    self.framing == Framing::DotStuffed && *byte == b'.' && self.at.wire == self.line.wire;
                if is_stuffing {
                    self.at.wire += 1;
                } else if let Some(end) = self.step(*byte) {
                    return Some(Ok(end));
                }
                rest = tail;
            }
            if let Err(fault) = self.check() {
                return Some(Err(fault));
            }
        }
        None
    }

    /// The message is over and `feed` gave nothing.
    pub(super) fn finish(&self) -> HeaderEnd {
        match self.state {
            State::Value | State::LineStart => HeaderEnd { start: self.start, fields: self.at, body: self.at },
            State::Separator => HeaderEnd { start: self.at, fields: self.at, body: self.at },
            State::EmptyLine | State::Name | State::NameSpace => self.not_a_field(),
        }
    }

    fn advance(&mut self, count: usize) {
        self.at.wire += count as u64;
        self.at.plain += count as u64;
    }

    fn end_line(&mut self) {
        if self.state == State::Separator {
            self.start = self.at;
        }
        self.line = self.at;
        self.state = State::LineStart;
    }

    fn check(&self) -> Result<(), MessageFault> {
        if self.at.plain - self.start.plain > self.limits.header_size {
            return Err(MessageFault::HeaderTooLarge(self.limits.header_size));
        }
        if self.fields > self.limits.header_fields {
            return Err(MessageFault::TooManyFields(self.limits.header_fields));
        }
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Option<HeaderEnd> {
        if let Some(slot) = usize::try_from(self.at.plain).ok().and_then(|at| self.opening.get_mut(at)) {
            *slot = byte;
        }
        let next = match (self.state, byte) {
            (State::LineStart, b'\r') => State::EmptyLine,
            (State::LineStart | State::EmptyLine, b'\n') => {
                let fields = self.line;
                self.advance(1);
                return Some(HeaderEnd { start: self.start, fields, body: self.at });
            }
            (State::LineStart, b' ' | b'\t') if self.fields > 0 => State::Value,
            (State::LineStart | State::Name, byte) if is_name_byte(byte) => State::Name,
            (State::Name | State::NameSpace, b' ' | b'\t') => State::NameSpace,
            (State::Name | State::NameSpace, b':') => {
                self.fields += 1;
                State::Value
            }
            _ if self.is_separator() => State::Separator,
            _ => return Some(self.not_a_field()),
        };
        self.advance(1);
        self.state = next;
        None
    }

    /// Whether the line that turned out not to be a field is an mbox separator. (A line that ends before anything
    /// follows "From " is none.)
    fn is_separator(&self) -> bool {
        let is_first = self.line == Offset::default();
        is_first && self.state == State::NameSpace && (self.opening.starts_with(b"From ") || &self.opening == b">From ")
    }

    fn not_a_field(&self) -> HeaderEnd {
        HeaderEnd { start: self.start, fields: self.line, body: self.line }
    }
}

/// RFC 5322 section 2.2: printable US-ASCII except the colon.
pub(super) fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b':'
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::DecodingLimits;

    const LIMITS: MessageLimits = MessageLimits {
        header_size: 64,
        header_fields: 3,
        mime_parts: 10,
        mime_depth: 10,
        decoding: DecodingLimits::DEFAULT,
    };

    fn find(framing: Framing, message: &[u8]) -> Result<HeaderEnd, MessageFault> {
        let mut finder = HeaderFinder::new(framing, LIMITS);
        finder.feed(message).unwrap_or_else(|| Ok(finder.finish()))
    }

    fn plain(message: &str) -> (u64, u64, u64) {
        let end = find(Framing::Plain, message.as_bytes()).unwrap();
        (end.start.plain, end.fields.plain, end.body.plain)
    }

    #[test]
    fn where_the_header_section_ends() {
        assert_eq!(plain(""), (0, 0, 0));
        assert_eq!(plain("\r\nbody"), (0, 0, 2));
        assert_eq!(plain("no field\r\n"), (0, 0, 0));
        assert_eq!(plain(" a: b\r\n"), (0, 0, 0), "a continuation of nothing");
        assert_eq!(plain("A: b\r\n\r\nbody"), (0, 6, 8));
        assert_eq!(plain("A: b\r\n"), (0, 6, 6));
        assert_eq!(plain("A: b"), (0, 4, 4));
        assert_eq!(plain("A: b\r\nnot\r\nC: d\r\n\r\n"), (0, 6, 6));
        assert_eq!(plain("A: b\r\nnot"), (0, 6, 6));
        assert_eq!(plain("A: b\r\nA b: c\r\n"), (0, 6, 6), "a space in the name");
        assert_eq!(plain("A: b\r\nB\u{e9}: c\r\n"), (0, 6, 6), "a name is US-ASCII");
        assert_eq!(plain("A : b\r\n c\r\n \r\n d\r\n\r\n"), (0, 18, 20), "obsolete folding and space");
        assert_eq!(plain("From a@b Mon Jan 1\r\nA: b\r\n\r\n"), (20, 26, 28));
        assert_eq!(plain(">From a@b Mon\r\nA: b\r\n\r\n"), (15, 21, 23));
        assert_eq!(plain("From : b\r\n\r\n"), (0, 10, 12));
        assert_eq!(plain("A: b\r\nFrom a@b Mon\r\n\r\n"), (0, 6, 6), "only at the very beginning");
    }

    #[test]
    fn stuffing_is_counted_apart() {
        let end = find(Framing::DotStuffed, b"..a: b\r\n..: c\r\n\r\n..").unwrap();
        assert_eq!(end.fields, Offset { wire: 15, plain: 13 });
        assert_eq!(end.body, Offset { wire: 17, plain: 15 });
    }

    #[test]
    fn caps() {
        let long = format!("A: {}", "b".repeat(100));
        assert!(matches!(find(Framing::Plain, long.as_bytes()), Err(MessageFault::HeaderTooLarge(64))));
        assert!(matches!(find(Framing::Plain, b"a:\r\nb:\r\nc:\r\nd:\r\n"), Err(MessageFault::TooManyFields(3))));
    }
}
