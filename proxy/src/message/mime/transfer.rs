//! Transfer encodings (RFC 2045 section 6), decoded leniently: what is no encoding is skipped, as clients do.

use memchr::{memchr, memchr_iter};

use crate::message::{StoreError, decode::decode_uuencoded_lines};

/// Decoded bytes given on at once, roughly.
const BLOCK: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Encoding {
    /// 7bit, 8bit, binary, or one that nobody knows.
    #[default]
    Identity,
    Base64,
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
            _ => Self::Identity,
        }
    }
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
    if encoding == Encoding::Identity {
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
        Encoding::Identity => sink(encoded),
        Encoding::Base64 => base64(encoded, sink),
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

/// Skips what is not in the alphabet; padding ends a group, and another may follow.
pub(in crate::message) fn base64(encoded: &[u8], sink: Sink<'_>) -> Result<(), StoreError> {
    let mut out = Vec::with_capacity(BLOCK + 4);
    let (mut group, mut count) = (0u32, 0u8);
    let mut rest = encoded;
    loop {
        // Whole groups, the usual case, without looking at each byte.
        while count == 0
            && let [a, b, c, d, tail @ ..] = rest
        {
            let values = [a, b, c, d].map(|&byte| BASE64[byte as usize]);
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
        let value = BASE64[byte as usize];
        if value != NO_VALUE {
            group = group << 6 | u32::from(value);
            count += 1;
            if count == 4 {
                out.extend_from_slice(&group.to_be_bytes()[1..]);
                (group, count) = (0, 0);
            }
        } else if byte == b'=' {
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
        ] {
            assert_eq!(Encoding::named(value.as_bytes()), encoding, "{value}");
        }
    }
}
