//! Stuffing at the seams of chunks.

use super::*;

type Chunks<'a> = &'a [&'a [u8]];

fn stuffed(chunks: Chunks<'_>) -> (Vec<u8>, &'static [u8]) {
    let mut stuffer = DotStuffer::default();
    let wire = chunks.iter().flat_map(|chunk| stuffer.pieces(chunk).collect::<Vec<_>>().concat()).collect();
    (wire, stuffer.terminator())
}

fn unstuffed(chunks: Chunks<'_>) -> Vec<u8> {
    let mut unstuffer = DotUnstuffer::default();
    chunks.iter().flat_map(|chunk| unstuffer.pieces(chunk).collect::<Vec<_>>().concat()).collect()
}

#[test]
fn stuffing() {
    let cases: &[(Chunks<'_>, &[u8], &[u8])] = &[
        (&[], b"", b".\r\n"),
        (&[b""], b"", b".\r\n"),
        (&[b"."], b"..", b"\r\n.\r\n"),
        (&[b".", b"."], b"...", b"\r\n.\r\n"),
        (&[b"a\r\n", b".b\r\n"], b"a\r\n..b\r\n", b".\r\n"),
        (&[b"a\r", b"\n.b\r", b"\n"], b"a\r\n..b\r\n", b".\r\n"),
        (&[b"a\r", b"", b"\n", b"", b"."], b"a\r\n..", b"\r\n.\r\n"),
        (&[b"\r\n.\r\n.\r\n"], b"\r\n..\r\n..\r\n", b".\r\n"),
        // Not the end of a line here: only CRLF is.
        (&[b"a\n.", b"b\r."], b"a\n.b\r.", b"\r\n.\r\n"),
        (&[b"a\r"], b"a\r", b"\r\n.\r\n"),
    ];
    for (chunks, wire, terminator) in cases {
        assert_eq!(stuffed(chunks), (wire.to_vec(), *terminator));
        assert_eq!(unstuffed(&[wire]), chunks.concat());
    }
}

#[test]
fn unstuffing() {
    let cases: &[(Chunks<'_>, &[u8])] = &[
        (&[b"."], b""),
        (&[b".", b"."], b"."),
        (&[b"..", b"a"], b".a"),
        (&[b"a\r\n", b".", b"b"], b"a\r\nb"),
        (&[b"a\r", b"\n", b"..b"], b"a\r\n.b"),
        (&[b"a\r\n.\r\n..\r\n"], b"a\r\n\r\n.\r\n"),
    ];
    for (chunks, content) in cases {
        assert_eq!(unstuffed(chunks), *content);
    }
}

#[test]
fn pieces_share_the_chunk() {
    let chunk = bytes::Bytes::from_static(b"a\r\n.b\r\n.c");
    let mut stuffer = DotStuffer::default();
    let pieces: Vec<_> = stuffer.pieces(&chunk).map(|piece| chunk.slice_ref(piece)).collect();
    assert_eq!(pieces, [&b"a\r\n."[..], b".b\r\n.", b".c"]);
    let mut unstuffer = DotUnstuffer::default();
    assert_eq!(unstuffer.pieces(b"plain\r\ntext\r\n").count(), 1);
}
