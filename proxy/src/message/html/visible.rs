//! The text of HTML as it is shown.

use bytes::Bytes;

use super::{Token, Tokens, decoded_pieces};
use crate::message::{StoreError, accumulator::Accumulator, budget::Budget, mime::Text};

/// Elements that stand on lines of their own.
const BLOCKS: [&str; 37] = [
    "address",
    "article",
    "aside",
    "blockquote",
    "body",
    "br",
    "center",
    "dd",
    "details",
    "dir",
    "div",
    "dl",
    "dt",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hr",
    "li",
    "main",
    "nav",
    "ol",
    "option",
    "p",
    "pre",
    "section",
    "table",
    "tr",
    "ul",
];

/// The text of an HTML document as it is shown: without markup, styles and scripts, white space as HTML has it, blocks
/// on lines of their own. Characters that are not seen (soft hyphens, zero-width spaces) are left out.
pub(in crate::message) fn visible_text(html: &str, budget: &Budget) -> Result<Text, StoreError> {
    let mut out = Visible { sink: Accumulator::new(budget), block: String::new(), gap: Gap::Start };
    for token in Tokens::new(html) {
        match token {
            Token::Text(text) => out.text(text)?,
            Token::Tag(tag) if BLOCKS.iter().any(|name| tag.is(name)) => out.gap(Gap::Line),
            Token::Tag(tag) if tag.is("td") || tag.is("th") => out.gap(Gap::Space),
            Token::Tag(_) | Token::Style(_) | Token::Script(_) => {}
        }
    }
    out.finish()
}

/// Elements of office documents, without their prefixes, that stand on lines of their own.
const DOCUMENT_BLOCKS: [&str; 8] = ["p", "h", "br", "cr", "line-break", "tr", "si", "row"];
/// The same for those that something stands between, though on one line.
const DOCUMENT_CELLS: [&str; 4] = ["tab", "c", "tc", "table-cell"];

/// The text of the XML of an office document (OOXML, ODF). Runs are joined: a word may be cut into several.
pub(in crate::message) fn document_text(xml: &str, budget: &Budget) -> Result<Text, StoreError> {
    let mut out = Visible { sink: Accumulator::new(budget), block: String::new(), gap: Gap::Start };
    for token in Tokens::new(xml) {
        match token {
            Token::Text(text) | Token::Style(text) | Token::Script(text) => out.text(text)?,
            Token::Tag(tag) => {
                let local = tag.name.rsplit_once(':').map_or(tag.name, |(_, local)| local);
                if DOCUMENT_BLOCKS.contains(&local) {
                    out.gap(Gap::Line);
                } else if DOCUMENT_CELLS.contains(&local) {
                    out.gap(Gap::Space);
                }
            }
        }
    }
    out.finish()
}

/// What is owed before the next visible character.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    Line,
    /// Nothing was shown yet, so nothing is owed.
    Start,
}

struct Visible {
    sink: Accumulator,
    block: String,
    gap: Gap,
}

/// How many bytes at the beginning are shown as they are: US-ASCII that is seen, and single spaces within it.
fn as_it_is(text: &[u8]) -> usize {
    let is_seen = |byte: &u8| matches!(byte, b'!'..=b'~');
    let mut at = 0;
    loop {
        at += text[at..].iter().take_while(|&byte| is_seen(byte)).count();
        match text[at..] {
            [b' ', next, ..] if at > 0 && is_seen(&next) => at += 1,
            _ => return at,
        }
    }
}

impl Visible {
    fn gap(&mut self, gap: Gap) {
        self.gap = self.gap.max(gap);
    }

    fn text(&mut self, text: &str) -> Result<(), StoreError> {
        decoded_pieces(text).try_for_each(|piece| self.piece(&piece))
    }

    fn piece(&mut self, text: &str) -> Result<(), StoreError> {
        let mut rest = text;
        while !rest.is_empty() {
            let (plain, more) = rest.split_at(as_it_is(rest.as_bytes()));
            if !plain.is_empty() {
                self.show(plain);
            }
            let Some(character) = more.chars().next() else { break };
            rest = &more[character.len_utf8()..];
            match character {
                '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}' | '\0' => {}
                '\u{a0}' => self.gap(Gap::Space),
                character if character.is_whitespace() => self.gap(Gap::Space),
                character => self.show(character.encode_utf8(&mut [0; 4])),
            }
        }
        if self.block.len() >= 16 * 1024 { self.flush() } else { Ok(()) }
    }

    /// Something that is seen.
    fn show(&mut self, text: &str) {
        match std::mem::replace(&mut self.gap, Gap::None) {
            Gap::Space => self.block.push(' '),
            Gap::Line => self.block.push('\n'),
            Gap::None | Gap::Start => {}
        }
        self.block.push_str(text);
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.sink.push(self.block.as_bytes())?;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<Text, StoreError> {
        self.flush()?;
        let bytes: Bytes = self.sink.finish()?;
        Ok(Text::lossy(bytes))
    }
}
