//! Sets of patterns over texts and messages.

use bytes::Bytes;

use super::*;
use crate::message::{DecodingLimits, MessageLimits};

const LITERAL: PatternOptions = PatternOptions { regex: false, case_insensitive: false, whole_word: false };
const FOLDED: PatternOptions = PatternOptions { case_insensitive: true, ..LITERAL };
const WORD: PatternOptions = PatternOptions { whole_word: true, ..LITERAL };
const FOLDED_WORD: PatternOptions = PatternOptions { whole_word: true, ..FOLDED };
const REGEX: PatternOptions = PatternOptions { regex: true, ..LITERAL };
const FOLDED_REGEX: PatternOptions = PatternOptions { regex: true, ..FOLDED };
const REGEX_WORD: PatternOptions = PatternOptions { regex: true, ..WORD };

fn compile(patterns: &[&str], options: PatternOptions) -> Result<PatternSet, String> {
    let patterns: Vec<String> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
    PatternSet::compile(&patterns, options)
}

fn found(patterns: &[&str], options: PatternOptions, text: &str) -> Vec<(u32, String)> {
    let set = compile(patterns, options).unwrap();
    let matches = set.find_in(text.as_bytes(), 100);
    matches.into_iter().map(|found| (found.pattern, text[found.start..found.end].to_owned())).collect()
}

#[test]
fn options() {
    for (patterns, options, text, expected) in [
        (&["ab", "abc", "bc"][..], LITERAL, "abcab bc ABC", &[(1, "abc"), (0, "ab"), (2, "bc")][..]),
        (
            &["kelvin", "stra\u{df}e"],
            FOLDED,
            "\u{212a}ELVIN STRA\u{1e9e}E",
            &[(0, "\u{212a}ELVIN"), (1, "STRA\u{1e9e}E")],
        ),
        (&["\u{3a3}\u{3a3}"], FOLDED, "\u{3c3}\u{3c2}", &[(0, "\u{3c3}\u{3c2}")]),
        (
            &["\u{441}\u{435}\u{43a}\u{440}\u{435}\u{442}"],
            FOLDED,
            "\u{421}\u{415}\u{41a}\u{420}\u{415}\u{422}",
            &[(0, "\u{421}\u{415}\u{41a}\u{420}\u{415}\u{422}")],
        ),
        (&["foo", "foo bar"], WORD, "foo barx, foo_, xfoo, foo bar", &[(0, "foo"), (0, "foo"), (1, "foo bar")]),
        (&["caf\u{e9}"], FOLDED_WORD, "CAF\u{c9} caf\u{e9}s \u{e9}caf\u{e9}", &[(0, "CAF\u{c9}")]),
        (&[r"\d{4}", "[a-z]+"], REGEX, "ab 12345 x", &[(1, "ab"), (0, "1234"), (1, "x")]),
        (&["\u{e4}+"], FOLDED_REGEX, "\u{c4}\u{e4}", &[(0, "\u{c4}\u{e4}")]),
        (
            &[r"\d{3}(?: \d)*", "b"],
            REGEX_WORD,
            "123 1234 456 7 8x_999_b b",
            &[(0, "123"), (0, "456 7"), (0, "999"), (1, "b"), (1, "b")],
        ),
        (&["x*"], REGEX, "axa", &[(0, "x")]),
        (&["x*"], REGEX_WORD, "x  x-", &[(0, "x"), (0, "x")]),
    ] {
        let expected: Vec<_> = expected.iter().map(|&(pattern, text)| (pattern, text.to_owned())).collect();
        assert_eq!(found(patterns, options, text), expected, "{patterns:?} {options:?} {text}");
    }
}

#[test]
fn errors_name_the_pattern() {
    for (patterns, options, expected) in [
        (&["a", ""][..], LITERAL, "pattern 1 is empty"),
        (&["a", "(b"], REGEX, "pattern 1: "),
        (&["a", "(?x)b # c"], REGEX_WORD, "pattern 1: "),
        (&[r"(?:\pL{500}){500}"], REGEX, "the 1 patterns take more than"),
    ] {
        let error = compile(patterns, options).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
    let many = vec!["a"; PATTERNS + 1];
    assert!(compile(&many, LITERAL).unwrap_err().starts_with("4097 patterns"));
    assert!(compile(&["a".repeat(PATTERN_BYTES + 1).as_str()], LITERAL).is_err());
}

#[test]
fn bytes_that_are_no_text() {
    for options in [LITERAL, FOLDED, WORD, FOLDED_WORD, REGEX, FOLDED_REGEX] {
        let set = compile(&["ab"], options).unwrap();
        let matches = set.find_in(b"\xff\xfeab\xff a\xffb \xe2\x82ab\xe2", 100);
        let starts: Vec<_> = matches.iter().map(|found| found.start).collect();
        assert_eq!(starts, [2, 12], "{options:?}");
    }
}

fn message() -> Message {
    let message = concat!(
        "Subject: =?utf-8?b?U2VjcmV0?= plan\r\nX-Label: top\r\n secret\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n",
        "--b\r\nContent-Transfer-Encoding: base64\r\n\r\nYSBzZWNyZXQ=\r\n",
        "--b\r\nContent-Type: text/html\r\n\r\n<p title=secret>s<b>ecr</b>et</p>\r\n--b--\r\n",
    );
    let limits = MessageLimits {
        header_size: 65536,
        header_fields: 100,
        mime_parts: 100,
        mime_depth: 10,
        decoding: DecodingLimits::DEFAULT,
    };
    Message::from_bytes(Bytes::from_static(message.as_bytes()), limits).unwrap()
}

#[test]
fn scopes_and_limit() {
    let message = message();
    let set = compile(&["secret"], FOLDED).unwrap();
    let places = |scope, limit| -> Vec<(Option<u32>, u64)> {
        let hits = find(&message, scope, &set, limit).unwrap();
        hits.iter().map(|hit| (hit.part, hit.offset)).collect()
    };
    assert_eq!(places(Scope::Text, 100), [(None, 0), (Some(1), 2), (Some(2), 0)]);
    assert_eq!(places(Scope::Headers, 100), [(None, 9), (None, 34)]);
    assert_eq!(places(Scope::Raw, 100).len(), 2, "the folded field, and the attribute");
    assert_eq!(places(Scope::Text, 2).len(), 2);
    assert_eq!(places(Scope::Text, 0), []);
}

#[test]
fn digests() {
    let limits = MessageLimits {
        header_size: 65536,
        header_fields: 100,
        mime_parts: 100,
        mime_depth: 10,
        decoding: DecodingLimits::DEFAULT,
    };
    let message = Message::from_bytes(Bytes::from_static(b"\r\nabc"), limits).unwrap();
    let hex = |algorithm| -> String {
        digest(&message, algorithm).unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert_eq!(hex(Algorithm::Sha1), "0abc799117c3788b1a4aede7b6e46886e1f1847b");
    assert_eq!(hex(Algorithm::Sha256), "d479e2f73ae97dd4321d1fb6d9d6382f9580c26beb7bac9ce3b9a8d32c4de87b");
}
