//! The bytes of a message as they came, in pieces: in memory, or in the message's spill file.
//!
//! Offsets are of two kinds: on the wire (with stuffing) and plain (without). Each piece knows both, so that reading
//! anywhere in the plain bytes costs no more than one piece.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;

use super::{
    StoreError,
    accumulator::Accumulator,
    budget::Budget,
    framing::{Framing, LinePosition},
    spill::SpillFile,
};

/// No piece is larger, so that reading one back is bounded.
pub(super) const PIECE: usize = 64 * 1024;

/// A place in a message, counted in both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Offset {
    pub(super) wire: u64,
    pub(super) plain: u64,
}

#[derive(Debug)]
struct Piece {
    /// Without it, the bytes are in the file at their wire offset.
    memory: Option<Bytes>,
    start: Offset,
    length: usize,
    /// Dots in it that are stuffing.
    dots: usize,
    position: LinePosition,
}

impl Piece {
    fn wire_end(&self) -> u64 {
        self.start.wire + self.length as u64
    }
}

#[derive(Debug)]
pub(super) struct Rope {
    pieces: Vec<Piece>,
    file: Option<Arc<SpillFile>>,
    framing: Framing,
    end: Offset,
    position: LinePosition,
    /// The bytes of the only push so far.
    whole: Option<Bytes>,
}

impl Rope {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            pieces: Vec::new(),
            file: None,
            framing,
            end: Offset::default(),
            position: LinePosition::Start,
            whole: None,
        }
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    pub(super) fn end(&self) -> Offset {
        self.end
    }

    pub(super) fn is_stuffed(&self) -> bool {
        self.end.wire != self.end.plain
    }

    pub(super) fn ends_with_newline(&self) -> bool {
        self.position == LinePosition::Start
    }

    pub(super) fn file(&self) -> Option<&Arc<SpillFile>> {
        self.file.as_ref()
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        self.whole = self.pieces.is_empty().then(|| bytes.clone());
        for at in (0..bytes.len()).step_by(PIECE) {
            self.push_piece(bytes.slice(at..bytes.len().min(at + PIECE)));
        }
    }

    fn push_piece(&mut self, bytes: Bytes) {
        let dots = match self.framing {
            Framing::DotStuffed => self.position.leading_dots(&bytes).count(),
            Framing::Plain => 0,
        };
        let (start, position, length) = (self.end, self.position, bytes.len());
        self.position = position.after(&bytes);
        self.end.wire += length as u64;
        self.end.plain += (length - dots) as u64;
        self.pieces.push(Piece { memory: Some(bytes), start, length, dots, position });
    }

    /// The bytes that are still in memory; they stand at the end, after those in the file.
    pub(super) fn in_memory(&self) -> impl Iterator<Item = &Bytes> {
        let tail = self.pieces.iter().rposition(|piece| piece.memory.is_none()).map_or(0, |last| last + 1);
        self.pieces[tail..].iter().filter_map(|piece| piece.memory.as_ref())
    }

    /// All bytes are in the file now.
    pub(super) fn spilled(&mut self, file: Arc<SpillFile>) {
        debug_assert_eq!(file.len(), self.end.wire, "the file holds what the wire brought");
        self.file = Some(file);
        self.whole = None;
        // From the end: those before the first piece without memory have none either.
        for piece in self.pieces.iter_mut().rev() {
            if piece.memory.take().is_none() {
                break;
            }
        }
    }

    /// Wire bytes of a range that begins at the beginning of a line, piece by piece.
    pub(super) fn wire(self: &Arc<Self>, range: Range<u64>) -> WirePieces {
        WirePieces { cursor: Cursor::new(self, range), rope: Arc::clone(self) }
    }

    fn piece_at(&self, wire: u64) -> usize {
        self.pieces.partition_point(|piece| piece.wire_end() <= wire)
    }

    fn load(&self, piece: &Piece, range: Range<usize>) -> Result<Bytes, StoreError> {
        match (&piece.memory, &self.file) {
            (Some(bytes), _) => Ok(bytes.slice(range)),
            (None, Some(file)) => file.read(piece.start.wire + range.start as u64, range.len()),
            (None, None) => Ok(Bytes::new()),
        }
    }

    /// Plain bytes at a plain offset, up to the end of the piece that holds it. Empty at the end.
    pub(super) fn read(&self, offset: u64, max: usize) -> Result<Bytes, StoreError> {
        let index = self.pieces.partition_point(|piece| piece.start.plain <= offset).saturating_sub(1);
        let Some(piece) = self.pieces.get(index) else { return Ok(Bytes::new()) };
        let plain_length = piece.length - piece.dots;
        let from = usize::try_from(offset - piece.start.plain).map_or(plain_length, |from| from.min(plain_length));
        let to = plain_length.min(from.saturating_add(max));
        if piece.dots == 0 {
            return self.load(piece, from..to);
        }
        let plain = piece.position.unstuffed(self.load(piece, 0..piece.length)?);
        Ok(plain.slice(from..to))
    }

    /// The plain bytes of a range that begins at the beginning of a line, in one: shared if they stand in one piece
    /// as they are, mapped if they stand so in the file, else copied.
    pub(super) fn gather(&self, range: Range<Offset>, budget: &Budget) -> Result<Bytes, StoreError> {
        let length = range.end.plain - range.start.plain;
        let stuffed = range.end.wire - range.start.wire != length;
        if length == 0 {
            return Ok(Bytes::new());
        }
        if !stuffed && let Some(bytes) = self.shared(range.start.wire..range.end.wire) {
            return Ok(bytes);
        }
        if let Some(file) = self.file.as_ref().filter(|file| !stuffed && range.end.wire <= file.len()) {
            // The mapping is as long as the range's end, so the offset of its beginning fits.
            return Ok(file.map(range.end.wire, budget)?.slice(range.start.wire as usize..));
        }
        let mut copy = Accumulator::with_capacity(budget, length);
        let mut cursor = Cursor::new(self, range.start.wire..range.end.wire);
        while let Some(piece) = cursor.next(self) {
            let (position, bytes) = piece?;
            match self.framing {
                Framing::DotStuffed if stuffed => copy.push(&position.unstuffed(bytes))?,
                Framing::DotStuffed | Framing::Plain => copy.push(&bytes)?,
            }
        }
        copy.finish()
    }

    fn shared(&self, range: Range<u64>) -> Option<Bytes> {
        let in_one = |bytes: &Bytes, start: u64| {
            let from = usize::try_from(range.start.checked_sub(start)?).ok()?;
            let to = usize::try_from(range.end.checked_sub(start)?).ok()?;
            (to <= bytes.len()).then(|| bytes.slice(from..to))
        };
        if let Some(whole) = &self.whole {
            return in_one(whole, 0);
        }
        let piece = self.pieces.get(self.piece_at(range.start))?;
        in_one(piece.memory.as_ref()?, piece.start.wire)
    }
}

/// A way through the wire bytes of a rope.
#[derive(Debug)]
struct Cursor {
    range: Range<u64>,
    index: usize,
    position: LinePosition,
}

impl Cursor {
    fn new(rope: &Rope, range: Range<u64>) -> Self {
        Self { index: rope.piece_at(range.start), range, position: LinePosition::Start }
    }

    fn next(&mut self, rope: &Rope) -> Option<Result<(LinePosition, Bytes), StoreError>> {
        if self.range.is_empty() {
            return None;
        }
        let piece = rope.pieces.get(self.index)?;
        let end = self.range.end.min(piece.wire_end());
        // Both are within the piece, so within a usize.
        let range = (self.range.start - piece.start.wire) as usize..(end - piece.start.wire) as usize;
        let bytes = match rope.load(piece, range) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.range = 0..0;
                return Some(Err(error));
            }
        };
        let position = self.position;
        self.position = position.after(&bytes);
        self.range.start = end;
        self.index += 1;
        Some(Ok((position, bytes)))
    }
}

/// See [`Rope::wire`].
#[derive(Debug)]
pub(super) struct WirePieces {
    rope: Arc<Rope>,
    cursor: Cursor,
}

impl WirePieces {
    pub(super) fn framing(&self) -> Framing {
        self.rope.framing
    }

    pub(super) fn is_stuffed(&self) -> bool {
        self.rope.is_stuffed()
    }
}

impl Iterator for WirePieces {
    type Item = Result<(LinePosition, Bytes), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.next(&self.rope)
    }
}
