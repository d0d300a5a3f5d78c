//! Memory and ends. That the content is right is shown by dialogs and properties.

use super::*;

/// The style guide's first three: an empty body's dot, a first-line dot, a bare LF.
#[test]
fn first_test_vectors() {
    let scan = |wire: &'static [u8]| {
        let (mut scanner, mut input) = (DataScanner::new(BareNewline::Reject, 100), BytesMut::from(wire));
        std::iter::from_fn(|| scanner.next(&mut input)).take(2).collect::<Vec<_>>()
    };
    let whole = |bytes| Scanned::End(Ok(MessageSummary { bytes, ends_with_newline: true }));
    assert_eq!(scan(b".\r\n")[0], whole(0));
    assert_eq!(scan(b"..x\r\n.\r\n"), [Scanned::Piece(Bytes::from_static(b"..x\r\n")), whole(4)]);
    assert_eq!(scan(b"a\n.\r\nb\r\n.\r\n"), [Scanned::End(Err(MessageFault::BareNewline))]);
}

#[test]
fn pieces_are_the_inputs_memory() {
    let wire = [b"A line of text.\r\n".repeat(2000), b".\r\nQUIT\r\n".to_vec()].concat();
    let mut input = BytesMut::from(&wire[..]);
    let start = input.as_ptr();
    let mut scanner = DataScanner::new(BareNewline::Reject, u64::MAX);
    let Some(Scanned::Piece(piece)) = scanner.next(&mut input) else { panic!("a piece is there") };
    assert_eq!((piece.as_ptr(), piece.len()), (start, 34_000));
    assert!(matches!(scanner.next(&mut input), Some(Scanned::End(Ok(_)))));
    assert_eq!(&input[..], b"QUIT\r\n");
}

#[test]
fn a_trickle_makes_few_pieces() {
    let mut scanner = DataScanner::new(BareNewline::Normalize, u64::MAX);
    let mut input = BytesMut::new();
    let mut pieces = 0;
    for octet in b"x\r\n.\ny\r".repeat(10_000) {
        input.extend_from_slice(&[octet]);
        pieces += usize::from(scanner.next(&mut input).is_some());
        assert!(input.len() <= PIECE + 3);
    }
    // Each 7 octets become 10, of which a dot and a newline are new. A piece that fills the buffer may be half as large.
    assert!(pieces <= 2 * (10 * 10_000 / PIECE) + 1, "{pieces}");
}

#[test]
fn tiny_chunks_make_few_pieces() {
    let mut scanner = ChunkScanner::new(BareNewline::Reject, u64::MAX);
    let mut pieces = 0;
    for _ in 0..40_000 {
        let mut remaining = 1;
        scanner.begin(remaining);
        pieces += usize::from(scanner.next(&mut BytesMut::from(&b"x"[..]), &mut remaining).is_some());
        assert_eq!(remaining, 0);
    }
    assert!(pieces <= 40_000 / PIECE, "{pieces}");
    assert!(matches!(scanner.finish(), Scanned::Piece(piece) if piece.len() == 40_000 % PIECE));
    let summary = MessageSummary { bytes: 40_000, ends_with_newline: false };
    assert_eq!(scanner.finish(), Scanned::End(Ok(summary)));
}

#[test]
fn what_is_dropped_is_not_kept() {
    let mut scanner = DataScanner::new(BareNewline::Normalize, 5);
    let mut input = BytesMut::new();
    for _ in 0..1000 {
        input.extend_from_slice(&b"\n.x\r".repeat(100));
        assert_eq!(scanner.next(&mut input), None);
        assert!(input.is_empty() && scanner.content.gathered.capacity() == 0);
    }
    let mut scanner = ChunkScanner::new(BareNewline::Reject, 1_000_000);
    let mut remaining = u64::MAX;
    scanner.begin(remaining);
    let mut input = BytesMut::from(&[0; 100_000][..]);
    assert_eq!(scanner.next(&mut input, &mut remaining), None);
    assert_eq!((input.len(), remaining), (0, u64::MAX - 100_000));
    assert_eq!(scanner.fault(), Some(MessageFault::TooLarge));
}
