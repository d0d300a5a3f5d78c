//! Text in UTF-8, and getting there from any charset.

use std::borrow::Cow;

use bytes::Bytes;
use mail_parser::decoders::charsets::{DecoderFnc, map::charset_decoder};
use memchr::{memchr, memmem};

use crate::message::{StoreError, accumulator::Accumulator, budget::Budget};

/// Bytes decoded at once, roughly.
const BLOCK: usize = 64 * 1024;
/// Where in an HTML document its charset has to be declared (HTML standard, section 4.2.5.4).
const META_WITHIN: usize = 1024;

/// Text in UTF-8, shared.
#[derive(Debug, Clone, Default)]
pub struct Text {
    /// Valid UTF-8, checked when it is made.
    bytes: Bytes,
}

impl Text {
    /// Bytes as text; what is no UTF-8 becomes U+FFFD.
    pub fn lossy(bytes: Bytes) -> Self {
        match String::from_utf8_lossy(&bytes) {
            Cow::Borrowed(_) => Self { bytes },
            Cow::Owned(text) => Self { bytes: Bytes::from(text) },
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // SAFETY: `bytes` is private, never changes, and was checked to be UTF-8 by the functions of this file, the only
        // ones that make a `Text`. Checking again would cost a pass over the text for each window that is read of it.
        unsafe { std::str::from_utf8_unchecked(&self.bytes) }
    }

    /// The text as shared bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// At most `max` bytes from `offset` on, cut at characters; empty past the end.
    pub fn window(&self, offset: u64, max: usize) -> &str {
        let text = self.as_str();
        let from = text.floor_char_boundary(usize::try_from(offset).unwrap_or(usize::MAX).min(text.len()));
        let to = text.floor_char_boundary(from.saturating_add(max).min(text.len()));
        &text[from..to]
    }
}

/// Decodes text as a client would: a byte order mark counts most, then what is declared, in the part or by HTML; what
/// is declared wrongly or not at all is UTF-8 if it can be, else windows-1252.
pub(super) fn decode(bytes: &Bytes, charset: Option<&str>, is_html: bool, budget: &Budget) -> Result<Text, StoreError> {
    let marked = match bytes.as_ref() {
        [0xef, 0xbb, 0xbf, ..] => return decode_labelled(&bytes.slice(3..), Some("utf-8"), budget),
        [0xff, 0xfe, ..] => Some("utf-16le"),
        [0xfe, 0xff, ..] => Some("utf-16be"),
        _ => None,
    };
    if let Some(label) = marked {
        return decode_labelled(&bytes.slice(2..), Some(label), budget);
    }
    let by_html = || declared_by_html(bytes).filter(|_| is_html);
    match charset {
        Some(charset) => decode_labelled(bytes, Some(charset), budget),
        None => decode_labelled(bytes, by_html().as_deref(), budget),
    }
}

fn decode_labelled(bytes: &Bytes, label: Option<&str>, budget: &Budget) -> Result<Text, StoreError> {
    let label = label.unwrap_or_default().trim().to_ascii_lowercase().replace('_', "-");
    let is_utf8 = matches!(label.as_str(), "utf-8" | "utf8" | "unicode-1-1-utf-8");
    let decoder = if is_utf8 { None } else { charset_decoder(label.as_bytes()) };
    let is_vague = decoder.is_none() || matches!(label.as_str(), "us-ascii" | "ascii");
    // Bytes that stand for themselves only in a charset that has no escapes.
    let has_escapes = ["utf-7", "utf-16", "utf-32", "iso-2022", "hz-", "csutf", "csunicode", "iso-10646", "ucs-"]
        .iter()
        .any(|prefix| label.contains(prefix));
    let is_as_it_is = if is_vague { std::str::from_utf8(bytes).is_ok() } else { !has_escapes && bytes.is_ascii() };
    if is_as_it_is {
        return Ok(Text { bytes: bytes.clone() });
    }
    let decoder: DecoderFnc = match decoder {
        Some(decoder) => decoder,
        None if is_utf8 => |bytes| String::from_utf8_lossy(bytes).into_owned(),
        None => charset_decoder(b"windows-1252").unwrap_or(|bytes| String::from_utf8_lossy(bytes).into_owned()),
    };
    let cut = match decoder {
        _ if decoder(b"a\0") == "a" => Cut::Wide { high: 1 },
        _ if decoder(b"\0a") == "a" => Cut::Wide { high: 0 },
        _ if has_escapes => Cut::Line,
        _ => Cut::Ascii,
    };
    // One that looks for a byte order mark would find one in every block.
    let little_endian = charset_decoder(b"utf-16le").filter(|_| cut == Cut::Wide { high: 1 });
    decode_blocks(bytes, little_endian.unwrap_or(decoder), cut, budget)
}

/// Whether characters of this charset have several bytes each.
pub(super) fn is_wide(label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    ["16", "32", "ucs-", "unicode"].iter().any(|name| label.contains(name)) && !label.contains("1-1-utf-8")
}

/// Where text of a charset may be cut so that both sides can be decoded by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// After a newline: no escape reaches over it.
    Line,
    /// After a byte that is never a part of another character, or stands in for digits of GB 18030 at the lowest.
    Ascii,
    /// After two bytes, of which this one is the high one, but not within a surrogate pair.
    Wide { high: usize },
}

impl Cut {
    /// The end of the block at the beginning of `rest`.
    fn end(self, rest: &[u8]) -> usize {
        let Some(beyond) = rest.get(BLOCK..) else { return rest.len() };
        let length = match self {
            Self::Line => memchr(b'\n', beyond).map(|at| at + 1),
            Self::Ascii => beyond.iter().position(|&byte| byte < b'0').map(|at| at + 1),
            Self::Wide { high } => {
                beyond.as_chunks::<2>().0.iter().position(|unit| unit[high] & 0xfc != 0xd8).map(|at| 2 * at + 2)
            }
        };
        length.map_or(rest.len(), |length| BLOCK + length)
    }
}

/// Decodes block by block; a block that is longer than most is paid for while it is decoded.
fn decode_blocks(bytes: &Bytes, decoder: DecoderFnc, cut: Cut, budget: &Budget) -> Result<Text, StoreError> {
    let mut decoded = Accumulator::with_capacity(budget, bytes.len() as u64);
    let mut rest = bytes.as_ref();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at(cut.end(rest));
        // A byte may become three.
        let cost = (head.len() > 4 * BLOCK).then_some(3 * head.len() as u64);
        let _paid = cost.map(|cost| budget.memory(cost).ok_or(StoreError::Full)).transpose()?;
        decoded.push(decoder(head).as_bytes())?;
        rest = tail;
    }
    // Strings one after the other are UTF-8 still.
    Ok(Text { bytes: decoded.finish()? })
}

/// `<meta charset=…>`, or the same in `<meta http-equiv=… content=…>`. UTF-16 is not believed: the declaration could
/// not have been read (HTML standard, section 13.2.3.2).
fn declared_by_html(bytes: &[u8]) -> Option<String> {
    let head = bytes[..bytes.len().min(META_WITHIN)].to_ascii_lowercase();
    let meta = memmem::find(&head, b"<meta")?;
    let value = &head[meta + memmem::find(&head[meta..], b"charset")? + b"charset".len()..];
    let value = value.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value);
    let end = value.iter().position(|byte| !(byte.is_ascii_alphanumeric() || b"-_:.".contains(byte)))?;
    let label = String::from_utf8_lossy(&value[..end]).into_owned();
    Some(label).filter(|label| !label.is_empty() && !label.contains("utf-16") && !label.contains("utf-7"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8], charset: Option<&str>) -> String {
        let bytes = Bytes::copy_from_slice(bytes);
        decode(&bytes, charset, true, &Budget::unlimited()).unwrap().as_str().to_owned()
    }

    #[test]
    fn charsets_declared_marked_guessed_and_wrong() {
        assert_eq!(text(b"caf\xe9", Some("iso-8859-1")), "caf\u{e9}");
        assert_eq!(text("caf\u{e9}".as_bytes(), None), "caf\u{e9}");
        assert_eq!(text("caf\u{e9}".as_bytes(), Some("us-ascii")), "caf\u{e9}");
        assert_eq!(text(b"caf\xe9", None), "caf\u{e9}");
        assert_eq!(text(b"caf\xe9", Some("no-such-charset")), "caf\u{e9}");
        assert_eq!(text(b"caf\xe9!", Some("utf-8")), "caf\u{fffd}!");
        assert_eq!(text(b"\xff\xfeh\0i\0", Some("utf-8")), "hi");
        assert_eq!(text(b"\xef\xbb\xbfhi", Some("iso-8859-1")), "hi");
        assert_eq!(text(b"h\0i\0", Some("UTF-16LE")), "hi");
        assert_eq!(text(b"http+ADo-//bad.example", Some("UTF-7")), "http://bad.example");
        assert_eq!(text(b"\x1b$B%O\x1b(B", Some("ISO-2022-JP")), "\u{30cf}");
        assert_eq!(text(b"<META charset='koi8-r'>\xf0", None), "<META charset='koi8-r'>\u{41f}");
        assert_eq!(text(b"", Some("utf-16")), "");
    }

    #[test]
    fn long_text_is_decoded_in_blocks() {
        let line = b"\x83\x6e\x83\x8d\x81\x5b\r\n".repeat(20_000);
        assert_eq!(text(&line, Some("shift_jis")), "\u{30cf}\u{30ed}\u{30fc}\r\n".repeat(20_000));
    }

    #[test]
    fn wide_text_is_cut_between_characters() {
        for lead in 0..4 {
            let expected = format!("{}{}", "x".repeat(lead), "a\u{1f600}\u{feff}".repeat(40_000));
            let little: Vec<u8> = expected.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = expected.encode_utf16().flat_map(u16::to_be_bytes).collect();
            assert!(text(&little, Some("utf-16")) == expected && text(&big, Some("utf-16be")) == expected);
        }
        let units = [0x61, 0x00].repeat(BLOCK);
        assert_eq!(Cut::Wide { high: 1 }.end(&units), BLOCK + 2);
    }

    #[test]
    fn text_without_lines_is_counted_or_cut() {
        let budget = Budget::new(1 << 20, 0, &std::env::temp_dir());
        let escapes = Bytes::from(b"\x1b$B%O".repeat(200_000));
        assert!(matches!(decode(&escapes, Some("iso-2022-jp"), false, &budget), Err(StoreError::Full)));
        assert_eq!(Cut::Ascii.end(&b"\x83\x6e ".repeat(BLOCK)), BLOCK + 2);
    }

    #[test]
    fn windows_are_cut_at_characters() {
        let text = Text::lossy(Bytes::from_static("a\u{e9}b".as_bytes()));
        assert_eq!(text.window(0, 2), "a");
        assert_eq!(text.window(1, 2), "\u{e9}");
        assert_eq!(text.window(9, 2), "");
        assert_eq!(text.window(u64::MAX, usize::MAX), "");
    }
}
