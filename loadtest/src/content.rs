//! What is sent: generated, or from files. Made once, and shared by all sessions, so that sending costs little.

use std::path::Path;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use mailweir_smtp::data::DotStuffer;

/// A message, ready for the wire.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    /// As BDAT transmits it. Ends in CRLF.
    pub(crate) plain: Bytes,
    /// As DATA transmits it, without the final dot.
    pub(crate) stuffed: Bytes,
    /// Whether it holds bytes above 127.
    pub(crate) eight_bit: bool,
}

/// The header section of generated messages. The date is fixed: runs send the same bytes.
const HEADER: &str = "From: Sender <sender@load.example>\r\n\
    To: Recipient <recipient@load.example>\r\n\
    Subject: A message that mailweir-load made\r\n\
    Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n\
    Message-ID: <made@load.example>\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=us-ascii\r\n\
    \r\n";

/// A line of the body, without its CRLF.
const LINE: &str = "It was a dark and stormy night; the rain fell in torrents, except at int";

impl Content {
    /// A plain text message of exactly `size` bytes.
    ///
    /// # Errors
    ///
    /// When that is less than the header section takes.
    pub(crate) fn generated(size: usize) -> anyhow::Result<Self> {
        let least = HEADER.len() + 2;
        ensure!(size >= least, "--size: a generated message has at least {least} bytes");
        let mut message = Vec::with_capacity(size);
        message.extend_from_slice(HEADER.as_bytes());
        while message.len() < size {
            // A last line too short for its CRLF is not begun: the one before it is longer.
            let left = size - message.len();
            let line = if left <= LINE.len() + 4 { left - 2 } else { LINE.len() };
            message.extend(LINE.bytes().cycle().take(line));
            message.extend_from_slice(b"\r\n");
        }
        Ok(Self::new(message))
    }

    /// The message in a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn from_file(path: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("--eml: {}", path.display()))?;
        Ok(Self::new(with_crlf(&bytes)))
    }

    fn new(plain: Vec<u8>) -> Self {
        let stuffed: Vec<u8> = DotStuffer::default().pieces(&plain).flatten().copied().collect();
        Self { eight_bit: !plain.is_ascii(), plain: plain.into(), stuffed: stuffed.into() }
    }
}

/// Each CR, LF and CRLF becomes CRLF, and there is one at the end.
fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut converted = Vec::with_capacity(bytes.len() + bytes.len() / 32 + 2);
    let mut previous = b'\n';
    for &byte in bytes {
        match byte {
            b'\n' if previous == b'\r' => {}
            b'\r' | b'\n' => converted.extend_from_slice(b"\r\n"),
            other => converted.push(other),
        }
        previous = byte;
    }
    if !converted.ends_with(b"\r\n") {
        converted.extend_from_slice(b"\r\n");
    }
    converted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_messages_have_the_size_asked_for() {
        let least = HEADER.len() + 2;
        for size in (least..least + 200).chain([4096, 65_536]) {
            let content = Content::generated(size).unwrap();
            assert_eq!(content.plain.len(), size);
            assert!(content.plain.ends_with(b"\r\n"), "{size}");
            assert_eq!(with_crlf(&content.plain), content.plain, "no bare CR or LF");
            let longest = content.plain.split(|&byte| byte == b'\n').map(<[u8]>::len).max();
            assert!(longest < Some(998), "RFC 5322 section 2.1.1: {longest:?}");
        }
        Content::generated(least - 1).unwrap_err();
    }

    #[test]
    fn line_ends_are_made_whole() {
        for (bytes, expected) in [
            (&b""[..], &b"\r\n"[..]),
            (b"a", b"a\r\n"),
            (b"a\nb\n", b"a\r\nb\r\n"),
            (b"a\r\nb", b"a\r\nb\r\n"),
            (b"a\r\rb\n\n", b"a\r\n\r\nb\r\n\r\n"),
        ] {
            assert_eq!(with_crlf(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn dots_are_stuffed_for_data_only() {
        let content = Content::new(b".a\r\n..\r\nb.\xe9\r\n".to_vec());
        assert_eq!(&content.plain[..], b".a\r\n..\r\nb.\xe9\r\n");
        assert_eq!(&content.stuffed[..], b"..a\r\n...\r\nb.\xe9\r\n");
        assert!(content.eight_bit);
    }
}
