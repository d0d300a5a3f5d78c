//! HTML as mail clients take it: a tokenizer that never fails; below it, character references and the visible text.
//!
//! It runs over its input once, whatever the input. It builds no tree and resolves no style: text that a style hides is
//! text.

mod reference;
mod visible;

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memmem};

pub(super) use reference::{decode_references, decoded_pieces};
pub(super) use visible::{document_text, visible_text};

#[derive(Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// Text as it stands, references not decoded.
    Text(&'a str),
    Tag(Tag<'a>),
    /// The content of `<style>`.
    Style(&'a str),
    /// The content of `<script>`: clients do not run it, but a browser does when an attached page is opened.
    Script(&'a str),
}

#[derive(Debug, PartialEq, Clone, Copy)]
pub(super) struct Tag<'a> {
    pub(super) name: &'a str,
    pub(super) is_end: bool,
    attributes: &'a str,
}

/// The tokens of an HTML document. Comments are skipped, but not what stands between conditional ones, which Outlook
/// shows.
pub(super) struct Tokens<'a> {
    rest: &'a str,
    /// The element whose content is not markup and comes next.
    raw: Option<&'static str>,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(html: &'a str) -> Self {
        Self { rest: html, raw: None }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn skip_comment(&mut self) {
        let end = if self.rest.starts_with("<!--[if") || !self.rest.starts_with("<!--") {
            self.rest.find('>').map(|at| at + 1)
        } else if self.rest.starts_with("<!-->") || self.rest.starts_with("<!--->") {
            // Such a comment is over at once (HTML standard, section 13.2.5.43).
            self.rest.find('>').map(|at| at + 1)
        } else {
            let content = &self.rest.as_bytes()[4..];
            memchr_iter(b'>', content)
                .find(|&at| content[..at].ends_with(b"--") || content[..at].ends_with(b"--!"))
                .map(|at| at + 5)
        };
        let end = end.unwrap_or(self.rest.len());
        self.take(end);
    }

    fn tag(&mut self) -> Token<'a> {
        let is_end = self.rest.as_bytes().get(1) == Some(&b'/');
        let start = if is_end { 2 } else { 1 };
        let bytes = self.rest.as_bytes();
        let name_end = (start..bytes.len())
            .find(|&at| bytes[at].is_ascii_whitespace() || matches!(bytes[at], b'/' | b'>'))
            .unwrap_or(bytes.len());
        let end = tag_end(bytes, name_end);
        let all = self.take(end);
        let tag = Tag { name: &all[start..name_end], is_end, attributes: all[name_end..].trim_end_matches('>') };
        if !is_end {
            self.raw = ["style", "script"].into_iter().find(|name| tag.name.eq_ignore_ascii_case(name));
        }
        Token::Tag(tag)
    }
}

/// The end of a tag: `>` outside quotes. A quote begins a quoted value only after an equals sign.
fn tag_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    let mut after_equals = false;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'>' => return at + 1,
            b'"' | b'\'' if after_equals => {
                let Some(close) = memchr(byte, &bytes[at + 1..]) else { return bytes.len() };
                at += close + 1;
                after_equals = false;
            }
            b'=' => after_equals = true,
            byte if byte.is_ascii_whitespace() => {}
            _ => after_equals = false,
        }
        at += 1;
    }
    bytes.len()
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            if let Some(name) = self.raw.take() {
                let content = self.take(raw_end(self.rest, name));
                if !content.is_empty() {
                    return Some(if name == "style" { Token::Style(content) } else { Token::Script(content) });
                }
            }
            let bytes = self.rest.as_bytes();
            match bytes {
                [] => return None,
                [b'<', b'!' | b'?', ..] => self.skip_comment(),
                [b'<', b'/', next, ..] if next.is_ascii_alphabetic() => return Some(self.tag()),
                [b'<', b'/', ..] => self.skip_comment(),
                [b'<', next, ..] if next.is_ascii_alphabetic() => return Some(self.tag()),
                _ => {
                    let end = memchr(b'<', &bytes[1..]).map_or(bytes.len(), |at| at + 1);
                    return Some(Token::Text(self.take(end)));
                }
            }
        }
    }
}

/// Where the content of a raw text element ends: at its end tag.
fn raw_end(html: &str, name: &str) -> usize {
    let bytes = html.as_bytes();
    memmem::find_iter(bytes, b"</")
        .find(|&at| {
            bytes.get(at + 2..at + 2 + name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
        })
        .unwrap_or(bytes.len())
}

impl<'a> Tag<'a> {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Names as written, and values with references decoded.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> {
        let mut rest = self.attributes;
        std::iter::from_fn(move || {
            let blank = |character: char| character.is_ascii_whitespace();
            rest = rest.trim_start_matches(|character: char| blank(character) || character == '/');
            if rest.is_empty() {
                return None;
            }
            // An equals sign at the beginning is part of a name (HTML standard, section 13.2.5.32).
            let first = rest.chars().next().map_or(0, char::len_utf8);
            let name_end = rest[first..]
                .find(|character: char| blank(character) || matches!(character, '/' | '='))
                .map_or(rest.len(), |at| first + at);
            let (name, tail) = rest.split_at(name_end);
            let tail = tail.trim_start_matches(blank);
            let Some(value) = tail.strip_prefix('=') else {
                rest = tail;
                return Some((name, Cow::Borrowed("")));
            };
            let value = value.trim_start_matches(blank);
            let (value, tail) = match value.chars().next() {
                Some(quote @ ('"' | '\'')) => value[1..].split_once(quote).unwrap_or_else(|| (&value[1..], "")),
                _ => value.split_at(value.find(blank).unwrap_or(value.len())),
            };
            rest = tail;
            Some((name, decode_references(value)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::budget::Budget;

    fn visible(html: &str) -> String {
        visible_text(html, &Budget::unlimited()).unwrap().as_str().to_owned()
    }

    #[test]
    fn what_a_reader_sees() {
        for (html, text) in [
            ("<p>one</p><p>two<br>three</p>", "one\ntwo\nthree"),
            ("a<!-- x -->b<!--->c<!---->d<! bogus >e<?php ?>f</ x>g", "abcdefg"),
            ("a<!-- -- --- - > --->b<!-- --!>c", "abc"),
            ("a<!-- never closed <b>", "a"),
            ("<!--[if mso]><p>outlook</p><![endif]-->rest", "outlook\nrest"),
            ("<style>p{color:red}</style>a<script>b<c></script >d<STYLE>x", "ad"),
            (
                "v&#105;a&#x67;ra &lt;&AMP;&nbsp;x &unknown; &amp &copy=1 &#0; &",
                "viagra <& x &unknown; & &copy=1 \u{fffd} &",
            ),
            ("so\u{ad}ft z\u{200b}w&shy;x", "soft zwx"),
            ("<table><tr><td>1<td>2</tr></table>", "1 2"),
            ("1 < 2 <3 > x <a href='>'>link</a>", "1 < 2 <3 > x link"),
            ("<b title=\"unclosed>x</b>", ""),
            ("  a \r\n\t b  ", "a b"),
            ("&#99999999999;&#xD800;", "\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(visible(html), text, "{html}");
        }
    }

    #[test]
    fn long_text_is_shown_piece_by_piece() {
        for at in (64 * 1024 - 80)..(64 * 1024 + 4) {
            let text = format!("{}viagra", "x".repeat(at));
            assert_eq!(visible(&text.replace("via", "v&#000105;a")), text);
        }
        assert_eq!(visible(&"&amp;".repeat(100_000)), "&".repeat(100_000));
        let longest = decoded_pieces(&"a&lt;".repeat(100_000)).map(|piece| piece.len()).max();
        assert!(longest.is_some_and(|longest| longest <= 64 * 1024));
    }

    #[test]
    fn attributes_as_browsers_read_them() {
        let html = "<A HREF=x onclick='a>b' / disabled src=\"y&amp;z\"=q k = v\u{e9}\u{e9}=1>";
        let Some(Token::Tag(tag)) = Tokens::new(html).next() else { panic!("a tag") };
        let attributes: Vec<_> = tag.attributes().map(|(name, value)| format!("{name}|{value}")).collect();
        assert_eq!(attributes, ["HREF|x", "onclick|a>b", "disabled|", "src|y&z", "=q|", "k|v\u{e9}\u{e9}=1"]);
    }

    #[test]
    fn hostile_html_takes_linear_time() {
        for unit in ["<", "<!--", "<a ", "<a b='", "&#", "&amp", "</", "<style>", "--", "<!--[if", "<a =", "&"] {
            let html = unit.repeat(1_000_000 / unit.len());
            for token in Tokens::new(&html) {
                if let Token::Tag(tag) = token {
                    assert!(tag.attributes().count() < usize::MAX);
                }
            }
            visible(&html);
        }
    }
}
