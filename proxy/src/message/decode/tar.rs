//! tar, as POSIX and GNU write it: files are slices of the archive.

use std::ops::Range;

use bytes::Bytes;
use memchr::memchr;

use super::{Allowance, Found, State, Stop, name};

const BLOCK: usize = 512;
/// Memory that an entry costs besides its name.
const ENTRY: usize = 512;
/// Bytes of an extended header or a long name that are looked at.
const EXTENSION: usize = 64 * 1024;

/// What an extension says of the file after it.
#[derive(Default)]
struct Extension {
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

/// Whether this block is a header: its checksum is right.
pub(super) fn is_header(bytes: &[u8]) -> bool {
    let Some(block) = bytes.get(..BLOCK) else { return false };
    let Some(expected) = number(&block[148..156]) else { return false };
    let sum = |byte: fn(u8) -> i64| -> i64 {
        let outside = block[..148].iter().chain(&block[156..]);
        outside.map(|&value| byte(value)).sum::<i64>() + 8 * i64::from(b' ')
    };
    // Old programs added signed bytes.
    let sums = [sum(i64::from), sum(|value| i64::from(value.cast_signed()))];
    block[0] != 0 && sums.into_iter().any(|sum| u64::try_from(sum) == Ok(expected))
}

/// The files in it. Blocks that are no headers are passed over, as tar does when it recovers; the first of
/// them that hold something are given as a damaged file.
pub(super) fn unpack(bytes: &Bytes, allowance: &mut Allowance, found: &mut Vec<Found>) -> Result<(), Stop> {
    let mut at = 0;
    let mut extension = Extension::default();
    let mut stray: Option<Range<usize>> = None;
    while at + BLOCK <= bytes.len() {
        let header = &bytes[at..at + BLOCK];
        at += BLOCK;
        if !is_header(header) {
            stray = longer(stray, at - BLOCK..at, header);
            continue;
        }
        let declared = extension.size.or_else(|| number(&header[124..136])).unwrap_or(0);
        let left = bytes.len() - at;
        let length = usize::try_from(declared).unwrap_or(usize::MAX).min(left);
        let content = bytes.slice(at..at + length);
        let kind = header[156];
        match kind {
            b'L' => extension.name = Some(until_nul(&content[..length.min(EXTENSION)]).to_vec()),
            b'x' | b'X' => pax(&content[..length.min(EXTENSION)], &mut extension),
            // Links and devices have no content, whatever size they declare; but not everybody knows that, so what
            // follows them is read as blocks.
            b'1'..=b'6' | b'K' | b'g' => {
                if matches!(kind, b'1'..=b'6') {
                    extension = Extension::default();
                    continue;
                }
            }
            _ => {
                let Extension { name: long, .. } = std::mem::take(&mut extension);
                let path = long.unwrap_or_else(|| ustar_name(header));
                let path_name = name(&path);
                allowance.entry(ENTRY + path_name.len())?;
                allowance.content(length as u64)?;
                let state = if declared > left as u64 { State::Damaged } else { State::Whole };
                if length > 0 || !path.ends_with(b"/") {
                    found.push(Found { name: Some(path_name), media_type: None, bytes: content, state });
                }
            }
        }
        at += length.next_multiple_of(BLOCK).min(left);
    }
    stray = longer(stray, at..bytes.len(), &bytes[at..]);
    if let Some(stray) = stray {
        allowance.entry(ENTRY)?;
        allowance.content(stray.len() as u64)?;
        found.push(Found { name: None, media_type: None, bytes: bytes.slice(stray), state: State::Damaged });
    }
    Ok(())
}

/// The first stretch that is not of the archive, with what was passed over now: it begins with something other than
/// zeros.
fn longer(stray: Option<Range<usize>>, passed: Range<usize>, content: &[u8]) -> Option<Range<usize>> {
    match stray {
        Some(stray) if stray.end == passed.start => Some(stray.start..passed.end),
        None if content.iter().any(|&byte| byte != 0) => Some(passed),
        stray => stray,
    }
}

fn until_nul(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr(0, bytes).unwrap_or(bytes.len())]
}

fn ustar_name(header: &[u8]) -> Vec<u8> {
    let name = until_nul(&header[..100]);
    let prefix = until_nul(&header[345..500]);
    // GNU's own format has other things there.
    if header[257..].starts_with(b"ustar\0") && !prefix.is_empty() {
        return [prefix, b"/", name].concat();
    }
    name.to_vec()
}

/// An octal number, or GNU's: the first bit set and the rest binary.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (first, rest) = field.split_first()?;
        return rest.iter().try_fold(u64::from(first & 0x7f), |value, &byte| {
            value.checked_mul(256).map(|value| value | u64::from(byte))
        });
    }
    let text = until_nul(field).trim_ascii();
    let text = text.split(|byte| *byte == b' ').next().unwrap_or_default();
    if text.is_empty() {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(text).ok()?, 8).ok()
}

/// Records "length keyword=value\n".
fn pax(records: &[u8], extension: &mut Extension) {
    let mut rest = records;
    while let Some(space) = memchr(b' ', rest) {
        let length = std::str::from_utf8(&rest[..space]).ok().and_then(|digits| digits.parse::<usize>().ok());
        let Some(record) = length.and_then(|length| rest.get(space + 1..length)) else { return };
        rest = &rest[space + 1 + record.len()..];
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(path) = record.strip_prefix(b"path=") {
            extension.name = Some(path.to_vec());
        } else if let Some(size) = record.strip_prefix(b"size=") {
            extension.size = std::str::from_utf8(size).ok().and_then(|digits| digits.parse().ok());
        }
    }
}
