//! The Received field that we add on top (RFC 5321 section 4.4), and the transaction's id.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

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
        let address = match self.client.ip() {
            std::net::IpAddr::V4(address) => format!("[{address}]"),
            std::net::IpAddr::V6(address) => format!("[IPv6:{address}]"),
        };
        let tls = self
            .tls
            .map(|tls| format!("\r\n\t(using {} with cipher {})", tls.version, tls.cipher_suite))
            .unwrap_or_default();
        let recipient = self.recipient.map(|recipient| format!("\r\n\tfor <{recipient}>")).unwrap_or_default();
        let head = format!(
            "from {} ({address}){tls}\r\n\tby {} with {} id {}{recipient};\r\n\t",
            self.helo,
            self.hostname,
            self.protocol(),
            self.id,
        );
        with_date(head, self.now)
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

thread_local! {
    /// The second that was written last, and how: many messages arrive in one.
    static WRITTEN: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

/// `text`, and the date as RFC 5322 section 3.3 has it.
fn with_date(mut text: String, now: Timestamp) -> String {
    WRITTEN.with_borrow_mut(|(second, date)| {
        if *second != now.as_second() {
            *second = now.as_second();
            *date = now.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
        }
        text.push_str(date);
    });
    text
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
