//! Character references (HTML standard, section 13.2.5.72).

use std::borrow::Cow;

use mail_parser::decoders::html::add_html_token;
use memchr::{memchr, memchr_iter};

/// References that count without a semicolon, as far as they matter here.
const BARE_REFERENCES: [&str; 8] = ["amp", "lt", "gt", "quot", "nbsp", "copy", "reg", "shy"];

/// Text with its character references decoded.
pub(in crate::message) fn decode_references(text: &str) -> Cow<'_, str> {
    if memchr(b'&', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut decoded = String::with_capacity(text.len());
    let mut from = 0;
    for at in memchr_iter(b'&', text.as_bytes()) {
        if at < from {
            continue;
        }
        decoded.push_str(&text[from..at]);
        from = at + decode_reference(&text[at..], &mut decoded);
    }
    decoded.push_str(&text[from..]);
    Cow::Owned(decoded)
}

/// Bytes of text decoded at once, at most.
const PIECE: usize = 64 * 1024;
/// No reference is longer.
const REFERENCE: usize = 64;

/// The same, piece by piece, so that no more than a piece of a long text is in memory twice.
pub(in crate::message) fn decoded_pieces(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut end = rest.len();
        if end > PIECE {
            let near = PIECE - REFERENCE;
            // No reference is cut.
            let reference = memchr(b'&', &rest.as_bytes()[near..PIECE]).map(|at| near + at);
            end = reference.unwrap_or_else(|| rest.floor_char_boundary(PIECE));
        }
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        Some(decode_references(piece))
    })
}

/// Appends what a reference stands for and gives its length; the ampersand itself if it begins none.
fn decode_reference(text: &str, decoded: &mut String) -> usize {
    let bytes = text.as_bytes();
    let run = |from: usize, is: fn(&u8) -> bool| bytes[from..].iter().take(40).take_while(|&byte| is(byte)).count();
    let (from, radix) = match bytes {
        [_, b'#', b'x' | b'X', ..] => (3, 16),
        [_, b'#', ..] => (2, 10),
        _ => (1, 0),
    };
    let length = match radix {
        16 => run(from, u8::is_ascii_hexdigit),
        10 => run(from, u8::is_ascii_digit),
        _ => run(from, u8::is_ascii_alphanumeric),
    };
    let name = &text[from..from + length];
    let has_semicolon = bytes.get(from + length) == Some(&b';');
    let end = from + length + usize::from(has_semicolon);
    if radix > 0 {
        let Ok(code) = u32::from_str_radix(name, radix) else {
            // None at all, or one too large: the digits, if any, are swallowed.
            decoded.push(if length == 0 { '&' } else { char::REPLACEMENT_CHARACTER });
            return if length == 0 { 1 } else { end };
        };
        decoded.push(char::from_u32(code).filter(|&code| code != '\0').unwrap_or(char::REPLACEMENT_CHARACTER));
        return end;
    }
    if has_semicolon {
        let before = decoded.len();
        add_html_token(decoded, &bytes[..end], false);
        if !decoded[before..].starts_with('&') || matches!(name, "amp" | "AMP") {
            return end;
        }
        decoded.truncate(before);
    }
    let bare = BARE_REFERENCES.iter().find(|bare| name.starts_with(**bare));
    match bare {
        // In the query of a URL `&copy=` is no reference (HTML standard, section 13.2.5.73).
        Some(bare) if *bare == name && bytes.get(end) != Some(&b'=') => {
            add_html_token(decoded, format!("&{bare};").as_bytes(), false);
            end
        }
        _ => {
            decoded.push('&');
            1
        }
    }
}
