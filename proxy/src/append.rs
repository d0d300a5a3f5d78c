//! Numbers, addresses and times as every message has them in its Received field and its log line, appended to a string
//! digit by digit. The standard library's formatting takes some 300 instructions for each number of an IPv4 address.

use std::cell::RefCell;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::thread::LocalKey;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// In decimal.
pub(crate) fn number(text: &mut String, number: u64) {
    if number >= 10 {
        self::number(text, number / 10);
    }
    digit(text, number);
}

/// The last decimal digit.
fn digit(text: &mut String, number: u64) {
    text.push(char::from(b'0' + (number % 10) as u8));
}

/// An address: 192.0.2.1, 2001:db8::1.
pub(crate) fn ip(text: &mut String, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            number(text, first.into());
            for octet in rest {
                text.push('.');
                number(text, octet.into());
            }
        }
        // Writing to a string cannot fail.
        IpAddr::V6(address) => drop(write!(text, "{address}")),
    }
}

/// An address and port: `192.0.2.1:25`, `[2001:db8::1]:25`.
pub(crate) fn socket_address(text: &mut String, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            ip(text, (*address.ip()).into());
            text.push(':');
            number(text, address.port().into());
        }
        SocketAddr::V6(address) => drop(write!(text, "{address}")),
    }
}

/// A time in UTC, to the microsecond, as RFC 3339 has it: 2026-01-31T23:59:59.000001Z.
pub(crate) fn log_time(text: &mut String, now: Timestamp) {
    thread_local!(static WRITTEN: Written = const { RefCell::new((i64::MIN, String::new())) });
    let micros = now.as_microsecond();
    second(&WRITTEN, "%Y-%m-%dT%H:%M:%S.", text, micros.div_euclid(1_000_000));
    let fraction = micros.rem_euclid(1_000_000) as u64;
    for divisor in [100_000, 10_000, 1_000, 100, 10, 1] {
        digit(text, fraction / divisor);
    }
    text.push('Z');
}

/// A date in UTC, as RFC 5322 section 3.3 has it: Sat, 31 Jan 2026 23:59:59 +0000.
pub(crate) fn mail_date(text: &mut String, now: Timestamp) {
    thread_local!(static WRITTEN: Written = const { RefCell::new((i64::MIN, String::new())) });
    second(&WRITTEN, "%a, %d %b %Y %H:%M:%S +0000", text, now.as_second());
}

/// The second that was written last, and how: many messages arrive in one.
type Written = RefCell<(i64, String)>;

fn second(written: &'static LocalKey<Written>, format: &str, text: &mut String, second: i64) {
    written.with_borrow_mut(|(last, date)| {
        if *last != second {
            let time = Timestamp::from_second(second).unwrap_or_default();
            *date = time.to_zoned(TimeZone::UTC).strftime(format).to_string();
            *last = second;
        }
        text.push_str(date);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `append` makes of an empty string.
    fn appended(append: impl FnOnce(&mut String)) -> String {
        let mut text = String::new();
        append(&mut text);
        text
    }

    #[test]
    fn numbers_and_addresses_read_as_the_standard_library_writes_them() {
        for value in [0, 7, 10, 99, 100, 4_096, u64::MAX - 1, u64::MAX] {
            assert_eq!(appended(|text| number(text, value)), value.to_string());
        }
        for address in ["0.0.0.0:0", "192.0.2.1:25", "255.255.255.255:65535", "[::1]:25", "[2001:db8::1%7]:4025"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(appended(|text| ip(text, address.ip())), address.ip().to_string());
            assert_eq!(appended(|text| socket_address(text, address)), address.to_string());
        }
    }

    #[test]
    fn times_are_those_of_their_second() {
        for (micros, log, mail) in [
            (0, "1970-01-01T00:00:00.000000Z", "Thu, 01 Jan 1970 00:00:00 +0000"),
            (999_999, "1970-01-01T00:00:00.999999Z", "Thu, 01 Jan 1970 00:00:00 +0000"),
            (1_000_020, "1970-01-01T00:00:01.000020Z", "Thu, 01 Jan 1970 00:00:01 +0000"),
            (951_827_696_123_456, "2000-02-29T12:34:56.123456Z", "Tue, 29 Feb 2000 12:34:56 +0000"),
        ] {
            let now = Timestamp::from_microsecond(micros).unwrap();
            assert_eq!(appended(|text| log_time(text, now)), log);
            assert_eq!(appended(|text| mail_date(text, now)), mail);
        }
        let before = Timestamp::from_microsecond(-1).unwrap();
        assert_eq!(appended(|text| log_time(text, before)), "1969-12-31T23:59:59.999999Z");
    }
}
