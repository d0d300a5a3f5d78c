//! The messages: a field with a number on top, which tells them apart, and below it what all of a run share.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

/// The field on top of each message; everything from there on has to arrive as it was sent.
pub(super) const MARK: &[u8] = b"X-Number: ";

/// What the messages of a run are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text and a large attachment in base64.
    Attachment,
    /// One plain text, some of its lines beginning with a dot.
    Text,
    /// One plain text in base64.
    Encoded,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Attachment => "text and a base64 attachment",
            Self::Text => "one text/plain",
            Self::Encoded => "one base64 text/plain",
        }
    }

    /// What follows the number's line, `size` bytes or a little more, in the form that DATA has on the wire.
    pub(super) fn rest(self, size: usize) -> Bytes {
        let mut rest = String::with_capacity(size + 4096);
        rest.push_str(
            "From: Sender <load@sender.test>\r\nTo: user@example.com\r\nSubject: large\r\n\
             Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <1@sender.test>\r\nMIME-Version: 1.0\r\n",
        );
        match self {
            Self::Attachment => {
                rest.push_str("Content-Type: multipart/mixed; boundary=\"edge\"\r\n\r\n--edge\r\n");
                rest.push_str("Content-Type: text/plain; charset=utf-8\r\n\r\n");
                text(&mut rest, 10_000);
                rest.push_str("--edge\r\nContent-Type: application/octet-stream; name=\"data.bin\"\r\n");
                rest.push_str("Content-Disposition: attachment; filename=\"data.bin\"\r\n");
                rest.push_str("Content-Transfer-Encoding: base64\r\n\r\n");
                let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(size / 78 * 57).collect();
                base64(&mut rest, &bytes);
                rest.push_str("--edge--\r\n");
            }
            Self::Text => {
                rest.push_str("Content-Type: text/plain; charset=utf-8\r\n\r\n");
                text(&mut rest, size);
            }
            Self::Encoded => {
                rest.push_str("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n");
                let mut decoded = String::with_capacity(size);
                text(&mut decoded, size / 78 * 57);
                base64(&mut rest, decoded.as_bytes());
            }
        }
        Bytes::from(rest)
    }
}

/// Lines of text up to a size; every 100th begins with a dot, and so is stuffed, and every 1000th has a link.
fn text(out: &mut String, size: usize) {
    let end = out.len() + size;
    for number in 0.. {
        if out.len() >= end {
            break;
        }
        // Writing to a String cannot fail.
        let _ = match number {
            _ if number % 1000 == 7 => write!(out, "{number} http://www{number}.example.org/path?query={number}\r\n"),
            _ if number % 100 == 3 => write!(out, "..{number} a line that begins with a dot\r\n"),
            _ => write!(out, "{number} It was a dark and stormy night; the rain fell in torrents, except\r\n"),
        };
    }
}

/// Lines of 76 characters of base64.
fn base64(out: &mut String, bytes: &[u8]) {
    for line in bytes.chunks(57) {
        out.push_str(&BASE64_STANDARD.encode(line));
        out.push_str("\r\n");
    }
}

/// The first line of a message.
pub(super) fn first_line(number: usize) -> String {
    format!("X-Number: {number:05}\r\n")
}
