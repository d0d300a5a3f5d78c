//! Addresses as tables.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use super::*;

#[test]
fn mailboxes() {
    let longest_local_part = "l".repeat(64);
    let label = "d".repeat(63);
    let good = [
        ("a@b", "a", "b"),
        ("first.last+tag@example.com", "first.last+tag", "example.com"),
        ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~", "example.com"),
        (r#""a b"@example.com"#, r#""a b""#, "example.com"),
        (r#""a@b"@example.com"#, r#""a@b""#, "example.com"),
        (r#""a\"b\\c"@example.com"#, r#""a\"b\\c""#, "example.com"),
        (r#"""@example.com"#, r#""""#, "example.com"),
        ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
        ("a@[ipv6:::1]", "a", "[ipv6:::1]"),
        ("a@1.2.3.4", "a", "1.2.3.4"),
        ("jörg@bücher.example", "jörg", "bücher.example"),
        ("नमस्ते@उदाहरण.भारत", "नमस्ते", "उदाहरण.भारत"),
        ("a@xn--bcher-kva.example", "a", "xn--bcher-kva.example"),
    ];
    for (text, local_part, domain) in good {
        let mailbox = Mailbox::parse(text.as_bytes()).unwrap();
        assert_eq!((mailbox.local_part(), mailbox.domain().as_str(), mailbox.as_str()), (local_part, domain, text));
        assert_eq!(mailbox.is_ascii(), text.is_ascii());
    }
    let longest = format!("{longest_local_part}@{label}.{label}.{}", "d".repeat(254 - 65 - 128));
    assert_eq!(longest.len(), MAX_MAILBOX);
    assert!(Mailbox::parse(longest.as_bytes()).is_ok());
    assert_eq!(Mailbox::parse(format!("{longest}d").as_bytes()), Err(AddressError::TooLong));
}

#[test]
fn malformed_mailboxes() {
    let long_domain = format!("a@{}", vec!["d".repeat(63); 4].join(".") + ".e");
    let long_local_part = format!("{}@b", "l".repeat(65));
    let long_label = format!("a@{}", "d".repeat(64));
    let cases: &[(&[u8], AddressError)] = &[
        (b"", AddressError::Syntax),
        (b"a", AddressError::Syntax),
        (b"@b", AddressError::LocalPart),
        (b"a@", AddressError::Domain),
        (b"a@b@c", AddressError::Domain),
        (b".a@b", AddressError::LocalPart),
        (b"a..b@c", AddressError::LocalPart),
        (b"a b@c", AddressError::LocalPart),
        (b"a\"b\"@c", AddressError::LocalPart),
        (b"\"a@b", AddressError::LocalPart),
        (b"\"a\\\"@b", AddressError::LocalPart),
        (b"\"a\tb\"@c", AddressError::LocalPart),
        (b"\"a\\\0\"@b", AddressError::LocalPart),
        (b"\"a\"b@c", AddressError::Syntax),
        (b"a\r\nb@c", AddressError::LocalPart),
        (b"a\0@b", AddressError::LocalPart),
        (b"\xff@b", AddressError::LocalPart),
        ("a\u{2028}@b".as_bytes(), AddressError::LocalPart),
        ("a\u{202e}@b".as_bytes(), AddressError::LocalPart),
        (b"a@b_c", AddressError::Domain),
        (b"a@-b", AddressError::Domain),
        (b"a@b-", AddressError::Domain),
        (b"a@b.", AddressError::Domain),
        (b"a@b..c", AddressError::Domain),
        ("a@b\u{3002}c".as_bytes(), AddressError::Domain),
        ("a@b\u{ff0e}c".as_bytes(), AddressError::Domain),
        ("a@b\u{200b}c".as_bytes(), AddressError::Domain),
        ("a@b\u{a0}c".as_bytes(), AddressError::Domain),
        (b"a@[1.2.3]", AddressError::AddressLiteral),
        (b"a@[01.2.3.4]", AddressError::AddressLiteral),
        (b"a@[::1]", AddressError::AddressLiteral),
        (b"a@[IPv6:1.2.3.4]", AddressError::AddressLiteral),
        (b"a@[IPv6:fe80::1%eth0]", AddressError::AddressLiteral),
        (b"a@[x:y]", AddressError::AddressLiteral),
        (b"a@[1.2.3.4", AddressError::AddressLiteral),
        (long_domain.as_bytes(), AddressError::DomainTooLong),
        (long_local_part.as_bytes(), AddressError::LocalPartTooLong),
        (long_label.as_bytes(), AddressError::Domain),
    ];
    for (text, expected) in cases {
        assert_eq!(Mailbox::parse(text), Err(*expected), "{}", text.escape_ascii());
    }
}

#[test]
fn domains_compare_without_case() {
    let (one, two) = (Domain::parse(b"Example.COM").unwrap(), Domain::parse(b"example.com").unwrap());
    assert_eq!(one, two);
    let hasher = RandomState::new();
    assert_eq!(hasher.hash_one(&one), hasher.hash_one(&two));
    assert_ne!(one, Domain::parse(b"example.net").unwrap());
    assert_eq!(one.to_string(), "Example.COM");
}

#[test]
fn address_literals() {
    let literal = |text: &str| Domain::parse(text.as_bytes()).unwrap().address_literal();
    assert_eq!(literal("[192.0.2.1]"), Some(IpAddr::from([192, 0, 2, 1])));
    assert_eq!(literal("[IPv6:2001:db8::1]"), "2001:db8::1".parse().ok());
    assert_eq!(literal("192.0.2.1"), None);
    assert_eq!(ClientName::parse(b"[192.0.2.1]").unwrap().address_literal(), Some(IpAddr::from([192, 0, 2, 1])));
    assert_eq!(ClientName::parse(b"[nonsense]").unwrap().address_literal(), None);
}

#[test]
fn paths() {
    let forward = |text: &str| ForwardPath::parse(text.as_bytes()).map(|path| path.to_string());
    assert_eq!(forward("pOstmaster").as_deref(), Ok("<Postmaster>"));
    assert_eq!(forward("postmaster@b").as_deref(), Ok("<postmaster@b>"));
    assert_eq!(forward("@a,@b.example:c@d").as_deref(), Ok("<c@d>"));
    assert_eq!(forward("@[IPv6:2001:db8::1]:c@d").as_deref(), Ok("<c@d>"));
    for malformed in ["", "@a:", "@a:b", "@a,b:c@d", "@:c@d", "@a,:c@d", "@a@b", "@[::1:c@d", "@a:@b:c@d"] {
        assert!(forward(malformed).is_err(), "{malformed}");
    }
    assert_eq!(ReversePath::parse(b""), Ok(ReversePath::Null));
    assert_eq!(ReversePath::Null.to_string(), "<>");
    assert_eq!(ReversePath::parse(b"@a:b@c").map(|path| path.as_str().to_owned()).as_deref(), Ok("b@c"));
    assert_eq!(ReversePath::parse(b"postmaster"), Err(AddressError::Syntax));
}
