//! What a message consists of: stretches of ropes and of bytes made by edits; and reading it, plain or for the wire.

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{
    StoreError,
    framing::{Framing, LinePosition},
    rope::{Offset, PIECE, Rope, WirePieces},
};

/// A stretch of a message. It begins at the beginning of a line, and so does what follows it.
#[derive(Debug, Clone)]
pub(super) enum Segment {
    /// Bytes of the host's own making, without stuffing.
    Plain(Bytes),
    /// Bytes as they came.
    Rope(Arc<Rope>, Range<Offset>),
}

impl Segment {
    /// Plain bytes in it.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Plain(bytes) => bytes.len() as u64,
            Self::Rope(_, range) => range.end.plain - range.start.plain,
        }
    }
}

/// The whole of a message, in order.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    segments: Vec<Segment>,
}

impl Content {
    pub(super) fn push(&mut self, segment: Segment) {
        if segment.len() > 0 {
            self.segments.push(segment);
        }
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(super) fn len(&self) -> u64 {
        self.segments.iter().map(Segment::len).sum()
    }

    pub(super) fn ends_with_newline(&self) -> bool {
        match self.segments.last() {
            None => true,
            Some(Segment::Plain(bytes)) => bytes.ends_with(b"\r\n"),
            // A range of a rope ends at the beginning of a line, or at the rope's end.
            Some(Segment::Rope(rope, range)) => range.end != rope.end() || rope.ends_with_newline(),
        }
    }

    /// The form that needs the least work on the way out; bytes of the host's own making do with either.
    pub(super) fn framing(&self) -> Framing {
        let is_stuffed = |segment: &Segment| match segment {
            Segment::Plain(_) => false,
            Segment::Rope(rope, _) => rope.framing() == Framing::DotStuffed,
        };
        if self.segments.iter().any(is_stuffed) { Framing::DotStuffed } else { Framing::Plain }
    }

    pub(super) fn is_spilled(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Rope(rope, _) if rope.file().is_some()))
    }

    /// Plain bytes at an offset, `max` of them unless the message ends before.
    pub(super) fn read(&self, offset: u64, max: usize) -> Result<Bytes, StoreError> {
        let first = self.read_some(offset, max)?;
        if first.is_empty() || first.len() == max || offset + first.len() as u64 >= self.len() {
            return Ok(first);
        }
        let mut read = BytesMut::from(first);
        while read.len() < max {
            let more = self.read_some(offset + read.len() as u64, max - read.len())?;
            if more.is_empty() {
                break;
            }
            read.extend_from_slice(&more);
        }
        Ok(read.freeze())
    }

    fn read_some(&self, offset: u64, max: usize) -> Result<Bytes, StoreError> {
        let mut offset = offset;
        for segment in &self.segments {
            let length = segment.len();
            if offset >= length {
                offset -= length;
                continue;
            }
            let left = usize::try_from(length - offset).unwrap_or(usize::MAX);
            return match segment {
                // Within the bytes, so within a usize.
                Segment::Plain(bytes) => Ok(bytes.slice(offset as usize..offset as usize + left.min(max))),
                Segment::Rope(rope, range) => rope.read(range.start.plain + offset, left.min(max)),
            };
        }
        Ok(Bytes::new())
    }

    pub(super) fn wire(&self, framing: Framing) -> Wire {
        Wire { framing, segments: self.segments.clone().into_iter(), current: None, length: self.len() }
    }
}

/// A message in wire form, piece by piece (at most 128 KiB each), without a terminator.
///
/// A piece of a spilled message is read from its file when it is asked for; the reading blocks the thread for that
/// long, but no other task of a multi-threaded runtime.
#[derive(Debug)]
pub struct Wire {
    framing: Framing,
    segments: std::vec::IntoIter<Segment>,
    current: Option<Pieces>,
    length: u64,
}

#[derive(Debug)]
enum Pieces {
    Plain { rest: Bytes, position: LinePosition },
    Rope(WirePieces),
}

impl Wire {
    /// Bytes of the message without stuffing: with [`Framing::Plain`] exactly what the pieces amount to.
    #[expect(clippy::len_without_is_empty, reason = "the length of the whole, not of what is left")]
    pub fn len(&self) -> u64 {
        self.length
    }
}

impl Iterator for Wire {
    type Item = Result<Bytes, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(piece) = self.current.as_mut().and_then(|pieces| pieces.next(self.framing)) {
                return Some(piece);
            }
            self.current = Some(match self.segments.next()? {
                Segment::Plain(rest) => Pieces::Plain { rest, position: LinePosition::Start },
                Segment::Rope(rope, range) => Pieces::Rope(rope.wire(range.start.wire..range.end.wire)),
            });
        }
    }
}

impl Pieces {
    fn next(&mut self, target: Framing) -> Option<Result<Bytes, StoreError>> {
        match self {
            Self::Plain { rest, .. } if rest.is_empty() => None,
            Self::Plain { rest, position } => {
                let piece = rest.split_to(rest.len().min(PIECE));
                let start = std::mem::replace(position, position.after(&piece));
                Some(Ok(if target == Framing::DotStuffed { start.stuffed(piece) } else { piece }))
            }
            Self::Rope(pieces) => {
                let next = pieces.next()?;
                Some(next.map(|(position, bytes)| match (pieces.framing(), target) {
                    (Framing::Plain, Framing::DotStuffed) => position.stuffed(bytes),
                    (Framing::DotStuffed, Framing::Plain) if pieces.is_stuffed() => position.unstuffed(bytes),
                    _ => bytes,
                }))
            }
        }
    }
}

/// The whole message without stuffing, piece by piece; see [`Wire`].
pub type Chunks = Wire;
