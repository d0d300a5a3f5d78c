//! Tag lists, `name=value; …` (RFC 6376 section 3.2): the form of DKIM and ARC fields and of key and policy records.

use std::borrow::Cow;

/// A parsed list. Values have the white space around them removed.
#[derive(Debug)]
pub(super) struct Tags<'a>(Vec<(&'a str, &'a str)>);

/// Tags a list may have at most; real ones have a dozen.
const LIMIT: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum EmptyTags {
    Refused,
    Ignored,
}

impl<'a> Tags<'a> {
    /// Parse strictly: names are letters, digits and underscores, and none occurs twice.
    pub(super) fn parse(text: &'a str) -> Result<Self, &'static str> {
        Self::read(text, EmptyTags::Refused)
    }

    /// Parse a record of the DNS. People write those by hand: stray semicolons are let pass.
    pub(super) fn parse_record(text: &'a str) -> Result<Self, &'static str> {
        Self::read(text, EmptyTags::Ignored)
    }

    fn read(text: &'a str, empty: EmptyTags) -> Result<Self, &'static str> {
        let mut tags: Vec<(&str, &str)> = Vec::new();
        let mut pieces = text.split(';').peekable();
        while let Some(piece) = pieces.next() {
            let piece = trim(piece);
            if piece.is_empty() {
                // One semicolon may stand at the end.
                if pieces.peek().is_none() && !tags.is_empty() {
                    break;
                }
                if empty == EmptyTags::Ignored {
                    continue;
                }
                return Err("an empty tag");
            }
            let Some((name, value)) = piece.split_once('=') else { return Err("a tag without a value") };
            let (name, value) = (trim(name), trim(value));
            if !is_name(name) {
                return Err("a malformed tag name");
            }
            if !value.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x21..=0x7e | 0x80..)) {
                return Err("a control character");
            }
            if tags.iter().any(|(other, _)| *other == name) {
                return Err("a tag twice");
            }
            if tags.len() == LIMIT {
                return Err("too many tags");
            }
            tags.push((name, value));
        }
        Ok(Self(tags))
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    /// The first tag.
    pub(super) fn first(&self) -> Option<(&'a str, &'a str)> {
        self.0.first().copied()
    }

    /// A value that must be there and not be empty.
    pub(super) fn required(&self, name: &'static str) -> Result<&'a str, String> {
        match self.value(name) {
            Some("") => Err(format!("{name}= is empty")),
            Some(value) => Ok(value),
            None => Err(format!("{name}= is missing")),
        }
    }

    /// A decimal number of at most 12 digits, as `t=` and `x=` have (RFC 6376 section 3.5); `l=` may have more digits.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<u64>, String> {
        let Some(value) = self.value(name) else { return Ok(None) };
        if value.is_empty() || value.len() > 76 || !value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{name}= is not a number"));
        }
        // More than 64 bits is as good as the largest.
        Ok(Some(value.parse().unwrap_or(u64::MAX)))
    }
}

/// The elements of a colon-separated value, trimmed.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(':').map(trim)
}

/// A value without any white space, as base64 may be folded.
pub(super) fn unfolded(value: &str) -> Cow<'_, str> {
    if value.bytes().any(|byte| byte.is_ascii_whitespace()) {
        Cow::Owned(value.chars().filter(|c| !c.is_ascii_whitespace()).collect())
    } else {
        Cow::Borrowed(value)
    }
}

/// Decode base64, white space allowed anywhere. Padding may be missing: some signers leave it out.
pub(super) fn base64(value: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    LENIENT.decode(unfolded(value).as_bytes()).ok().filter(|bytes| !bytes.is_empty())
}

/// Decode DKIM's quoted-printable (RFC 6376 section 2.11), in which white space means nothing. `None`: malformed, or not
/// UTF-8.
pub(super) fn quoted_printable(value: &str) -> Option<String> {
    let text = unfolded(value);
    let mut rest = text.as_bytes();
    let mut decoded = Vec::with_capacity(rest.len());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'=' {
            decoded.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        decoded.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = after;
    }
    String::from_utf8(decoded).ok()
}

pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_strictly() {
        let tags = Tags::parse(" v=1; a = rsa-sha256 ;\r\n\tb=ab\r\n cd=;").unwrap();
        assert_eq!(tags.value("v"), Some("1"));
        assert_eq!(tags.value("a"), Some("rsa-sha256"));
        assert_eq!(tags.value("b").map(unfolded).as_deref(), Some("abcd="));
        for bad in ["", ";", "v", "v=1;;a=b", "v=1;v=1", "=1", "v v=1", "v=\u{0}"] {
            assert!(Tags::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn quoted_printable_is_decoded() {
        for (value, expected) in [
            ("joe=3Bx@example.com", Some("joe;x@example.com")),
            ("joe@\r\n example.com", Some("joe@example.com")),
            ("=C3=A9@example.com", Some("\u{e9}@example.com")),
            ("=4", None),
            ("=4x", None),
            ("=+1", None),
            ("=E9", None),
        ] {
            assert_eq!(quoted_printable(value).as_deref(), expected, "{value:?}");
        }
    }
}
