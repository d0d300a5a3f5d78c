//! The module as a whole: messages received, kept, derived from, edited and sent.

mod receiving;
mod editing;
mod attacks;
mod attachments;
mod corpora;

use bytes::Bytes;

use super::*;

pub(super) const LIMITS: MessageLimits = MessageLimits {
    header_size: 256 * 1024,
    header_fields: 1000,
    mime_parts: 1000,
    mime_depth: 100,
    decoding: DecodingLimits::DEFAULT,
};

pub(super) fn message(bytes: impl Into<Bytes>) -> Message {
    Message::from_bytes(bytes.into(), LIMITS).unwrap()
}

pub(super) fn joined(pieces: Wire) -> Vec<u8> {
    pieces.flat_map(|piece| piece.unwrap()).collect()
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// The plain bytes as DATA would send them.
pub(super) fn stuffed(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at_start = true;
    for &byte in plain {
        if at_start && byte == b'.' {
            out.push(b'.');
        }
        out.push(byte);
        at_start = byte == b'\n';
    }
    out
}

#[test]
fn the_defaults_agree() {
    let limits = MessageLimits::from(&Limits::default());
    assert_eq!(limits.decoding, DecodingLimits::DEFAULT);
}
