//! Proof that nothing was lost, doubled or altered: each message carries its number and the hash of its content.
//!
//! A message that is part of a proof has this line in its header section, above all that it vouches for:
//!
//! ```text
//! Load-Proof: v1 <run> <number> <hash>
//! ```
//!
//! `run` is one generator's share of a run, 16 hexadecimal digits; `number` is decimal and given to one message only; `hash` is the
//! XXH3-128, 32 hexadecimal digits, of every octet of the content after this line's CRLF, without dot-stuffing. What servers
//! on the way put on top of it does not matter. Templates are hashed once: the number stands outside of what is hashed.

mod account;
mod numbers;

use std::fmt;
use std::str::FromStr;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};
use twox_hash::xxhash3_128::Hasher;

pub(crate) use account::{Received, Sent, SentRun, Verdict};
pub(crate) use numbers::Numbers;

/// The begin of the line.
const MARK: &[u8] = b"Load-Proof: v1 ";
/// Of the whole line, with CRLF: mark, run, number, hash and what is between them.
const LONGEST_LINE: usize = MARK.len() + 16 + 1 + 20 + 1 + 32 + 2;

/// One generator's share of a run: numbers are its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Run(u64);

/// What a hash came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Digest(u128);

/// What a proof line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProofLine {
    pub(crate) run: Run,
    pub(crate) number: u64,
    pub(crate) digest: Digest,
}

/// What a message that arrived is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// What it was when it was sent.
    Intact { run: Run, number: u64 },
    /// Something below the line changed.
    Altered { run: Run, number: u64 },
    /// It has no such line.
    Unmarked,
}

/// Finds the line in a message that arrives piece by piece, and hashes what follows it.
pub(crate) struct ProofReader(State);

enum State {
    /// At the begin of a line or in it: as much of it as matters.
    Line(Line),
    /// In the content that the line vouches for.
    Content(ProofLine, Box<Hasher>),
    /// The header section ended without such a line.
    Unmarked,
}

/// The line that is being read.
struct Line {
    begin: [u8; LONGEST_LINE],
    /// How much of it there was; no more than the array holds is kept.
    length: usize,
}

impl Run {
    pub(crate) fn new(id: u64) -> Self {
        Self(id)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

impl FromStr for Run {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        hexadecimal(text.as_bytes(), 16).map(|id| Self(id as u64)).ok_or("not a run: 16 hexadecimal digits")
    }
}

impl Serialize for Run {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Run {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Digest {
    /// Of all that follows the proof line, in pieces.
    pub(crate) fn of(pieces: impl Iterator<Item = impl AsRef<[u8]>>) -> Self {
        let mut hasher = Hasher::new();
        pieces.for_each(|piece| hasher.write(piece.as_ref()));
        Self(hasher.finish_128())
    }
}

impl ProofLine {
    /// Appends the line, CRLF included. It holds no dot, so it is the same for DATA and BDAT.
    pub(crate) fn write(&self, message: &mut BytesMut) {
        let Self { run, number, digest: Digest(digest) } = self;
        message.extend_from_slice(MARK);
        put_hexadecimal::<16>(message, run.0.into());
        message.extend_from_slice(b" ");
        put_decimal(message, *number);
        message.extend_from_slice(b" ");
        put_hexadecimal::<32>(message, *digest);
        message.extend_from_slice(b"\r\n");
    }

    /// Reads a line without its CRLF.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = line.strip_prefix(MARK)?.split(|&byte| byte == b' ');
        let run = Run(hexadecimal(words.next()?, 16)? as u64);
        let number = words.next().filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        let number = str::from_utf8(number).ok()?.parse().ok()?;
        let digest = Digest(hexadecimal(words.next()?, 32)?);
        words.next().is_none().then_some(Self { run, number, digest })
    }
}

impl Default for ProofReader {
    fn default() -> Self {
        Self(State::Line(Line::empty()))
    }
}

impl ProofReader {
    /// Takes the next piece of the content, without dot-stuffing.
    pub(crate) fn push(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() {
            match &mut self.0 {
                State::Unmarked => return,
                State::Content(_, hasher) => return hasher.write(piece),
                State::Line(line) => {
                    let end = memchr::memchr(b'\n', piece);
                    let (now, later) = piece.split_at(end.map_or(piece.len(), |end| end + 1));
                    line.push(now);
                    piece = later;
                    if end.is_some() {
                        self.0 = line.ended();
                    }
                }
            }
        }
    }

    /// The message is at its end.
    pub(crate) fn finish(self) -> Arrival {
        match self.0 {
            State::Content(ProofLine { run, number, digest: Digest(expected) }, hasher) => {
                if hasher.finish_128() == expected {
                    Arrival::Intact { run, number }
                } else {
                    Arrival::Altered { run, number }
                }
            }
            State::Line(_) | State::Unmarked => Arrival::Unmarked,
        }
    }
}

impl Line {
    const fn empty() -> Self {
        Self { begin: [0; LONGEST_LINE], length: 0 }
    }

    fn push(&mut self, piece: &[u8]) {
        let kept = piece.len().min(LONGEST_LINE - self.length.min(LONGEST_LINE));
        if kept > 0 {
            self.begin[self.length..self.length + kept].copy_from_slice(&piece[..kept]);
        }
        self.length += piece.len();
    }

    /// What comes after this line.
    fn ended(&self) -> State {
        let line = self.begin.get(..self.length).unwrap_or_default();
        if matches!(line, b"\r\n" | b"\n") {
            return State::Unmarked;
        }
        match line.strip_suffix(b"\r\n").and_then(ProofLine::parse) {
            Some(proof) => State::Content(proof, Box::new(Hasher::new())),
            None => State::Line(Self::empty()),
        }
    }
}

fn hexadecimal(digits: &[u8], count: usize) -> Option<u128> {
    let lower = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != count || !digits.iter().all(lower) {
        return None;
    }
    u128::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

fn put_hexadecimal<const DIGITS: usize>(text: &mut BytesMut, mut value: u128) {
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
    text.extend_from_slice(&digits);
}

fn put_decimal(text: &mut BytesMut, mut value: u64) {
    let mut digits = [b'0'; 20];
    let mut begin = digits.len();
    loop {
        begin -= 1;
        digits[begin] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    text.extend_from_slice(&digits[begin..]);
}

#[cfg(test)]
mod tests;
