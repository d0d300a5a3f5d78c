//! One pass over the content of a message: finds its end, minds its newlines, counts its octets.

use bytes::{Buf, BytesMut};

use super::{BareNewline, Framing, MessageFault, MessageSummary, Unremarkable, unremarkable};

/// What is known of a message so far, whatever its framing.
#[derive(Debug)]
pub(super) struct Content {
    framing: Framing,
    newlines: BareNewline,
    pub(super) unremarkable: Unremarkable,
    /// The most octets.
    pub(super) limit: u64,
    /// Octets so far, without stuffing.
    pub(super) size: u64,
    place: Place,
    /// Content that could not be handed on in place: normalized, or gathered from tiny chunks.
    pub(super) gathered: BytesMut,
    pub(super) fate: Fate,
}

/// Where in a line the next octet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the beginning of a line, which a CRLF or the beginning of the message made.
    LineStart,
    /// After a bare newline that became CRLF: a `.` here was not stuffed by the sender and ends nothing.
    NormalizedLineStart,
    /// After a CR whose LF is to come.
    AfterCr,
    /// Anywhere else.
    InLine,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Fate {
    Passing,
    /// A fault was found: the rest is read and dropped.
    Dropping(MessageFault),
}

/// Why a look at some octets stopped.
enum Stop {
    /// All were looked at, except a few that mean nothing without those that follow.
    Exhausted,
    /// The `.` CRLF that ends the message comes next.
    Terminator,
    /// Here, `remove` octets are to be replaced by `insert`.
    Edit { remove: usize, insert: &'static [u8] },
    /// Something that is not allowed.
    Fault(MessageFault),
}

impl Content {
    pub(super) fn new(framing: Framing, newlines: BareNewline, limit: u64) -> Self {
        Self {
            framing,
            newlines,
            unremarkable,
            limit,
            size: 0,
            place: Place::LineStart,
            gathered: BytesMut::new(),
            fate: Fate::Passing,
        }
    }

    pub(super) fn summary(&self) -> MessageSummary {
        MessageSummary { bytes: self.size, ends_with_newline: self.place != Place::InLine }
    }

    /// The fault that has been found, if there is one.
    pub(super) fn fault(&self) -> Option<MessageFault> {
        match self.fate {
            Fate::Passing => None,
            Fate::Dropping(fault) => Some(fault),
        }
    }

    pub(super) fn fail(&mut self, fault: MessageFault) {
        self.fate = Fate::Dropping(fault);
        // From here on only the end matters, to which bare newlines are octets like others.
        self.newlines = BareNewline::Keep;
        if self.place == Place::NormalizedLineStart {
            self.place = Place::InLine;
        }
        self.gathered = BytesMut::new();
    }

    /// Looks at the octets of `input` beyond `verified` and moves `verified` on. Says whether the terminator follows.
    pub(super) fn scan(&mut self, input: &mut BytesMut, verified: &mut usize) -> bool {
        loop {
            let (looked_at, stop) = self.look(&input[*verified..]);
            *verified += looked_at;
            if self.size > self.limit && matches!(self.fate, Fate::Passing) {
                self.fail(MessageFault::TooLarge);
            }
            match (stop, self.fate) {
                (Stop::Exhausted, _) => return false,
                (Stop::Terminator, _) => return true,
                // What is dropped needs no correction; the next look passes over it.
                (Stop::Fault(_) | Stop::Edit { .. }, Fate::Dropping(_)) => {}
                (Stop::Fault(fault), Fate::Passing) => self.fail(fault),
                (Stop::Edit { remove, insert }, Fate::Passing) => {
                    self.gathered.extend_from_slice(&input[..*verified]);
                    self.gathered.extend_from_slice(insert);
                    input.advance(*verified + remove);
                    *verified = 0;
                }
            }
        }
    }

    /// Looks at `bytes` until something has to be done. This is the hot loop: a step for each block of ordinary lines,
    /// or for each line that is out of the ordinary, but not for each octet.
    fn look(&mut self, bytes: &[u8]) -> (usize, Stop) {
        let mut position = 0;
        let mut stuffing = 0;
        let stop = loop {
            let rest = &bytes[position..];
            let Some(&first) = rest.first() else { break Stop::Exhausted };
            match (self.place, first) {
                (Place::AfterCr, b'\n') => {
                    position += 1;
                    self.place = Place::LineStart;
                }
                (Place::AfterCr, _) => match self.newlines {
                    BareNewline::Reject => break Stop::Fault(MessageFault::BareNewline),
                    BareNewline::Keep => self.place = Place::InLine,
                    BareNewline::Normalize => {
                        self.place = Place::NormalizedLineStart;
                        self.size += 1;
                        break Stop::Edit { remove: 0, insert: b"\n" };
                    }
                },
                (Place::LineStart | Place::NormalizedLineStart, 0) if self.newlines != BareNewline::Keep => {
                    break Stop::Fault(MessageFault::Nul);
                }
                (Place::LineStart, b'.') if self.framing == Framing::DotStuffed => match rest {
                    [_, b'\r', b'\n', ..] => break Stop::Terminator,
                    [_] | [_, b'\r'] => break Stop::Exhausted,
                    [_, 0, ..] if self.newlines != BareNewline::Keep => break Stop::Fault(MessageFault::Nul),
                    // Without the stuffing the line is empty, and with it, once normalized, it would end the message.
                    [_, b'\r' | b'\n', ..] if self.newlines == BareNewline::Normalize => {
                        self.place = Place::InLine;
                        break Stop::Edit { remove: 1, insert: b"" };
                    }
                    _ => {
                        position += 1;
                        stuffing += 1;
                        self.place = Place::InLine;
                    }
                },
                (Place::NormalizedLineStart, b'.') if self.framing == Framing::DotStuffed => {
                    self.place = Place::InLine;
                    break Stop::Edit { remove: 0, insert: b"." };
                }
                (_, first) if let passed @ 1.. = self.passed(first, rest) => {
                    position += passed;
                    self.place = match bytes[position - 1] {
                        b'\r' => Place::AfterCr,
                        b'\n' => Place::LineStart,
                        _ => Place::InLine,
                    };
                }
                _ => match memchr::memchr2(b'\r', b'\n', rest) {
                    None => {
                        position = bytes.len();
                        self.place = Place::InLine;
                    }
                    Some(index) if rest[index..].starts_with(b"\r\n") => {
                        position += index + 2;
                        self.place = Place::LineStart;
                    }
                    Some(index) if rest[index] == b'\r' => {
                        position += index + 1;
                        self.place = Place::AfterCr;
                    }
                    Some(index) => {
                        position += index;
                        self.place = Place::InLine;
                        match self.newlines {
                            BareNewline::Reject => break Stop::Fault(MessageFault::BareNewline),
                            BareNewline::Keep => position += 1,
                            BareNewline::Normalize => {
                                self.place = Place::NormalizedLineStart;
                                self.size += 2;
                                break Stop::Edit { remove: 1, insert: b"\r\n" };
                            }
                        }
                    }
                },
            }
        };
        self.size = self.size.saturating_add((position - stuffing) as u64);
        (position, stop)
    }

    /// Octets that need no look, whatever came before them; a LF at the beginning does.
    fn passed(&self, first: u8, rest: &[u8]) -> usize {
        if first == b'\n' { 0 } else { (self.unremarkable)(rest) }
    }

    /// A CR that ended the last chunk was a bare one.
    pub(super) fn end_of_chunks(&mut self) {
        if self.place != Place::AfterCr {
            return;
        }
        match (self.newlines, self.fate) {
            (BareNewline::Reject, Fate::Passing) => self.fail(MessageFault::BareNewline),
            (BareNewline::Normalize, _) => {
                self.gathered.extend_from_slice(b"\n");
                self.size += 1;
                self.place = Place::NormalizedLineStart;
                if self.size > self.limit {
                    self.fail(MessageFault::TooLarge);
                }
            }
            _ => self.place = Place::InLine,
        }
    }
}
