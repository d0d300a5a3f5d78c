//! uuencoded files in text: "begin 644 name", lines that tell their length, "end"; and its base64 kind, "begin-base64".

use bytes::Bytes;
use memchr::{memchr, memmem};

use super::{Allowance, Found, State, Stop, name};
use crate::message::mime::decode_base64;

/// Memory that an entry costs besides its name.
const ENTRY: usize = 512;
const BLOCK: usize = 16 * 1024;

/// The files in a text.
pub(in crate::message) fn unpack(text: &Bytes, allowance: &mut Allowance, found: &mut Vec<Found>) -> Result<(), Stop> {
    let mut at = 0;
    while let Some(begin) = next_begin(text, at) {
        let line_end = end_of_line(text, begin);
        at = line_end;
        let Some((is_base64, path)) = opening(&text[begin..line_end]) else { continue };
        let body = &text[line_end..];
        let mut output = allowance.output();
        let (length, is_whole) = if is_base64 {
            let end = memmem::find(body, b"\n====").map_or(body.len(), |at| at + 1);
            allowance.content(end as u64)?;
            decode_base64(&body[..end], &mut |bytes| output.push(bytes))?;
            (end, end < body.len())
        } else {
            if !is_data(&body[..end_of_line(body, 0)]) {
                continue;
            }
            let mut sink = |bytes: &[u8]| -> Result<(), Stop> {
                allowance.content(bytes.len() as u64)?;
                Ok(output.push(bytes)?)
            };
            decode_lines(body, &mut sink)?
        };
        let name = name(path);
        allowance.entry(ENTRY + name.len())?;
        let state = if is_whole { State::Whole } else { State::Damaged };
        found.push(Found { name: Some(name), media_type: None, bytes: output.finish()?, state });
        at = line_end + length;
    }
    Ok(())
}

/// The next line that begins with "begin ".
fn next_begin(text: &[u8], from: usize) -> Option<usize> {
    if from == 0 && text.starts_with(b"begin") {
        return Some(0);
    }
    let before = from.saturating_sub(1);
    memmem::find(&text[before..], b"\nbegin").map(|at| before + at + 1)
}

fn end_of_line(text: &[u8], at: usize) -> usize {
    memchr(b'\n', &text[at..]).map_or(text.len(), |newline| at + newline + 1)
}

/// Whether it is base64, and the name. The mode has three or four octal digits.
fn opening(line: &[u8]) -> Option<(bool, &[u8])> {
    let rest = line.strip_prefix(b"begin")?;
    let (is_base64, rest) = match rest.strip_prefix(b"-base64") {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.strip_prefix(b" ")?.trim_ascii();
    let digits = rest.iter().take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    if !(3..=4).contains(&digits) || rest.get(digits) != Some(&b' ') {
        return None;
    }
    Some((is_base64, rest[digits..].trim_ascii()))
}

const fn value(byte: u8) -> u8 {
    byte.wrapping_sub(b' ') & 0x3f
}

/// Whether a line can be data: about as long as it says, and not beyond the alphabet.
fn is_data(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let Some((&length, characters)) = line.split_first() else { return false };
    // Spaces at the end may have been lost on the way, and a checksum may have been added.
    let expected = usize::from(value(length)).div_ceil(3) * 4;
    (b' '..=b'`').contains(&length)
        && characters.iter().all(|byte| (b' '..=b'`').contains(byte))
        && characters.len() <= expected + 2
        && characters.len() + 4 >= expected.min(4)
}

/// Decodes lines of data to "end"; gives how many bytes they and the end have, and whether there was one.
pub(in crate::message) fn decode_lines<E>(
    body: &[u8],
    sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<(usize, bool), E> {
    let mut out = Vec::with_capacity(BLOCK + 64);
    let mut at = 0;
    let mut is_whole = false;
    while at < body.len() {
        let end = end_of_line(body, at);
        let line = body[at..end].trim_ascii_end();
        if line == b"end" {
            (at, is_whole) = (end, true);
            break;
        }
        if opening(line).is_some() {
            break;
        }
        at = end;
        // What is no data came in between somehow; that it stands in the text is seen anyway.
        let Some((&length, characters)) = line.split_first().filter(|_| is_data(line)) else { continue };
        let before = out.len();
        for group in characters.chunks(4) {
            let word = (0..4).fold(0u32, |word, n| word << 6 | u32::from(value(*group.get(n).unwrap_or(&b' '))));
            out.extend_from_slice(&word.to_be_bytes()[1..]);
        }
        // Spaces at the end are zeros, and may have been lost on the way.
        out.resize(before + usize::from(value(length)), 0);
        if out.len() >= BLOCK {
            sink(&out)?;
            out.clear();
        }
    }
    sink(&out)?;
    Ok((at, is_whole))
}
