//! Replies (RFC 5321 section 4.2) with enhanced status codes (RFC 3463, RFC 2034).
//!
//! A [`Reply`] cannot carry CR, LF, NUL or another control character, whoever wrote its text: the constructors and
//! the [`ReplyParser`] put a `?` in its place. So no text of a plugin or an upstream can become a second reply.

mod parser;

pub use parser::{ReplyError, ReplyParser};

use std::borrow::Cow;
use std::fmt;

use bytes::{BufMut, BytesMut};

/// The longest text of a line that the constructors make, in octets: a line is at most 512 with its code and CRLF
/// (RFC 5321 section 4.5.3.1.5).
pub const MAX_TEXT: usize = 512 - "250 \r\n".len();

/// A reply, whole: a code and one or more lines of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    lines: Vec<String>,
}

impl Reply {
    /// A reply of one line; `enhanced` such as "5.7.1", or empty.
    ///
    /// A line too long for SMTP is cut at [`MAX_TEXT`] octets. A code outside 200 to 599 is a mistake on our side and
    /// becomes 451.
    pub fn new(code: u16, enhanced: &str, text: &str) -> Self {
        Self::multi(code, enhanced, &[text])
    }

    /// A reply of several lines, each with the enhanced status code (RFC 2034 section 4).
    pub fn multi(code: u16, enhanced: &str, texts: &[&str]) -> Self {
        let line = |text: &&str| {
            let mut line = String::with_capacity(enhanced.len() + 1 + text.len());
            if !enhanced.is_empty() {
                line.push_str(enhanced);
                line.push(' ');
            }
            line.push_str(text);
            line.truncate(line.floor_char_boundary(MAX_TEXT));
            printable(Cow::Owned(line))
        };
        let mut lines: Vec<String> = texts.iter().map(line).collect();
        if lines.is_empty() {
            lines.push(printable(Cow::Borrowed(enhanced)));
        }
        Self { code: if (200..600).contains(&code) { code } else { 451 }, lines }
    }

    /// 200 to 599.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The text of each line, enhanced status code included. Never empty.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The enhanced status code that the first line begins with, if it does: `5.7.1`.
    pub fn enhanced(&self) -> Option<&str> {
        let word = self.lines.first()?.split(' ').next()?;
        let mut parts = word.split('.');
        let is_number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let class = matches!(parts.next()?, "2" | "4" | "5");
        let well_formed = class && is_number(parts.next()?) && is_number(parts.next()?) && parts.next().is_none();
        well_formed.then_some(word)
    }

    /// 2xx and 3xx: done, or go on.
    pub fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// 4xx: refused for now.
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// 5xx: refused for good.
    pub fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// Appends the reply as it goes over the wire.
    pub fn write_to(&self, output: &mut BytesMut) {
        let length: usize = self.lines.iter().map(|line| line.len() + 6).sum();
        output.reserve(length);
        for (index, line) in self.lines.iter().enumerate() {
            for divisor in [100, 10, 1] {
                // A digit, by the remainder.
                output.put_u8(b'0' + (self.code / divisor % 10) as u8);
            }
            output.put_u8(if index + 1 == self.lines.len() { b' ' } else { b'-' });
            output.put_slice(line.as_bytes());
            output.put_slice(b"\r\n");
        }
    }
}

/// For logs: on one line, the lines' texts joined by spaces.
impl fmt::Display for Reply {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.code)?;
        self.lines.iter().try_for_each(|line| write!(formatter, " {line}"))
    }
}

/// `text` with a `?` for each control character but the tab, which RFC 5321 section 4.2 allows.
fn printable(text: Cow<'_, str>) -> String {
    let is_bad = |character: char| character.is_control() && character != '\t';
    // Looked through to its end, because vectors are faster than stopping early.
    if text.bytes().fold(true, |plain, octet| plain & (b' '..0x7f).contains(&octet)) {
        return text.into_owned();
    }
    if text.contains(is_bad) { text.replace(is_bad, "?") } else { text.into_owned() }
}

#[cfg(test)]
mod tests;
