//! What content is and where it ends, by a plain reading of the rules, to hold the scanners against.

use bytes::BytesMut;
use mailweir_smtp::data::{BareNewline, ChunkScanner, DataScanner, Framing, MessageFault, Scanned};

/// What `DataScanner` makes of `pieces`, which arrive one after another, and what it leaves.
pub(crate) fn scan<'a>(
    newlines: BareNewline,
    limit: u64,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Result<Vec<u8>, MessageFault>, Vec<u8>) {
    let mut scanner = DataScanner::new(newlines, limit);
    let mut input = BytesMut::new();
    let mut content = Vec::new();
    let mut pieces = pieces.into_iter();
    loop {
        match scanner.next(&mut input) {
            Some(Scanned::Piece(piece)) => content.extend_from_slice(&piece),
            Some(Scanned::End(end)) => {
                pieces.for_each(|piece| input.extend_from_slice(piece));
                return (end.map(|_| content), input.to_vec());
            }
            None => input.extend_from_slice(pieces.next().expect("the end is there")),
        }
    }
}

/// What `ChunkScanner` makes of `chunks`, each of which arrives whole.
pub(crate) fn scan_chunks<'a>(
    newlines: BareNewline,
    limit: u64,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Vec<u8>, MessageFault> {
    let mut scanner = ChunkScanner::new(newlines, limit);
    let mut content = Vec::new();
    for chunk in chunks {
        let (mut input, mut remaining) = (BytesMut::from(chunk), chunk.len() as u64);
        scanner.begin(remaining);
        while let Some(piece) = scanner.next(&mut input, &mut remaining) {
            content.extend_from_slice(&piece);
        }
        assert_eq!((remaining, input.len()), (0, 0));
    }
    loop {
        match scanner.finish() {
            Scanned::Piece(piece) => content.extend_from_slice(&piece),
            Scanned::End(end) => return end.map(|_| content),
        }
    }
}

/// The rules, without regard to speed: lines are what CRLF ends; unstuffed, then normalized.
pub(crate) fn expected_content(framing: Framing, newlines: BareNewline, wire: &[u8]) -> Result<Vec<u8>, MessageFault> {
    // Octet by octet, because what is wrong first decides on the fault.
    let mut content = Vec::new();
    let mut at_line_start = true;
    let mut index = 0;
    let mut after_stuffing = false;
    while index < wire.len() {
        let rest = &wire[index..];
        let is_newline = rest.starts_with(b"\r\n");
        let is_bare = !is_newline && matches!(rest[0], b'\r' | b'\n');
        if rest[0] == 0 && (at_line_start || after_stuffing) {
            return Err(MessageFault::Nul);
        }
        if is_bare && newlines == BareNewline::Reject {
            return Err(MessageFault::BareNewline);
        }
        let begins_line = framing == Framing::DotStuffed && (index == 0 || wire[..index].ends_with(b"\r\n"));
        let is_stuffing = begins_line && rest[0] == b'.';
        if is_newline || is_bare {
            content.extend_from_slice(b"\r\n");
        } else if !is_stuffing {
            content.push(rest[0]);
        }
        after_stuffing = is_stuffing;
        at_line_start = is_newline || is_bare;
        index += if is_newline { 2 } else { 1 };
    }
    Ok(content)
}
