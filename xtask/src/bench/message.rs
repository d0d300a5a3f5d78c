//! Messages that filters have something to do with, and the DNS that says about them what there is to say.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use mailweir_testkit::dkim::Signer;
use mailweir_testkit::dns::Zone;
use serde_json::json;

/// Whose mail it is: from a domain with SPF, DKIM and DMARC. Names are under top-level domains that exist, since some filters
/// pass over others; the local server answers for all of them.
pub(super) struct Sender {
    signer: Signer,
}

const DOMAIN: &str = "bench-sender.com";
pub(super) const ADDRESS: &str = "alice@bench-sender.com";
pub(super) const HOST: &str = "mx.bench-sender.com";

/// A header section as mail has it after two hops, without the fields that MIME adds.
const HEADER: &str = "Received: from relay.bench-sender.com (relay.bench-sender.com [192.0.2.25])\r\n\
    \tby mx.bench-sender.com with ESMTPS id 4XyZ0f1K2Lz9\r\n\
    \tfor <user@example.com>; Thu, 01 Jan 2026 00:00:02 +0000 (UTC)\r\n\
    Received: from workstation (workstation.bench-sender.com [198.51.100.7])\r\n\
    \tby relay.bench-sender.com with ESMTPSA id 4XyZ0d6J5Kz3;\r\n\
    \tThu, 01 Jan 2026 00:00:01 +0000 (UTC)\r\n\
    Message-ID: <20260101000001.4711@bench-sender.com>\r\n\
    Date: Thu, 01 Jan 2026 00:00:00 +0000\r\n\
    From: Alice Sender <alice@bench-sender.com>\r\n\
    To: Bob Receiver <user@example.com>\r\n\
    Subject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?= and the figures of the quarter\r\n\
    MIME-Version: 1.0\r\n";

/// A line of text, with its CRLF.
const LINE: &str = "The figures of the quarter are in, and they are better than we had hoped.\r\n";
/// What a signature adds, about.
const SIGNATURE: usize = 600;

impl Sender {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { signer: Signer::generate_rsa(DOMAIN, "bench")? })
    }

    /// What stands in the DNS. Nothing is on any block list.
    pub(super) fn zone(&self) -> Result<Zone> {
        let (key, record) = self.signer.record();
        let mut names = json!({
            DOMAIN: {
                "A": ["127.0.0.1"],
                "MX": [[10, HOST]],
                "TXT": [["v=spf1 ip4:127.0.0.1 ip4:192.0.2.0/24 -all"]],
            },
            HOST: { "A": ["127.0.0.1"], "TXT": [["v=spf1 a -all"]] },
            "1.0.0.127.in-addr.arpa": { "PTR": [HOST] },
            format!("_dmarc.{DOMAIN}"): { "TXT": [["v=DMARC1; p=reject"]] },
            key: { "TXT": [[record]] },
        });
        for number in 0..8 {
            names[shop(number)] = json!({ "A": ["192.0.2.80"] });
            names[format!("www.{}", shop(number))] = json!({ "A": ["192.0.2.80"] });
        }
        Zone::from_json(&names).context("the zone")
    }

    /// Plain text of about `size` bytes without links, not signed.
    pub(super) fn plain(&self, size: usize) -> Vec<u8> {
        let mut message = format!("{HEADER}Content-Type: text/plain; charset=us-ascii\r\n\r\n");
        while message.len() + LINE.len() <= size {
            message.push_str(LINE);
        }
        message.into()
    }

    /// About `size` bytes, signed: text and HTML with 16 links to 8 domains between them, and an attachment.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(super) fn signed(&self, size: usize) -> Result<Vec<u8>> {
        let mut message = format!("{HEADER}Content-Type: multipart/mixed; boundary=outer\r\n\r\n");
        message.push_str("--outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n");
        message.push_str("--inner\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
        for number in 0..8 {
            // Writing to a string cannot fail.
            let _ = write!(message, "{LINE}See http://www.{}/offer?id={number} for more.\r\n", shop(number));
        }
        message.push_str("--inner\r\nContent-Type: text/html; charset=utf-8\r\n");
        message.push_str("Content-Transfer-Encoding: quoted-printable\r\n\r\n<html><body>\r\n");
        for number in 0..8 {
            let link = format!("<a href=3D\"https://{}/basket/{number}\">here</a>", shop(number));
            let _ = write!(message, "<p>Gr=C3=BC=C3=9Fe, {link}</p>\r\n");
        }
        message.push_str("</body></html>\r\n--inner--\r\n--outer\r\n");
        message.push_str("Content-Type: application/octet-stream; name=\"figures.bin\"\r\n");
        message.push_str("Content-Disposition: attachment; filename=\"figures.bin\"\r\n");
        message.push_str("Content-Transfer-Encoding: base64\r\n\r\n");
        let line = format!("{}\r\n", "QUJD".repeat(19));
        loop {
            message.push_str(&line);
            if message.len() + line.len() + SIGNATURE > size {
                break;
            }
        }
        message.push_str("--outer--\r\n");
        self.signer.sign(message.as_bytes())
    }
}

/// A domain that links lead to.
fn shop(number: u32) -> String {
    format!("bench-shop-{number}.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_what_they_say() {
        let sender = Sender::new().unwrap();
        for size in [4096, 65_536] {
            for message in [sender.plain(size), sender.signed(size).unwrap()] {
                assert!(message.len().abs_diff(size) < 256, "{} for {size}", message.len());
                assert!(message.ends_with(b"\r\n"));
            }
            let text = String::from_utf8(sender.signed(size).unwrap()).unwrap();
            assert!(text.starts_with("DKIM-Signature:"));
            let links: Vec<&str> = text.split("://").skip(1).collect();
            assert_eq!(links.len(), 16);
            for number in 0..8 {
                assert_eq!(links.iter().filter(|link| link.contains(&shop(number))).count(), 2);
            }
        }
        sender.zone().unwrap();
    }
}
