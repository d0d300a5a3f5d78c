//! Sending a message's bytes: many slices with one system call, and an ear for an upstream that objects midway.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};

use super::connection::{Connection, Progress};
use super::error::ConnectionError;
use crate::message::{Framing, StoreError};

/// Slices handed to one system call.
pub(super) const SLICES: usize = 64;
/// Bytes fetched ahead of the socket. What is in memory costs nothing, but a spilled message is read back by this much.
const AHEAD: usize = 128 * 1024;
/// Bytes that have to go out within the limit: a server that reads octet by octet does not hold its connection for ever.
const PROGRESS: usize = 16 * 1024;

/// Why a body did not go out as a whole.
#[derive(Debug)]
pub(super) enum BodyError {
    /// The upstream said something before the end: whatever it is, it did not take the message.
    Interrupted,
    /// The connection broke. The upstream may have said why before that.
    Broken(ConnectionError),
    /// Our own bytes could not be read.
    Store(StoreError),
}

/// The last two bytes of a body so far, which say whether the final dot would stand on a line of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tail([u8; 2]);

impl Default for Tail {
    /// After an empty body the CRLF of the DATA command is the one before the dot.
    fn default() -> Self {
        Self(*b"\r\n")
    }
}

/// Sends `pieces` with the line that the client machine has queued: before them if that is a BDAT line, after them, on
/// a line of its own, if it is the final dot.
///
/// Returns when the last byte was handed to the operating system; until then the upstream cannot have taken the
/// message, and what it has said before is no answer to it. `limit` is for each 16 KiB.
pub(super) async fn send(
    connection: &mut Connection,
    pieces: impl Iterator<Item = Result<Bytes, StoreError>>,
    framing: Framing,
    limit: Duration,
) -> Result<(), BodyError> {
    let line = connection.client.output().split().freeze();
    drain::<_, SLICES>(connection, Queue::new(pieces, framing, line), limit).await.map(|_| ())
}

/// Sends a part of what follows DATA, after the part that ended in `tail`; at most so many pieces with one system call.
/// Gives its own end.
pub(super) async fn send_part<I: Iterator<Item = Result<Bytes, StoreError>>, const AT_ONCE: usize>(
    connection: &mut Connection,
    pieces: I,
    tail: Tail,
    limit: Duration,
) -> Result<Tail, BodyError> {
    drain::<_, AT_ONCE>(connection, Queue::part(pieces, tail), limit).await
}

/// Sends the final dot after the last part.
pub(super) async fn send_end(
    connection: &mut Connection,
    dot: Bytes,
    tail: Tail,
    limit: Duration,
) -> Result<(), BodyError> {
    let queue = Queue { dot: Some(dot), is_end: true, ..Queue::part(std::iter::empty(), tail) };
    drain::<_, 2>(connection, queue, limit).await.map(|_| ())
}

/// Sends all that a queue gives.
async fn drain<I: Iterator<Item = Result<Bytes, StoreError>>, const AT_ONCE: usize>(
    connection: &mut Connection,
    mut queue: Queue<I>,
    limit: Duration,
) -> Result<Tail, BodyError> {
    let (mut since, mut written) = (Instant::now(), 0);
    loop {
        queue.fill().map_err(BodyError::Store)?;
        if queue.slices.is_empty() {
            break;
        }
        let mut slices = [IoSlice::new(&[]); AT_ONCE];
        for (slice, bytes) in slices.iter_mut().zip(&queue.slices) {
            *slice = IoSlice::new(bytes);
        }
        let filled = queue.slices.len().min(AT_ONCE);
        let is_last = queue.is_end && queue.is_exhausted && filled == queue.slices.len();
        if is_last && connection.has_spoken().map_err(BodyError::Broken)? {
            return Err(BodyError::Interrupted);
        }
        let left = limit.saturating_sub(since.elapsed());
        match connection.write_some(&slices[..filled], left).await.map_err(BodyError::Broken)? {
            Progress::Wrote(count) => {
                queue.consume(count);
                written += count;
                if written >= PROGRESS {
                    (since, written) = (Instant::now(), 0);
                }
            }
            Progress::Heard => return Err(BodyError::Interrupted),
        }
    }
    match connection.flush_some(limit).await.map_err(BodyError::Broken)? {
        Progress::Wrote(_) => Ok(queue.tail),
        Progress::Heard => Err(BodyError::Interrupted),
    }
}

/// Bytes on their way to the socket.
struct Queue<I> {
    pieces: I,
    /// The final dot, until it is queued.
    dot: Option<Bytes>,
    is_exhausted: bool,
    slices: VecDeque<Bytes>,
    bytes: usize,
    tail: Tail,
    /// With the last byte the upstream has the whole message.
    is_end: bool,
}

impl<I: Iterator<Item = Result<Bytes, StoreError>>> Queue<I> {
    fn new(pieces: I, framing: Framing, line: Bytes) -> Self {
        let mut queue = Self { is_end: true, ..Self::part(pieces, Tail::default()) };
        match framing {
            Framing::DotStuffed => queue.dot = Some(line),
            Framing::Plain => queue.push(line),
        }
        queue
    }

    fn part(pieces: I, tail: Tail) -> Self {
        let slices = VecDeque::with_capacity(4);
        Self { pieces, dot: None, is_exhausted: false, slices, bytes: 0, tail, is_end: false }
    }

    /// Fetches pieces until there is enough for one write; the final dot after the last of them, and before it a CRLF
    /// if the body does not end in one (RFC 5321 section 4.1.1.4).
    fn fill(&mut self) -> Result<(), StoreError> {
        while !self.is_exhausted && self.slices.len() < SLICES && self.bytes < AHEAD {
            match self.pieces.next() {
                Some(piece) => self.push_body(piece?),
                None => self.is_exhausted = true,
            }
        }
        if self.is_exhausted
            && let Some(dot) = self.dot.take()
        {
            if self.tail != Tail::default() {
                self.push(Bytes::from_static(b"\r\n"));
            }
            self.push(dot);
        }
        Ok(())
    }

    fn push_body(&mut self, piece: Bytes) {
        match *piece {
            [] => return,
            [last] => self.tail = Tail([self.tail.0[1], last]),
            [.., before, last] => self.tail = Tail([before, last]),
        }
        self.push(piece);
    }

    fn push(&mut self, bytes: Bytes) {
        self.bytes += bytes.len();
        self.slices.push_back(bytes);
    }

    fn consume(&mut self, mut count: usize) {
        self.bytes -= count;
        while let Some(first) = self.slices.front_mut() {
            if count < first.len() {
                return first.advance(count);
            }
            count -= first.len();
            self.slices.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes over the wire when `step` bytes are taken at a time.
    fn wire(pieces: &[&'static str], framing: Framing, line: &'static str, step: usize) -> String {
        let pieces = pieces.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
        let mut queue = Queue::new(pieces, framing, Bytes::from_static(line.as_bytes()));
        let mut wire = Vec::new();
        loop {
            queue.fill().unwrap();
            let next: Vec<u8> = queue.slices.iter().flatten().copied().take(step).collect();
            if next.is_empty() {
                return String::from_utf8(wire).unwrap();
            }
            queue.consume(next.len());
            wire.extend(next);
        }
    }

    #[test]
    fn the_dot_stands_on_a_line_of_its_own() {
        let cases: [(&[&str], &str); 8] = [
            (&[], ".\r\n"),
            (&["", ""], ".\r\n"),
            (&["a\r\n"], "a\r\n.\r\n"),
            (&["a\r", "\n"], "a\r\n.\r\n"),
            (&["a", "\r", "", "\n"], "a\r\n.\r\n"),
            (&["a"], "a\r\n.\r\n"),
            (&["a\n"], "a\n\r\n.\r\n"),
            (&["a\r"], "a\r\r\n.\r\n"),
        ];
        for (pieces, expected) in cases {
            for step in [1, 2, 3, 1000] {
                assert_eq!(wire(pieces, Framing::DotStuffed, ".\r\n", step), expected, "{pieces:?} by {step}");
            }
            assert_eq!(
                wire(pieces, Framing::Plain, "BDAT 9 LAST\r\n", 2),
                format!("BDAT 9 LAST\r\n{}", pieces.concat())
            );
        }
    }

    #[test]
    fn no_more_is_fetched_than_a_write_can_take() {
        let mut fetched = 0;
        let pieces = std::iter::repeat_with(|| {
            fetched += 1;
            Ok(Bytes::from_static(&[b'x'; AHEAD / 2]))
        });
        let mut queue = Queue::new(pieces.take(100), Framing::DotStuffed, Bytes::new());
        queue.fill().unwrap();
        assert_eq!(queue.slices.len(), 2);
        drop(queue);
        assert_eq!(fetched, 2);
    }
}
