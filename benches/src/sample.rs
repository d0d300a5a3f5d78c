//! Sample messages, the same bytes at each run.

use std::fmt::Write as _;

use bytes::Bytes;
use mailweir::message::{Message, MessageLimits};

/// The caps of a listener that sets none.
pub fn limits() -> MessageLimits {
    (&mailweir::config::Limits::default()).into()
}

/// A header section as mail has it after two hops, without the fields that MIME adds.
const HEADER: &str = "Received: from mx1.sender.example (mx1.sender.example [192.0.2.25])\r\n\
    \tby relay.sender.example with ESMTPS id 4XyZ0f1K2Lz9\r\n\
    \tfor <bob@receiver.example>; Thu, 01 Jan 2026 00:00:02 +0000 (UTC)\r\n\
    Received: from workstation (workstation.sender.example [198.51.100.7])\r\n\
    \tby mx1.sender.example with ESMTPSA id 4XyZ0d6J5Kz3;\r\n\
    \tThu, 01 Jan 2026 00:00:01 +0000 (UTC)\r\n\
    Message-ID: <20260101000001.4711@sender.example>\r\n\
    Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n\
    From: Alice Sender <alice@sender.example>\r\n\
    To: Bob Receiver <bob@receiver.example>\r\n\
    Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?= and the figures of the quarter\r\n\
    MIME-Version: 1.0\r\n";

/// A line of text, with its CRLF.
const LINE: &str = "The figures of the quarter are in, and they are better than we had hoped.\r\n";

/// A message in plain text of about `size` bytes, without a line that begins with a dot.
pub fn plain(size: usize) -> Bytes {
    let mut message = format!("{HEADER}Content-Type: text/plain; charset=utf-8\r\n\r\n");
    while message.len() + LINE.len() <= size {
        message.push_str(LINE);
    }
    message.into()
}

/// The same size, but of lines that begin with a dot: the worst case of stuffing.
pub fn dots(size: usize) -> Bytes {
    let mut message = format!("{HEADER}\r\n");
    while message.len() + 3 <= size {
        message.push_str(".\r\n");
    }
    message.into()
}

/// A multipart message: text and HTML with 16 links to 8 domains between them, and an attachment in base64 that brings it to
/// about `size` bytes.
pub fn multipart(size: usize) -> Bytes {
    let mut message = format!("{HEADER}Content-Type: multipart/mixed; boundary=outer\r\n\r\n");
    message.push_str("--outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n");
    message.push_str("--inner\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
    for domain in 0..8 {
        // Writing to a string cannot fail.
        let _ = write!(message, "{LINE}See http://www{domain}.shop{domain}.example/offer?id={domain} for more.\r\n");
    }
    message.push_str("--inner\r\nContent-Type: text/html; charset=utf-8\r\n");
    message.push_str("Content-Transfer-Encoding: quoted-printable\r\n\r\n<html><body>\r\n");
    for domain in 0..8 {
        let link = format!("<a href=3D\"https://shop{domain}.example/basket/{domain}\">here</a>");
        let _ = write!(message, "<p>Gr=C3=BC=C3=9Fe, {link}</p>\r\n");
    }
    message.push_str("</body></html>\r\n--inner--\r\n--outer\r\n");
    message.push_str("Content-Type: application/octet-stream; name=\"figures.bin\"\r\n");
    message.push_str("Content-Disposition: attachment; filename=\"figures.bin\"\r\n");
    message.push_str("Content-Transfer-Encoding: base64\r\n\r\n");
    let line = format!("{}\r\n", "QUJD".repeat(19));
    loop {
        message.push_str(&line);
        if message.len() + line.len() > size {
            break;
        }
    }
    message.push_str("--outer--\r\n");
    message.into()
}

/// A text of about `size` bytes, encoded: `Content-Type`'s charset, the encoding, and a line of it.
fn encoded(size: usize, charset: &str, encoding: &str, line: &str) -> Bytes {
    let fields =
        format!("Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n");
    let lines = size.saturating_sub(HEADER.len() + fields.len()) / line.len();
    format!("{HEADER}{fields}{}", line.repeat(lines)).into()
}

/// A message in ISO 8859-1 and quoted-printable.
pub fn quoted_printable(size: usize) -> Bytes {
    encoded(size, "iso-8859-1", "quoted-printable", "Gr=FC=DFe aus M=FCnchen, und die Zahlen des Quartals sind da.\r\n")
}

/// A message in KOI8-R and base64.
pub fn base64(size: usize) -> Bytes {
    encoded(size, "koi8-r", "base64", &format!("{}\r\n", "8NLJ18XU".repeat(9)))
}

/// A finished message of these bytes, of which nothing has been derived yet.
///
/// # Panics
///
/// When it is over the caps, which no sample is.
pub fn message(bytes: &Bytes) -> Message {
    Message::from_bytes(bytes.clone(), limits()).expect("samples are within the caps")
}

/// As DATA transmits it, the final dot included.
pub fn on_the_wire(bytes: &[u8]) -> Bytes {
    let mut stuffer = mailweir_smtp::data::DotStuffer::default();
    let mut wire = Vec::with_capacity(bytes.len() + 5);
    for piece in stuffer.pieces(bytes) {
        wire.extend_from_slice(piece);
    }
    wire.extend_from_slice(stuffer.terminator());
    wire.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_what_they_say() {
        for size in [4096, 65_536, 1 << 20] {
            for bytes in [plain(size), dots(size), multipart(size), quoted_printable(size), base64(size)] {
                assert!(bytes.len().abs_diff(size) < 256, "{} for {size}", bytes.len());
            }
            let message = message(&multipart(size));
            // Names of hosts in header fields and texts count as well.
            let links = message.urls().unwrap().iter().filter(|url| url.text.contains("://")).count();
            assert_eq!(links, 16);
            // Two multiparts, two texts, one attachment.
            assert_eq!(message.mime().unwrap().parts().len(), 5);
        }
        for (bytes, word) in [(quoted_printable(4096), "Grüße"), (base64(4096), "ПриветПривет")] {
            let units = message(&bytes).text_units().unwrap();
            assert!(units.iter().any(|unit| unit.text.as_str().contains(word)));
        }
    }
}
