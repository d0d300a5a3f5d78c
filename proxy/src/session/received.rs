//! The Received field that we add on top (RFC 5321 section 4.4), and the transaction's id.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

use crate::append;
use crate::host::TlsFacts;

/// What the field says.
pub(super) struct Received<'a> {
    /// The argument of EHLO or HELO; checked by the parser, so it holds no control characters.
    pub(super) helo: &'a str,
    pub(super) client: SocketAddr,
    pub(super) hostname: &'a str,
    pub(super) id: &'a str,
    pub(super) tls: Option<&'a TlsFacts>,
    pub(super) extended: bool,
    pub(super) smtp_utf8: bool,
    /// Named only when there is one: others must not learn of blind copies.
    pub(super) recipient: Option<&'a str>,
    pub(super) now: Timestamp,
}

impl Received<'_> {
    /// The field's value, folded.
    pub(super) fn value(&self) -> String {
        let mut value = String::with_capacity(512);
        value.push_str("from ");
        value.push_str(self.helo);
        value.push_str(if self.client.is_ipv6() { " ([IPv6:" } else { " ([" });
        append::ip(&mut value, self.client.ip());
        value.push_str("])");
        if let Some(tls) = self.tls {
            value.push_str("\r\n\t(using ");
            value.push_str(&tls.version);
            value.push_str(" with cipher ");
            value.push_str(&tls.cipher_suite);
            value.push(')');
        }
        value.push_str("\r\n\tby ");
        value.push_str(self.hostname);
        value.push_str(" with ");
        value.push_str(self.protocol());
        value.push_str(" id ");
        value.push_str(self.id);
        if let Some(recipient) = self.recipient {
            value.push_str("\r\n\tfor <");
            value.push_str(recipient);
            value.push('>');
        }
        value.push_str(";\r\n\t");
        append::mail_date(&mut value, self.now);
        value
    }

    /// The registered "with" protocol (RFC 3848, RFC 6531 section 3.7.3).
    fn protocol(&self) -> &'static str {
        match (self.extended, self.smtp_utf8, self.tls.is_some()) {
            (_, true, true) => "UTF8SMTPS",
            (_, true, false) => "UTF8SMTP",
            (true, false, true) => "ESMTPS",
            (true, false, false) => "ESMTP",
            (false, false, _) => "SMTP",
        }
    }
}

/// An id that no other transaction of the fleet has for all that matters: 48 bits of milliseconds, so that ids sort by
/// time, and 32 random bits. 16 characters of Crockford's base 32.
pub(super) fn transaction_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    id(now.as_millis(), fastrand::u32(..))
}

fn id(millis: u128, random: u32) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
    let bits = (millis << 32) | u128::from(random);
    (0..16).rev().map(|place| char::from(ALPHABET[(bits >> (place * 5)) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_names_client_protocol_and_the_only_recipient() {
        let tls = TlsFacts {
            version: "TLSv1.3".to_owned(),
            cipher_suite: "TLS13_AES_256_GCM_SHA384".to_owned(),
            server_name: None,
        };
        let mut received = Received {
            helo: "client.example",
            client: "[2001:db8::1]:4025".parse().unwrap(),
            hostname: "mx.example.com",
            id: "0123",
            tls: Some(&tls),
            extended: true,
            smtp_utf8: false,
            recipient: Some("a@example.com"),
            now: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(
            received.value(),
            "from client.example ([IPv6:2001:db8::1])\r\n\t(using TLSv1.3 with cipher TLS13_AES_256_GCM_SHA384)\
             \r\n\tby mx.example.com with ESMTPS id 0123\r\n\tfor <a@example.com>;\r\n\tThu, 01 Jan 1970 00:00:00 +0000"
        );
        received.tls = None;
        received.extended = false;
        received.recipient = None;
        assert_eq!(
            received.value(),
            "from client.example ([IPv6:2001:db8::1])\r\n\tby mx.example.com with SMTP id 0123;\
             \r\n\tThu, 01 Jan 1970 00:00:00 +0000"
        );
    }

    #[test]
    fn ids_differ_and_sort_by_time() {
        let (first, second) = (id(1_000, 7), id(1_001, 3));
        assert_eq!(first.len(), 16);
        assert!(first < second);
        assert_ne!(id(1_000, 7), id(1_000, 8));
    }
}
