//! Bytes from the network as text that is safe to print.

use std::fmt;

/// Characters printed before the rest is cut off.
pub(super) const LIMIT: usize = 1024;

/// Bytes from a peer or a guest, for a log line or a terminal: control characters, invalid UTF-8 and characters that
/// steer the direction of text are escaped, and what is longer than 1024 characters is cut.
#[derive(Clone, Copy)]
pub struct Printable<'a>(pub &'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() <= LIMIT
            && let Ok(text) = str::from_utf8(self.0)
            && is_plain(text)
        {
            return formatter.write_str(text);
        }
        let mut left = LIMIT;
        let mut consumed = 0;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if left == 0 {
                    return write!(formatter, "… ({} bytes more)", self.0.len() - consumed);
                }
                write_character(formatter, character)?;
                left -= 1;
                consumed += character.len_utf8();
            }
            for byte in chunk.invalid() {
                if left == 0 {
                    return write!(formatter, "… ({} bytes more)", self.0.len() - consumed);
                }
                write!(formatter, "\\x{byte:02x}")?;
                left -= 1;
                consumed += 1;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Writes a text with its hostile characters escaped. What is escaped already stays as it is.
pub(super) fn write_escaped(writer: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    text.chars().try_for_each(|character| write_character(writer, character))
}

fn write_character(writer: &mut (impl fmt::Write + ?Sized), character: char) -> fmt::Result {
    if !is_hostile(character) {
        return writer.write_char(character);
    }
    write!(writer, "{}", character.escape_unicode())
}

/// Whether a text is of visible ASCII characters and spaces, as nearly every text is: nothing in it is hostile. It is
/// looked through to its end, because vectors are faster than stopping early.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().fold(true, |plain, octet| plain & (b' '..0x7f).contains(&octet))
}

/// Characters that break lines, steer terminals or turn the direction of text around.
pub(super) fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bytes_are_escaped() {
        assert_eq!(Printable(b"a\r\n\x1b[1m\xff\xc3").to_string(), "a\\u{d}\\u{a}\\u{1b}[1m\\xff\\xc3");
        assert_eq!(Printable("grüße \u{202e}".as_bytes()).to_string(), "grüße \\u{202e}");
    }

    #[test]
    fn long_text_is_cut() {
        let printed = Printable(&[b'a'; 2000]).to_string();
        assert!(printed.ends_with("a… (976 bytes more)"), "{printed}");
        let printed = Printable(&[0xff; 2000]).to_string();
        assert!(printed.ends_with("\\xff… (976 bytes more)"), "{printed}");
    }
}
