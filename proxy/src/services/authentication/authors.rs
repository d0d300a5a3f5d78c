//! Who wrote the message: the From field, read the strict way. Mail clients disagree about what is not well-formed, and
//! forgers live from that, so whatever two of them could read differently is a fault here.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::results::{AuthorFault, clean_text};
use crate::message::HeaderSection;

/// Addresses of one field.
const ADDRESSES: usize = 100;

/// The addresses of the one From field, in order, domains in lower case.
pub(crate) fn authors(headers: &HeaderSection) -> Result<Vec<String>, AuthorFault> {
    let mut fields = headers.named("From");
    let first = fields.next().ok_or(AuthorFault::Missing)?;
    let more = fields.count();
    if more > 0 {
        return Err(AuthorFault::Several(u32::try_from(more).unwrap_or(u32::MAX).saturating_add(1)));
    }
    parse(first.value()).map_err(|reason| AuthorFault::Unparsable(clean_text(&reason, 200)))
}

fn parse(value: &[u8]) -> Result<Vec<String>, String> {
    let tokens = tokens(&String::from_utf8_lossy(value))?;
    let mut addresses = Vec::new();
    let mut rest = &tokens[..];
    let mut in_group = false;
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|token| matches!(token.kind, Kind::Comma | Kind::Semicolon | Kind::Colon))
            .unwrap_or(rest.len());
        let (element, after) = rest.split_at(end);
        match after.first().map(|token| &token.kind) {
            Some(Kind::Colon) => {
                // "Name:" begins a group (RFC 5322 section 3.4).
                let is_phrase = element.iter().all(|token| matches!(token.kind, Kind::Word(_) | Kind::Quoted(_)));
                if in_group || element.is_empty() || !is_phrase {
                    return Err("a misplaced colon".to_owned());
                }
                in_group = true;
            }
            separator => {
                if !element.is_empty() {
                    addresses.push(mailbox(element)?);
                }
                if separator == Some(&Kind::Semicolon) {
                    if !in_group {
                        return Err("a misplaced semicolon".to_owned());
                    }
                    in_group = false;
                }
            }
        }
        if addresses.len() > ADDRESSES {
            return Err("too many addresses".to_owned());
        }
        rest = after.get(1..).unwrap_or_default();
    }
    if in_group {
        return Err("a group without an end".to_owned());
    }
    if addresses.is_empty() { Err("no address".to_owned()) } else { Ok(addresses) }
}

/// `address`, or `phrase <address>`.
fn mailbox(tokens: &[Token]) -> Result<String, String> {
    let Some(open) = tokens.iter().position(|token| token.kind == Kind::Open) else {
        return address(tokens);
    };
    let (phrase, rest) = tokens.split_at(open);
    let [_, inner @ .., last] = rest else { return Err("an empty address".to_owned()) };
    if last.kind != Kind::Close {
        return Err("text after an address".to_owned());
    }
    if inner.first().is_some_and(|token| token.kind == Kind::At) {
        return Err("a source route".to_owned());
    }
    let found = address(inner)?;
    if !phrase.iter().all(|token| matches!(token.kind, Kind::Word(_) | Kind::Quoted(_))) {
        // People do write `me@example.com <me@example.com>`; two different addresses are a trick.
        match address(phrase) {
            Ok(shown) if shown.eq_ignore_ascii_case(&found) => {}
            _ => return Err("a display name that is not one".to_owned()),
        }
    }
    Ok(found)
}

fn address(tokens: &[Token]) -> Result<String, String> {
    let [local, at, domain] = tokens else { return Err("not an address".to_owned()) };
    if at.kind != Kind::At || !at.glued || !domain.glued {
        return Err("not an address".to_owned());
    }
    let local = match &local.kind {
        // Readers that decode an encoded word here show an address of their own making (RFC 2047 section 5).
        Kind::Word(word) if word.contains("=?") => return Err("an encoded word in an address".to_owned()),
        Kind::Word(word) if !word.contains('\u{fffd}') => word.clone(),
        Kind::Quoted(text) if !text.contains('\u{fffd}') => {
            format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
        }
        _ => return Err("not a local part".to_owned()),
    };
    let domain = match &domain.kind {
        Kind::Word(word) if is_domain(word) => word.to_lowercase(),
        Kind::Literal(literal) if is_address_literal(literal) => format!("[{}]", literal.to_ascii_lowercase()),
        _ => return Err("not a domain".to_owned()),
    };
    Ok(format!("{local}@{domain}"))
}

fn is_domain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || (!c.is_ascii() && c.is_alphanumeric());
    text.split('.').all(|label| !label.is_empty() && label.chars().all(|c| plain(c) || is_mark(c)))
        && crate::services::dns::clean_name(text).is_ok()
}

/// Combining marks are not alphanumeric, but Indic labels need them; IDNA has the last word.
fn is_mark(c: char) -> bool {
    !c.is_ascii() && !c.is_control() && !c.is_whitespace() && c != '\u{fffd}'
}

fn is_address_literal(text: &str) -> bool {
    let v6 = text.get(..5).filter(|tag| tag.eq_ignore_ascii_case("IPv6:")).map(|_| &text[5..]);
    v6.map_or_else(|| text.parse::<Ipv4Addr>().is_ok(), |v6| v6.parse::<Ipv6Addr>().is_ok())
}

#[derive(Debug, PartialEq, Eq)]
struct Token {
    kind: Kind,
    /// Nothing stands between it and the token before.
    glued: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Word(String),
    Quoted(String),
    Literal(String),
    At,
    Open,
    Close,
    Comma,
    Colon,
    Semicolon,
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    let mut glued = false;
    while let Some(c) = rest.next() {
        let kind = match c {
            ' ' | '\t' => {
                glued = false;
                continue;
            }
            '\r' => {
                fold(&mut rest)?;
                glued = false;
                continue;
            }
            '(' => {
                comment(&mut rest)?;
                glued = false;
                continue;
            }
            '"' => Kind::Quoted(quoted(&mut rest)?),
            '[' => Kind::Literal(literal(&mut rest)?),
            '@' => Kind::At,
            '<' => Kind::Open,
            '>' => Kind::Close,
            ',' => Kind::Comma,
            ':' => Kind::Colon,
            ';' => Kind::Semicolon,
            ')' | ']' | '\\' => return Err(format!("a misplaced {c}")),
            c if is_control(c) => return Err("a control character".to_owned()),
            c => {
                let mut word = String::from(c);
                while let Some(next) = rest.next_if(|c| !" \t\r()<>[]:;@\\,\"".contains(*c) && !is_control(*c)) {
                    word.push(next);
                }
                Kind::Word(word)
            }
        };
        tokens.push(Token { kind, glued });
        glued = true;
    }
    Ok(tokens)
}

type Rest<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// After a CR: only a fold may follow.
fn fold(rest: &mut Rest<'_>) -> Result<(), String> {
    if rest.next() == Some('\n') && rest.next_if(|c| *c == ' ' || *c == '\t').is_some() {
        return Ok(());
    }
    Err("a control character".to_owned())
}

fn comment(rest: &mut Rest<'_>) -> Result<(), String> {
    let mut depth = 1_usize;
    while let Some(c) = rest.next() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\\' => match rest.next() {
                Some(c) if !is_control(c) => {}
                _ => return Err("a comment without an end".to_owned()),
            },
            '\r' => fold(rest)?,
            c if is_control(c) => return Err("a control character".to_owned()),
            _ => {}
        }
        if depth == 0 {
            return Ok(());
        }
    }
    Err("a comment without an end".to_owned())
}

fn quoted(rest: &mut Rest<'_>) -> Result<String, String> {
    let mut text = String::new();
    while let Some(c) = rest.next() {
        match c {
            '"' => return Ok(text),
            '\\' => match rest.next() {
                Some(c) if !is_control(c) => text.push(c),
                _ => return Err("a control character".to_owned()),
            },
            '\r' => {
                fold(rest)?;
                text.push(' ');
            }
            c if is_control(c) => return Err("a control character".to_owned()),
            c => text.push(c),
        }
    }
    Err("a quoted string without an end".to_owned())
}

fn literal(rest: &mut Rest<'_>) -> Result<String, String> {
    let mut text = String::new();
    for c in rest.by_ref() {
        match c {
            ']' => return Ok(text),
            c if c.is_ascii_graphic() && c != '[' && c != '\\' => text.push(c),
            _ => break,
        }
    }
    Err("an address literal without an end".to_owned())
}

/// The tab is white space.
const fn is_control(c: char) -> bool {
    (c.is_ascii_control() && c != '\t') || matches!(c, '\u{80}'..='\u{9f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_everybody_reads_the_same_is_read() {
        for (value, expected) in [
            ("joe@example.com", &["joe@example.com"][..]),
            (" Joe <joe@EXAMPLE.com>", &["joe@example.com"]),
            ("\"Doe, Joe\" <joe@example.com> (at work)", &["joe@example.com"]),
            ("Joe Q. Public\r\n <joe@example.com>", &["joe@example.com"]),
            ("=?utf-8?B?w6k=?= <joe@example.com>", &["joe@example.com"]),
            ("joe@example.com <Joe@example.com>", &["Joe@example.com"]),
            ("a@example.com, b <b@example.net>,", &["a@example.com", "b@example.net"]),
            ("All: a@example.com, b@example.com;", &["a@example.com", "b@example.com"]),
            ("\"a b\"@example.com", &["\"a b\"@example.com"]),
            ("joe@[192.0.2.1]", &["joe@[192.0.2.1]"]),
            ("ж@почта.рф", &["ж@почта.рф"]),
            ("Jos\u{e9} <jose@example.com>", &["jose@example.com"]),
        ] {
            assert_eq!(
                parse(value.as_bytes()).as_deref(),
                Ok(expected.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().as_slice()),
                "{value:?}"
            );
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_a_fault() {
        for value in [
            "",
            "<>",
            "Joe",
            "Nobody:;",
            "joe@example.com\0",
            "joe\0@example.com <joe@example.net>",
            "a@example.com <b@example.net>",
            "<a@example.com> <b@example.net>",
            "<a@example.com>b@example.net",
            "<@example.com:joe@example.net>",
            "<@a.example,@b.example:joe@example.net>",
            "joe@=?utf-8?B?ZXhhbXBsZS5jb20=?=",
            "joe@example.com(comment",
            "\"joe@example.com",
            "joe @example.com",
            "joe@(x)example.com",
            "joe@exa mple.com",
            "joe@example..com",
            "a@b@example.com",
            "a\\@example.com",
            "joe@example.com;",
            "x: y: joe@example.com;;",
            "joe@example.com\r\nSubject: x",
            "joe@example.com\u{85}",
        ] {
            assert!(parse(value.as_bytes()).is_err(), "{value:?} {:?}", parse(value.as_bytes()));
        }
        assert!(parse(b"jo\xe9@example.com").is_err());
        assert!(parse(b"Jos\xe9 <jose@example.com>").is_ok());
    }

    #[test]
    fn fields_are_counted() {
        let read = |text: &str| authors_of(text.strip_suffix("\r\n").unwrap().as_bytes());
        assert_eq!(read("Subject: x\r\n\r\n"), Err(AuthorFault::Missing));
        assert_eq!(read("From: a@example.com\r\nfrom: b@example.com\r\n\r\n"), Err(AuthorFault::Several(2)));
        assert_eq!(read("From : a@example.com\r\n\r\n"), Ok(vec!["a@example.com".to_owned()]));
    }

    /// The data stand beside the filter that decides about them.
    #[test]
    fn hostile_fields_are_read_as_the_filter_is_told() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../plugins/auth/tests/from_fields.txt");
        let cases = std::fs::read_to_string(path).unwrap();
        for line in cases.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (expected, section) = line.split_once(" | ").unwrap();
            let found = match authors_of(&unescaped(section)) {
                Ok(authors) => authors.join(", "),
                Err(AuthorFault::Missing) => "missing".to_owned(),
                Err(AuthorFault::Several(_)) => "several".to_owned(),
                Err(AuthorFault::Unparsable(_)) => "unparsable".to_owned(),
            };
            assert_eq!(found, expected, "{section}");
        }
    }

    fn unescaped(text: &str) -> Vec<u8> {
        let mut rest = text.as_bytes();
        let mut bytes = Vec::new();
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            let (byte, length) = match (byte, rest) {
                (b'\\', [b'r', ..]) => (b'\r', 1),
                (b'\\', [b'n', ..]) => (b'\n', 1),
                (b'\\', [b't', ..]) => (b'\t', 1),
                (b'\\', [b'0', ..]) => (0, 1),
                (b'\\', [b'\\', ..]) => (b'\\', 1),
                (b'\\', [b'x', digits @ ..]) => {
                    (u8::from_str_radix(std::str::from_utf8(&digits[..2]).unwrap(), 16).unwrap(), 3)
                }
                (byte, _) => (*byte, 0),
            };
            bytes.push(byte);
            rest = &rest[length..];
        }
        bytes
    }

    fn authors_of(section: &[u8]) -> Result<Vec<String>, AuthorFault> {
        let limits = crate::message::MessageLimits {
            header_size: 1 << 20,
            header_fields: 100,
            mime_parts: 9,
            mime_depth: 9,
            decoding: crate::message::DecodingLimits::DEFAULT,
        };
        let text = [section, b"\r\nx\r\n"].concat();
        authors(crate::message::Message::from_bytes(text.into(), limits).unwrap().headers())
    }
}
