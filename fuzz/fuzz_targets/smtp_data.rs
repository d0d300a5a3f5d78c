//! The framing of messages: one message in is one message out, for servers that read strictly and laxly, whichever way
//! it came, however it was cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mailweir_fuzz::{Cut, bit, split_settings};
use mailweir_smtp::data::{BareNewline, DotStuffer, DotUnstuffer, Framing, MessageFault};

#[path = "../../smtp/tests/support/mod.rs"]
mod support;

use support::framing::{expected_content, scan, scan_chunks};
use support::lax;

fuzz_target!(|data: &[u8]| {
    let Some(([settings, cut, other_cut], bytes)) = split_settings(data) else { return };
    let newlines = if bit(settings, 0) { BareNewline::Normalize } else { BareNewline::Reject };
    let limit = if bit(settings, 1) { u64::from(settings >> 2) } else { u64::MAX };
    let (cut, other_cut) = (Cut::new(cut), Cut::new(other_cut));
    by_data(newlines, limit, bytes, cut);
    by_chunks(newlines, limit, bytes, cut, other_cut);
    stuffing(bytes, cut, other_cut);
});

fn by_data(newlines: BareNewline, limit: u64, bytes: &[u8], cut: Cut) {
    let wire = [bytes, b"\r\n.\r\nrest"].concat();
    let end = lax::strict_end(&wire).expect("the end is there");
    let (scanned, left) = scan(newlines, limit, [wire.as_slice()]);
    assert_eq!(scan(newlines, limit, cut.pieces(&wire)), (scanned.clone(), left.clone()));
    assert_eq!(left, &wire[end..]);
    let content = scanned.as_ref().map(|wire| unstuffed(wire, cut)).map_err(|fault| *fault);
    check(&content, limit, expected_content(Framing::DotStuffed, newlines, &wire[..end - 3]));
    if let (Ok(passed_on), Ok(content)) = (scanned, content) {
        // It goes out as it came, or by BDAT.
        check_one_message([passed_on, b".\r\n".to_vec()].concat());
        assert_eq!(scan_chunks(newlines, limit, cut.pieces(&content)), Ok(content));
    }
}

fn by_chunks(newlines: BareNewline, limit: u64, content: &[u8], cut: Cut, other_cut: Cut) {
    let scanned = scan_chunks(newlines, limit, cut.pieces(content));
    check(&scanned, limit, expected_content(Framing::Plain, newlines, content));
    if let Ok(content) = scanned {
        check_one_message(stuffed(&content, other_cut));
    }
}

/// `Keep` is for BINARYMIME, which goes on by BDAT only; stuffing does not depend on it.
fn stuffing(content: &[u8], cut: Cut, other_cut: Cut) {
    let wire = stuffed(content, cut);
    assert_eq!(lax::strict_end(&wire), Some(wire.len()));
    let end = wire.len() - 3;
    let back = unstuffed(&wire[..end], other_cut);
    assert!(back == content || back == [content, b"\r\n"].concat());
    assert_eq!(scan_chunks(BareNewline::Keep, u64::MAX, cut.pieces(content)).as_deref(), Ok(content));
}

fn check(content: &Result<Vec<u8>, MessageFault>, limit: u64, expected: Result<Vec<u8>, MessageFault>) {
    match (content, expected) {
        (Ok(content), expected) => {
            assert_eq!(Ok(content), expected.as_ref());
            assert!(content.len() as u64 <= limit);
        }
        (Err(MessageFault::TooLarge), Ok(expected)) => assert!(expected.len() as u64 > limit),
        (Err(MessageFault::TooLarge), Err(_)) => assert!(limit < u64::MAX),
        (Err(fault), expected) => assert_eq!(Err(*fault), expected),
    }
}

/// A strict server and a lax one find one message in it, which ends where it ends.
fn check_one_message(mut wire: Vec<u8>) {
    assert_eq!(lax::strict_end(&wire), Some(wire.len()), "strict: {}", wire.escape_ascii());
    wire.retain(|octet| *octet != 0);
    assert_eq!(lax::lax_end(&wire), Some(wire.len()), "lax: {}", wire.escape_ascii());
}

fn stuffed(content: &[u8], cut: Cut) -> Vec<u8> {
    let mut stuffer = DotStuffer::default();
    let mut wire = Vec::new();
    for piece in cut.pieces(content) {
        stuffer.pieces(piece).for_each(|piece| wire.extend_from_slice(piece));
    }
    wire.extend_from_slice(stuffer.terminator());
    wire
}

fn unstuffed(wire: &[u8], cut: Cut) -> Vec<u8> {
    let mut unstuffer = DotUnstuffer::default();
    cut.pieces(wire).flat_map(|piece| unstuffer.pieces(piece).collect::<Vec<_>>().concat()).collect()
}
