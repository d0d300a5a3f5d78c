//! Delimiters of multiparts (RFC 2046 section 5.1.1), found and guessed.

use memchr::{memchr, memmem};

use super::split::Level;

/// How far into a multipart without a declared boundary one is looked for.
const GUESS_WITHIN: usize = 64 * 1024;

pub(super) struct Delimiter {
    pub(super) level: usize,
    pub(super) closes: bool,
    /// Where the content before it ends: its CRLF belongs to the delimiter.
    pub(super) content_end: usize,
    pub(super) line_end: usize,
}

pub(super) fn line_end(bytes: &[u8], at: usize) -> usize {
    memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |newline| at + newline + 1)
}

/// The next delimiter of an open multipart. `at` is the beginning of a line.
pub(super) fn find_delimiter(bytes: &[u8], at: usize, stack: &[Level]) -> Option<Delimiter> {
    if stack.is_empty() {
        return None;
    }
    let first = bytes[at..].starts_with(b"--").then_some(at);
    let others = memmem::find_iter(&bytes[at..], b"\n--").map(|newline| at + newline + 1);
    first.into_iter().chain(others).find_map(|line| {
        let line_end = line_end(bytes, line);
        let (level, closes) = delimited(&bytes[line + 2..line_end], stack)?;
        let before = bytes[..line].strip_suffix(b"\n").unwrap_or(&bytes[..line]);
        let content_end = before.strip_suffix(b"\r").unwrap_or(before).len();
        Some(Delimiter { level, closes, content_end, line_end })
    })
}

/// Which level a line is a delimiter of (the line without its first two hyphens), and whether it closes it. Levels
/// that are not closed come first: an inner multipart may have its parent's boundary. A line that goes on after the
/// boundary is a delimiter to those who read RFC 2046 to the letter, and to others none: the level takes note.
pub(super) fn delimited(line: &[u8], stack: &[Level]) -> Option<(usize, bool)> {
    let line = line.trim_ascii_end();
    let find = |among_closed: bool| {
        stack.iter().enumerate().rev().filter(|(_, level)| level.closed == among_closed).find_map(|(index, level)| {
            let boundary = level.boundary.as_deref()?;
            match line.strip_prefix(boundary)? {
                b"" => Some((index, false)),
                b"--" => Some((index, true)),
                rest if level.takes_longer => Some((index, rest.starts_with(b"--"))),
                _ => None,
            }
        })
    };
    let found = find(false).or_else(|| find(true));
    if found.is_none() {
        let longer = |level: &&Level| level.boundary.as_deref().is_some_and(|boundary| line.starts_with(boundary));
        stack.iter().filter(longer).for_each(|level| level.has_longer.set(true));
    }
    found
}

/// A boundary for a multipart that declares none, as some clients find it: the first line that begins with two hyphens
/// and is followed by a MIME field.
pub(super) fn guess_boundary(body: &[u8]) -> Option<Vec<u8>> {
    let body = &body[..body.len().min(GUESS_WITHIN)];
    let first = body.starts_with(b"--").then_some(0);
    first.into_iter().chain(memmem::find_iter(body, b"\n--").map(|newline| newline + 1)).find_map(|line| {
        let end = line_end(body, line);
        let boundary = body[line + 2..end].trim_ascii_end();
        let next = body[end..].get(..8)?;
        next.eq_ignore_ascii_case(b"content-").then(|| boundary.to_vec())
    })
}

/// Of several boundaries the first that a line near the beginning of the body has, or else the first.
pub(super) fn choose(boundaries: &mut Vec<Vec<u8>>, body: &[u8]) -> Option<Vec<u8>> {
    let near = &body[..body.len().min(GUESS_WITHIN)];
    let chosen = if boundaries.len() > 1 { boundaries.iter().position(|one| occurs(one, near)) } else { None };
    (!boundaries.is_empty()).then(|| boundaries.remove(chosen.unwrap_or(0)))
}

/// Whether a line stands there that begins with this boundary, two hyphens before it.
pub(super) fn occurs(boundary: &[u8], body: &[u8]) -> bool {
    let line = [b"--", boundary].concat();
    memmem::find_iter(body, &line).any(|at| at == 0 || body[at - 1] == b'\n')
}
