//! Transfer encodings (RFC 2045 section 6), decoded leniently: what is no encoding is skipped, as clients do.

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memmem};

use super::fields::Declared;
use crate::message::{StoreError, accumulator::Accumulator, budget::Budget, decode::decode_uuencoded_lines};

/// Decoded bytes given on at once, roughly.
const BLOCK: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Encoding {
    /// 7bit, 8bit, binary, or none.
    #[default]
    Identity,
    /// One that nobody knows: left as it is.
    Unknown,
    Base64,
    /// The same with padding taken for junk, so that groups go on over it.
    UnpaddedBase64,
    /// The same with the alphabet of RFC 4648 section 5.
    UrlBase64,
    QuotedPrintable,
    /// Not in the RFCs, but Outlook and others decode it.
    Uuencode,
}

impl Encoding {
    /// By the value of a Content-Transfer-Encoding field.
    pub(super) fn named(value: &[u8]) -> Self {
        let value = without_comments(value);
        let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let start = value.iter().position(|&byte| token(byte)).unwrap_or(value.len());
        let length = value[start..].iter().position(|&byte| !token(byte)).unwrap_or(value.len() - start);
        match value[start..start + length].to_ascii_lowercase().as_slice() {
            b"base64" | b"base-64" => Self::Base64,
            b"quoted-printable" => Self::QuotedPrintable,
            b"x-uuencode" | b"uuencode" | b"x-uue" | b"uue" => Self::Uuencode,
            b"" | b"7bit" | b"8bit" | b"binary" | b"7-bit" | b"8-bit" | b"none" => Self::Identity,
            _ => Self::Unknown,
        }
    }

    /// Whether what is encoded stands for itself.
    pub(super) fn is_plain(self) -> bool {
        matches!(self, Self::Identity | Self::Unknown)
    }
}

/// Ways in which some clients decode a part, other than the one that is declared: where base64 is not well-formed, and
/// where the encoding is not known or does not seem to be told.
pub(super) fn other_encodings(declared: &Declared, encoded: &[u8]) -> Vec<Encoding> {
    let mut others = Vec::new();
    match declared.encoding {
        Encoding::Base64 => {
            let faults = base64_faults(encoded);
            if faults.junk {
                others.push(Encoding::Identity);
            }
            if faults.url {
                others.push(Encoding::UrlBase64);
            }
            if faults.inner_padding {
                others.push(Encoding::UnpaddedBase64);
            }
        }
        Encoding::Identity | Encoding::Unknown => {
            let is_open = declared.encoding == Encoding::Unknown || declared.text.is_none();
            if is_open && looks_like_base64(encoded) {
                others.push(Encoding::Base64);
            }
            if declared.encoding == Encoding::Unknown && memmem::find(encoded, b"=\r\n").is_some() {
                others.push(Encoding::QuotedPrintable);
            }
        }
        Encoding::Uuencode => others.push(Encoding::Identity),
        Encoding::QuotedPrintable | Encoding::UnpaddedBase64 | Encoding::UrlBase64 => {}
    }
    others
}

#[derive(Default)]
struct Base64Faults {
    /// Something that is neither alphabet nor white space.
    junk: bool,
    /// Of the other alphabet.
    url: bool,
    /// Something after padding.
    inner_padding: bool,
}

fn base64_faults(encoded: &[u8]) -> Base64Faults {
    let is_known = |byte: u8| {
        // Without a table, so that many are compared at once.
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let digit = byte.wrapping_sub(b'0') < 10;
        letter | digit | (byte == b'+') | (byte == b'/') | (byte == b'\r') | (byte == b'\n') | (byte == b'=')
    };
    let all_known = |block: &&[u8]| block.iter().fold(true, |known, &byte| known & is_known(byte));
    let mut faults = Base64Faults::default();
    for block in encoded.chunks(1024).filter(|block| !all_known(block)) {
        let strange = block.iter().filter(|byte| !is_known(**byte) && !byte.is_ascii_whitespace());
        for byte in strange {
            faults.junk = true;
            faults.url |= matches!(byte, b'-' | b'_');
        }
    }
    let padding = memchr(b'=', encoded).unwrap_or(encoded.len());
    faults.inner_padding = encoded[padding..].iter().any(|&byte| BASE64[usize::from(byte)] != NO_VALUE);
    faults
}

/// Lines of the alphabet alone, as programs write them.
fn looks_like_base64(encoded: &[u8]) -> bool {
    let mut lines = lines(encoded).map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let Some(first) = lines.next() else { return false };
    let is_alphabet = |line: &[u8]| {
        let line = line.strip_suffix(b"==").or_else(|| line.strip_suffix(b"=")).unwrap_or(line);
        line.iter().all(|&byte| BASE64[usize::from(byte)] != NO_VALUE)
    };
    first.len() >= 16 && first.len() % 4 == 0 && is_alphabet(first) && lines.next().is_none_or(is_alphabet)
}

/// A decoded copy.
pub(super) fn decoded(encoding: Encoding, encoded: &Bytes, budget: &Budget) -> Result<Bytes, StoreError> {
    if encoding.is_plain() {
        return Ok(encoded.clone());
    }
    let mut decoded = Accumulator::new(budget);
    decode(encoding, encoded, &mut |bytes| decoded.push(bytes))?;
    decoded.finish()
}

fn without_comments(value: &[u8]) -> Vec<u8> {
    let mut depth = 0usize;
    let mut outside = value.to_vec();
    outside.retain(|&byte| {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => return depth == 0,
        }
        false
    });
    outside
}

pub(super) fn decoded_length(encoding: Encoding, encoded: &[u8]) -> u64 {
    if encoding.is_plain() {
        return encoded.len() as u64;
    }
    let mut length = 0;
    let counted = decode(encoding, encoded, &mut |bytes| {
        length += bytes.len() as u64;
        Ok(())
    });
    debug_assert!(counted.is_ok(), "only the sink can fail");
    length
}

type Sink<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), StoreError>;

/// Decodes, giving blocks of bytes to `sink`.
pub(super) fn decode(encoding: Encoding, encoded: &[u8], sink: Sink<'_>) -> Result<(), StoreError> {
    match encoding {
        Encoding::Identity | Encoding::Unknown => sink(encoded),
        Encoding::Base64 => base64(encoded, sink),
        Encoding::UnpaddedBase64 => base64_with(encoded, &BASE64, Padding::Junk, sink),
        Encoding::UrlBase64 => base64_with(encoded, &URL_BASE64, Padding::EndsGroup, sink),
        Encoding::QuotedPrintable => quoted_printable(encoded, sink),
        Encoding::Uuencode => uuencode(encoded, sink),
    }
}

const NO_VALUE: u8 = 0xff;

const BASE64: [u8; 256] = {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut values = [NO_VALUE; 256];
    let mut value = 0;
    while value < 64 {
        values[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    values
};

const URL_BASE64: [u8; 256] = {
    let mut values = BASE64;
    values[b'-' as usize] = 62;
    values[b'_' as usize] = 63;
    values
};

/// What padding is to a reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Padding {
    EndsGroup,
    Junk,
}

/// Skips what is not in the alphabet; padding ends a group, and another may follow.
pub(in crate::message) fn base64(encoded: &[u8], sink: Sink<'_>) -> Result<(), StoreError> {
    base64_with(encoded, &BASE64, Padding::EndsGroup, sink)
}

fn base64_with(encoded: &[u8], alphabet: &[u8; 256], padding: Padding, sink: Sink<'_>) -> Result<(), StoreError> {
    let mut out = Vec::with_capacity(BLOCK + 4);
    let (mut group, mut count) = (0u32, 0u8);
    let mut rest = encoded;
    loop {
        // Whole groups, the usual case, without looking at each byte.
        while count == 0
            && let [a, b, c, d, tail @ ..] = rest
        {
            let values = [a, b, c, d].map(|&byte| alphabet[byte as usize]);
            if values.iter().fold(0, |all, value| all | value) >= 64 {
                break;
            }
            let word = values.iter().fold(0u32, |word, &value| word << 6 | u32::from(value));
            out.extend_from_slice(&word.to_be_bytes()[1..]);
            rest = tail;
            if out.len() >= BLOCK {
                sink(&out)?;
                out.clear();
            }
        }
        let Some((&byte, tail)) = rest.split_first() else { break };
        rest = tail;
        let value = alphabet[byte as usize];
        if value != NO_VALUE {
            group = group << 6 | u32::from(value);
            count += 1;
            if count == 4 {
                out.extend_from_slice(&group.to_be_bytes()[1..]);
                (group, count) = (0, 0);
            }
        } else if byte == b'=' && padding == Padding::EndsGroup {
            end_group(group, count, &mut out);
            (group, count) = (0, 0);
        }
        if out.len() >= BLOCK {
            sink(&out)?;
            out.clear();
        }
    }
    end_group(group, count, &mut out);
    sink(&out)
}

/// The bytes of a group that is not full: 2 values hold one, 3 hold two.
fn end_group(group: u32, count: u8, out: &mut Vec<u8>) {
    let word = group << (6 * (4 - u32::from(count.min(4))));
    let bytes = word.to_be_bytes();
    match count {
        2 => out.extend_from_slice(&bytes[1..2]),
        3 => out.extend_from_slice(&bytes[1..3]),
        _ => {}
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
        let (line, tail) = rest.split_at(end);
        rest = tail;
        Some(line)
    })
}

/// An escape that is none stays as it stands (RFC 2045 section 6.7, note 2).
fn quoted_printable(encoded: &[u8], sink: Sink<'_>) -> Result<(), StoreError> {
    let mut out = Vec::with_capacity(BLOCK + 1024);
    for line in lines(encoded) {
        let content = line.trim_ascii_end();
        let newline: &[u8] = match line {
            [.., b'\r', b'\n'] => b"\r\n",
            [.., b'\n'] => b"\n",
            _ => b"",
        };
        // White space at the end of a line was added on the way, and is not data.
        let (content, newline) = match content.strip_suffix(b"=") {
            Some(content) => (content, b"".as_slice()),
            None => (content, newline),
        };
        let mut from = 0;
        for escape in memchr_iter(b'=', content) {
            if escape < from {
                continue;
            }
            let digits = content.get(escape + 1..escape + 3).and_then(|digits| match digits {
                &[high, low] => Some((hex(high)?, hex(low)?)),
                _ => None,
            });
            if let Some((high, low)) = digits {
                out.extend_from_slice(&content[from..escape]);
                out.push(high << 4 | low);
                from = escape + 3;
            }
        }
        out.extend_from_slice(&content[from..]);
        out.extend_from_slice(newline);
        if out.len() >= BLOCK {
            sink(&out)?;
            out.clear();
        }
    }
    sink(&out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The lines between "begin" and "end"; each tells its length in its first byte.
fn uuencode(encoded: &[u8], sink: Sink<'_>) -> Result<(), StoreError> {
    let begin = lines(encoded).take_while(|line| !line.starts_with(b"begin ")).map(<[u8]>::len).sum::<usize>();
    let opening = lines(&encoded[begin..]).next().map_or(0, <[u8]>::len);
    decode_uuencoded_lines(&encoded[begin + opening..], sink).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoding: Encoding, encoded: &str) -> String {
        let mut out = Vec::new();
        decode(encoding, encoded.as_bytes(), &mut |bytes| {
            out.extend_from_slice(bytes);
            Ok(())
        })
        .unwrap();
        assert_eq!(out.len() as u64, decoded_length(encoding, encoded.as_bytes()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn base64_as_clients_read_it() {
        for (encoded, expected) in [
            ("aGVsbG8gd29ybGQ=\r\n", "hello world"),
            ("aGVs\r\nbG8g!d29y-_bGQ", "hello world"),
            ("aGVsbA==bG8=", "helllo"),
            ("a", ""),
            ("aG", "h"),
            ("", ""),
        ] {
            assert_eq!(decoded(Encoding::Base64, encoded), expected, "{encoded}");
        }
    }

    #[test]
    fn quoted_printable_as_clients_read_it() {
        for (encoded, expected) in [
            ("a=20b=\r\nc  \r\nd= \t\r\ne", "a bc\r\nde"),
            ("=3d=3D=ZZ==4", "===ZZ==4"),
            ("=", ""),
            ("x=2", "x=2"),
            ("a\nb=\nc", "a\nbc"),
        ] {
            assert_eq!(decoded(Encoding::QuotedPrintable, encoded), expected, "{encoded}");
        }
    }

    #[test]
    fn uuencoded_text() {
        let text = "begin 644 a.txt\r\n+:&5L;&\\@=V]R;&0 \r\n`\r\nend\r\n";
        assert_eq!(decoded(Encoding::Uuencode, text), "hello world");
    }

    #[test]
    fn names() {
        for (value, encoding) in [
            (" BASE64\r\n", Encoding::Base64),
            ("(a) base64 (b)", Encoding::Base64),
            ("\"quoted-printable\"", Encoding::QuotedPrintable),
            ("base64; x", Encoding::Base64),
            ("7bit", Encoding::Identity),
            ("", Encoding::Identity),
            ("x-strange", Encoding::Unknown),
        ] {
            assert_eq!(Encoding::named(value.as_bytes()), encoding, "{value}");
        }
    }
}
