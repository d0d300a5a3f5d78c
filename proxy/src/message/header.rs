//! The header section: its fields in order, their raw bytes, and their decoded text.

use std::borrow::Cow;

use bytes::Bytes;
use mail_parser::{HeaderValue, parsers::MessageStream};
use memchr::{memchr, memmem};

use super::header_end::is_name_byte;

/// The header section of a message: fields only, without the empty line after it.
#[derive(Debug, Clone, Default)]
pub struct HeaderSection {
    block: Bytes,
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    raw: &'a [u8],
    name: usize,
    colon: usize,
}

impl HeaderSection {
    /// Takes the bytes of well-formed fields: the caller has found where they end.
    pub(super) fn new(block: Bytes) -> Self {
        Self { block }
    }

    /// The bytes of all fields, each with its CRLF.
    pub fn raw(&self) -> &Bytes {
        &self.block
    }

    /// The fields from the top.
    pub fn fields(&self) -> Fields<'_> {
        Fields { rest: &self.block }
    }

    /// The fields of that name, in any case, from the top.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Field<'a>> {
        self.fields().filter(move |field| field.is(name))
    }

    /// The values of the fields of that name; see [`Field::value`].
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.named(name).map(|field| field.value())
    }

    /// The same, unfolded and with encoded words (RFC 2047) decoded.
    pub fn texts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = String> {
        self.named(name).map(|field| field.text())
    }
}

/// See [`HeaderSection::fields`].
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let mut end = 0;
        loop {
            end = memchr(b'\n', &self.rest[end..]).map_or(self.rest.len(), |newline| end + newline + 1);
            if !matches!(self.rest.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (raw, rest) = self.rest.split_at(end);
        self.rest = rest;
        let colon = memchr(b':', raw)?;
        Some(Field { raw, name: raw[..colon].trim_ascii_end().len(), colon })
    }
}

impl<'a> Field<'a> {
    /// The whole field, CRLF included if it has one.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Its name, as written.
    pub fn name(&self) -> &'a [u8] {
        &self.raw[..self.name]
    }

    /// Whether it has this name, in any case.
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }

    /// Its value: folding kept, without the white space after the colon and the CRLF at the end.
    pub fn value(&self) -> &'a [u8] {
        let value = &self.raw[self.colon + 1..];
        let blank = value.iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
        let value = &value[blank..];
        value.strip_suffix(b"\r\n").or_else(|| value.strip_suffix(b"\n")).unwrap_or(value)
    }

    /// Its value unfolded, encoded words decoded, in UTF-8; bytes that are none become U+FFFD.
    pub fn text(&self) -> String {
        if memmem::find(&self.raw[self.colon + 1..], b"=?").is_none() {
            return unfolded(&self.raw[self.colon + 1..]);
        }
        self.decoded()
    }

    fn decoded(&self) -> String {
        match with_newline(&self.raw[self.colon + 1..], |value| MessageStream::new(value).parse_unstructured()) {
            HeaderValue::Text(text) => text.trim().replace(['\r', '\n'], ""),
            _ => String::new(),
        }
    }
}

/// What mail-parser makes of a value without encoded words.
fn unfolded(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for line in value.split(|&byte| byte == b'\n').map(trimmed).filter(|line| !line.is_empty()) {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&String::from_utf8_lossy(line));
    }
    let is_trimmed = text.trim().len() == text.len();
    if is_trimmed && memchr(b'\r', text.as_bytes()).is_none() { text } else { text.trim().replace('\r', "") }
}

fn trimmed(line: &[u8]) -> &[u8] {
    let is_blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r');
    let line = &line[line.iter().take_while(is_blank).count()..];
    &line[..line.len() - line.iter().rev().take_while(is_blank).count()]
}

/// mail-parser finds the end of a field by its newline, which the last field of a message may lack.
pub(super) fn with_newline(value: &[u8], parse: impl Fn(&[u8]) -> HeaderValue<'_>) -> HeaderValue<'static> {
    let value = if value.ends_with(b"\n") { Cow::Borrowed(value) } else { Cow::Owned([value, b"\r\n"].concat()) };
    parse(&value).into_owned()
}

/// Whether this can be the name of a field (RFC 5322 section 2.2): 1 to 255 printable US-ASCII bytes, no colon.
pub fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= 255 && name.iter().copied().all(is_name_byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_keep_their_bytes_and_order() {
        let section = HeaderSection::new(Bytes::from_static(
            b"Subject : one\r\nX:\r\n  folded\r\n\tmore \r\nsubject: =?utf-8?q?zw=C3=B6?= =?utf-8?q?lf?=\r\n a\r\nLast: x",
        ));
        let names: Vec<_> = section.fields().map(|field| field.name()).collect();
        assert_eq!(names, [b"Subject".as_slice(), b"X", b"subject", b"Last"]);
        let joined: Vec<u8> = section.fields().flat_map(|field| field.raw()).copied().collect();
        assert_eq!(joined, section.raw().as_ref());
        let values: Vec<_> = section.values("SUBJECT").collect();
        assert_eq!(values, [b"one".as_slice(), b"=?utf-8?q?zw=C3=B6?= =?utf-8?q?lf?=\r\n a"]);
        assert_eq!(section.values("x").next().unwrap(), b"\r\n  folded\r\n\tmore ");
        assert_eq!(section.texts("x").next().unwrap(), "folded more");
        assert_eq!(section.texts("subject").collect::<Vec<_>>(), ["one", "zw\u{f6}lf a"]);
        assert_eq!(section.texts("last").next().unwrap(), "x");
        assert!(HeaderSection::default().fields().next().is_none());
    }

    proptest! {
        #[test]
        fn text_without_encoded_words_is_what_mail_parser_makes_of_it(
            value in "([ \t\u{a0}]{0,2}[a=?\r\u{e9}]{0,3}(\r?\n[ \t]{1,2})?){0,6}(\r\n|\n)?",
            junk in "[\x00-\x7f]{0,6}",
        ) {
            for raw in [format!("X:{value}"), format!("X: {}", junk.replace('\n', "\n "))] {
                let field = Field { raw: raw.as_bytes(), name: 1, colon: 1 };
                prop_assert_eq!(field.text(), field.decoded(), "{:?}", raw);
            }
        }
    }
}
