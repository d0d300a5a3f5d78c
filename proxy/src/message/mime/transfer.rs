//! Transfer encodings (RFC 2045 section 6), decoded leniently: what is no encoding is skipped, as clients do.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use memchr::{memchr, memchr_iter, memchr2_iter, memmem};

use super::fields::Declared;
use crate::message::{StoreError, accumulator::Accumulator, budget::Budget, decode::decode_uuencoded_lines};

/// Bytes decoded, or given on when decoded, at once, roughly.
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
    let mut faults = Base64Faults::default();
    let mut padding = None;
    for (at, block) in (0..).step_by(BLOCK).zip(encoded.chunks(BLOCK)) {
        // The usual case, without looking at each byte by itself.
        if block.chunks(256).all(is_alphabet_in_lines) {
            faults.inner_padding |= padding.is_some() && block.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
            continue;
        }
        for &byte in block.iter().filter(|&&byte| BASE64[usize::from(byte)] == NO_VALUE && !byte.is_ascii_whitespace())
        {
            faults.junk |= byte != b'=';
            faults.url |= matches!(byte, b'-' | b'_');
        }
        padding = padding.or_else(|| memchr(b'=', block).map(|padding| at + padding));
        let behind = padding.map_or(&[][..], |padding| &block[padding.saturating_sub(at)..]);
        faults.inner_padding |= behind.iter().any(|&byte| BASE64[usize::from(byte)] != NO_VALUE);
    }
    faults
}

/// Whether there is nothing but characters of the alphabet and line ends. Without a branch in it, many bytes are compared at
/// once.
fn is_alphabet_in_lines(block: &[u8]) -> bool {
    let within = |byte: u8, first: u8, last: u8| byte.wrapping_sub(first) <= last - first;
    let is_other = |&byte: &u8| {
        let is_letter = within(byte | 0x20, b'a', b'z');
        // The slash stands right before the digits.
        !(is_letter | within(byte, b'/', b'9') | (byte == b'+') | (byte == b'\r') | (byte == b'\n'))
    };
    !block.iter().fold(false, |other, byte| other | is_other(byte))
}

/// Encoded bytes without the line ends between them, to be decoded many at once.
#[derive(Default)]
struct Flat {
    bytes: Vec<u8>,
    decoded: Vec<u8>,
}

impl Flat {
    /// Adds all but line ends.
    fn push(&mut self, encoded: &[u8]) {
        let mut from = 0;
        for end in memchr2_iter(b'\r', b'\n', encoded) {
            self.bytes.extend_from_slice(&encoded[from..end]);
            from = end + 1;
        }
        self.bytes.extend_from_slice(&encoded[from..]);
    }

    /// Takes the whole groups off and decodes them; none, and nothing is taken off, when something that is not of the
    /// alphabet, padding included, is among them.
    fn decode_whole_groups(&mut self) -> Option<&[u8]> {
        let length = self.bytes.len() - self.bytes.len() % 4;
        self.decoded.resize(length / 4 * 3, 0);
        let count = STRICT.decode_slice(&self.bytes[..length], &mut self.decoded).ok()?;
        self.bytes.drain(..length);
        self.decoded.get(..count)
    }
}

/// Of groups of four alone.
const STRICT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

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

/// At least as many bytes as decoding gives, and not many more where it takes time to count them.
pub(super) fn room_for_decoded(encoding: Encoding, encoded: &[u8]) -> u64 {
    match encoding {
        Encoding::Base64 | Encoding::UnpaddedBase64 | Encoding::UrlBase64 => encoded.len() as u64 / 4 * 3 + 3,
        // Escapes are few in what is read as text, and what is decoded is never longer.
        Encoding::QuotedPrintable | Encoding::Uuencode | Encoding::Identity | Encoding::Unknown => encoded.len() as u64,
    }
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

/// The first bytes of what is decoded, `max` of them unless there are fewer. No more than twice as much is read as it
/// takes, whatever junk stands before them.
pub(super) fn head(encoding: Encoding, encoded: &Bytes, max: usize) -> Result<Bytes, StoreError> {
    if encoding.is_plain() {
        return Ok(encoded.slice(..encoded.len().min(max)));
    }
    // The last bytes of a beginning may not be what they are in the whole.
    let wanted = 2 * max;
    let mut read = 4 * wanted;
    loop {
        let some = &encoded[..encoded.len().min(read)];
        let mut decoded = Vec::new();
        decode(encoding, some, &mut |bytes| {
            decoded.extend_from_slice(&bytes[..bytes.len().min(wanted - decoded.len())]);
            Ok(())
        })?;
        if decoded.len() == wanted || some.len() == encoded.len() {
            decoded.truncate(max);
            return Ok(decoded.into());
        }
        read *= 2;
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
    let mut flat = Flat::default();
    let mut group = Group { alphabet, padding, values: 0, count: 0, out: Vec::new() };
    for block in encoded.chunks(BLOCK) {
        flat.push(block);
        // Up to the end of a group that was begun.
        let mut begun = 0;
        while group.count > 0
            && let Some(&byte) = flat.bytes.get(begun)
        {
            group.take(byte);
            begun += 1;
        }
        flat.bytes.drain(..begun);
        // The usual case, without looking at each byte.
        if let Some(decoded) = flat.decode_whole_groups() {
            group.out.extend_from_slice(decoded);
        }
        for byte in flat.bytes.drain(..) {
            group.take(byte);
        }
        sink(&group.out)?;
        group.out.clear();
    }
    group.end();
    sink(&group.out)
}

/// A group of four characters that is decoded one by one.
struct Group<'a> {
    alphabet: &'a [u8; 256],
    padding: Padding,
    values: u32,
    count: u8,
    out: Vec<u8>,
}

impl Group<'_> {
    fn take(&mut self, byte: u8) {
        let value = self.alphabet[usize::from(byte)];
        if value != NO_VALUE {
            self.values = self.values << 6 | u32::from(value);
            self.count += 1;
            if self.count == 4 {
                self.out.extend_from_slice(&self.values.to_be_bytes()[1..]);
                (self.values, self.count) = (0, 0);
            }
        } else if byte == b'=' && self.padding == Padding::EndsGroup {
            self.end();
        }
    }

    /// What is not full ends here.
    fn end(&mut self) {
        end_group(self.values, self.count, &mut self.out);
        (self.values, self.count) = (0, 0);
    }
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

    #[test]
    fn what_base64_is_written_with() {
        for byte in 0..=u8::MAX {
            let expected = BASE64[usize::from(byte)] != NO_VALUE || byte == b'\r' || byte == b'\n';
            assert_eq!(is_alphabet_in_lines(&[b'A', byte, b'z']), expected, "{byte}");
        }
    }

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

    /// However line ends, junk and padding lie to the blocks in which it is decoded.
    #[test]
    fn long_base64_is_decoded_as_if_byte_by_byte() {
        let text: String = (0..20_000).map(|number| format!("{number} ")).collect();
        let lines = |text: &str, width: usize| {
            let encoded = base64::prelude::BASE64_STANDARD.encode(text);
            encoded.as_bytes().chunks(width).flat_map(|line| [line, b"\r\n"].concat()).collect::<Vec<u8>>()
        };
        for width in [1, 3, 7, 75, 76, 1000, 1 << 20] {
            let mut encoded = String::from_utf8(lines(&text, width)).unwrap();
            let faults = base64_faults(encoded.as_bytes());
            assert!(!faults.junk && !faults.url && !faults.inner_padding, "{width}");
            assert!(decoded(Encoding::Base64, &encoded) == text, "{width}");
            for at in [encoded.len() - 5, 3 * BLOCK + 1, BLOCK, BLOCK - 1, 77, 1] {
                encoded.insert(at, '!');
            }
            assert!(base64_faults(encoded.as_bytes()).junk, "{width}");
            assert!(decoded(Encoding::Base64, &encoded) == text, "{width}");
        }
        let two = [lines(&text[..BLOCK * 3 - 1], 76), b"\r\n".repeat(BLOCK)].concat();
        assert!(!base64_faults(&two).inner_padding, "line ends are nothing");
        let two = String::from_utf8([two, lines(&text, 76)].concat()).unwrap();
        assert!(base64_faults(two.as_bytes()).inner_padding);
        assert!(decoded(Encoding::Base64, &two) == [&text[..BLOCK * 3 - 1], &text].concat());
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
