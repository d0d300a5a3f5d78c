//! Finding the parts of a message: one pass, line by line, with a stack instead of recursion.
//!
//! A delimiter is a line of its own: two hyphens, the boundary, perhaps two more hyphens, perhaps white space (RFC 2046
//! section 5.1.1). The innermost multipart with that boundary is meant. Parts after a closing delimiter are parts all
//! the same, since some clients show them.

use bytes::Bytes;
use memchr::{memchr, memmem};

use super::{
    Part,
    fields::{Declared, Fields, Node, TextKind, declare},
    transfer::Encoding,
};
use crate::message::{MessageFault, MessageLimits, budget::Budget, header_end::is_name_byte};

/// Attached messages within transfer encodings within one another. RFC 2046 section 5.2.1 forbids to encode them at
/// all; each level has to be decoded before it is looked into.
const ENCODED_DEPTH: usize = 3;
/// How far into a multipart without a declared boundary one is looked for.
const GUESS_WITHIN: usize = 64 * 1024;

pub(super) fn split(whole: &Bytes, budget: &Budget, limits: &MessageLimits) -> Result<Vec<Part>, MessageFault> {
    let mut parts = Vec::new();
    Splitter::new(&mut parts, budget, limits).message(whole, Frame { parent: None, depth: 0, encoded: 0 })?;
    Ok(parts)
}

/// In what a message, or a decoded attached one, stands.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) parent: Option<u32>,
    pub(super) depth: usize,
    pub(super) encoded: usize,
}

/// A multipart or an attached message that is open.
struct Level {
    part: u32,
    /// None for an attached message.
    boundary: Option<Vec<u8>>,
    body: usize,
    /// A delimiter was found.
    seen: bool,
    /// Its closing delimiter was found.
    closed: bool,
    is_digest: bool,
    stray: Option<usize>,
}

struct Delimiter {
    level: usize,
    closes: bool,
    /// Where the content before it ends: its CRLF belongs to the delimiter.
    content_end: usize,
    line_end: usize,
}

/// A header section of a part.
struct HeaderScan<'a> {
    fields: Fields<'a>,
    body: usize,
    /// The first line that is no field, or a field that there was before: clients differ on what to make of it.
    stray: Option<usize>,
    /// A delimiter stood where the header section was expected to go on.
    cut: bool,
}

pub(super) struct Splitter<'a> {
    budget: &'a Budget,
    limits: &'a MessageLimits,
    parts: &'a mut Vec<Part>,
    /// Of them, those that count against the cap: files of archives have one of their own.
    count: usize,
}

struct Leaf {
    part: u32,
    body: usize,
    stray: Option<usize>,
    is_message: bool,
}

impl<'a> Splitter<'a> {
    /// Appends to `parts`, which may hold some already.
    pub(super) fn new(parts: &'a mut Vec<Part>, budget: &'a Budget, limits: &'a MessageLimits) -> Self {
        let count = parts.iter().filter(|part| !part.is_entry()).count();
        Self { budget, limits, parts, count }
    }

    /// Takes a message apart.
    pub(super) fn message(&mut self, bytes: &Bytes, frame: Frame) -> Result<(), MessageFault> {
        let mut stack: Vec<Level> = Vec::new();
        let (mut leaf, mut at) = self.open(bytes, 0, &mut stack, frame)?;
        while let Some(delimiter) = find_delimiter(bytes, at, &stack) {
            self.end_leaf(leaf.take(), bytes, delimiter.content_end, frame)?;
            for level in stack.drain(delimiter.level + 1..) {
                self.end_level(level, bytes, delimiter.content_end);
            }
            at = delimiter.line_end;
            let level = &mut stack[delimiter.level];
            level.seen = true;
            level.closed = delimiter.closes;
            if !delimiter.closes {
                (leaf, at) = self.open(bytes, at, &mut stack, frame)?;
            }
        }
        self.end_leaf(leaf, bytes, bytes.len(), frame)?;
        for level in stack {
            self.end_level(level, bytes, bytes.len());
        }
        Ok(())
    }

    /// Opens the part whose header section begins at `at`, and what begins right inside it.
    fn open(
        &mut self,
        bytes: &Bytes,
        at: usize,
        stack: &mut Vec<Level>,
        frame: Frame,
    ) -> Result<(Option<Leaf>, usize), MessageFault> {
        let mut at = at;
        loop {
            if self.count >= self.limits.mime_parts {
                return Err(MessageFault::TooManyParts(self.limits.mime_parts));
            }
            if frame.depth + stack.len() >= self.limits.mime_depth {
                return Err(MessageFault::TooDeep(self.limits.mime_depth));
            }
            let header = scan_header(bytes, at, stack, self.limits)?;
            let is_in_digest = stack.last().is_some_and(|level| level.is_digest);
            let (declared, node) = declare(&header.fields, is_in_digest)?;
            let parent = stack.last().map(|level| level.part).or(frame.parent);
            let is_encoded = declared.encoding != Encoding::Identity;
            let part = self.push(parent, declared);
            at = header.body;
            let leaf = |is_message| Some(Leaf { part, body: at, stray: header.stray, is_message });
            let boundary = match node {
                Node::Leaf => return Ok((leaf(false), at)),
                Node::Message if is_encoded || header.cut => return Ok((leaf(is_encoded), at)),
                Node::Message => None,
                Node::Multipart(boundary) => match boundary.or_else(|| guess_boundary(&bytes[at..])) {
                    None => return Ok((leaf(false), at)),
                    boundary => boundary,
                },
            };
            let is_message = boundary.is_none();
            let is_digest = self.parts[part as usize].declared.content_type == "multipart/digest";
            self.parts[part as usize].declared.text = None;
            stack.push(Level { part, boundary, body: at, seen: false, closed: false, is_digest, stray: header.stray });
            if !is_message {
                return Ok((None, at));
            }
        }
    }

    fn push(&mut self, parent: Option<u32>, declared: Declared) -> u32 {
        // The cap on parts is far below.
        let index = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        self.parts.push(Part::new(parent, declared, self.budget));
        self.count += 1;
        index
    }

    fn end_leaf(&mut self, leaf: Option<Leaf>, bytes: &Bytes, end: usize, frame: Frame) -> Result<(), MessageFault> {
        let Some(leaf) = leaf else { return Ok(()) };
        let part = &mut self.parts[leaf.part as usize];
        part.encoded = Some(bytes.slice(leaf.body..end.max(leaf.body)));
        part.stray = leaf.stray.map(|from| bytes.slice(from..end.max(from)));
        if !leaf.is_message {
            return Ok(());
        }
        if frame.encoded >= ENCODED_DEPTH {
            return Err(MessageFault::TooDeep(self.limits.mime_depth));
        }
        let decoded = part.body()?;
        let depth = frame.depth + self.depth_of(leaf.part, frame.parent);
        self.parts[leaf.part as usize].declared.text = None;
        self.message(&decoded, Frame { parent: Some(leaf.part), depth, encoded: frame.encoded + 1 })
    }

    /// Levels from the frame's parent down to a part, the part included.
    fn depth_of(&self, part: u32, top: Option<u32>) -> usize {
        let parents = std::iter::successors(Some(part), |&part| {
            self.parts[part as usize].parent.filter(|&parent| Some(parent) != top)
        });
        parents.count()
    }

    /// An attached message has bytes of its own; a multipart has not, but one none of whose delimiters was found is
    /// shown as text.
    fn end_level(&mut self, level: Level, bytes: &Bytes, end: usize) {
        let part = &mut self.parts[level.part as usize];
        let is_message = level.boundary.is_none();
        if is_message || !level.seen {
            part.encoded = Some(bytes.slice(level.body..end.max(level.body)));
        }
        part.stray = level.stray.map(|from| bytes.slice(from..end.max(from)));
        if !is_message && !level.seen {
            part.declared.text = Some(TextKind::Plain);
        }
    }
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |newline| at + newline + 1)
}

/// The next delimiter of an open multipart. `at` is the beginning of a line.
fn find_delimiter(bytes: &[u8], at: usize, stack: &[Level]) -> Option<Delimiter> {
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
/// that are not closed come first: an inner multipart may have its parent's boundary.
fn delimited(line: &[u8], stack: &[Level]) -> Option<(usize, bool)> {
    let line = line.trim_ascii_end();
    let find = |among_closed: bool| {
        stack.iter().enumerate().rev().filter(|(_, level)| level.closed == among_closed).find_map(|(index, level)| {
            let boundary = level.boundary.as_deref()?;
            match line.strip_prefix(boundary)? {
                b"" => Some((index, false)),
                b"--" => Some((index, true)),
                _ => None,
            }
        })
    };
    find(false).or_else(|| find(true))
}

fn scan_header<'a>(
    bytes: &'a [u8],
    at: usize,
    stack: &[Level],
    limits: &MessageLimits,
) -> Result<HeaderScan<'a>, MessageFault> {
    let mut scan = HeaderScan { fields: Fields::default(), body: bytes.len(), stray: None, cut: false };
    let (mut count, mut size) = (0usize, 0u64);
    let mut line = at;
    while line < bytes.len() {
        let mut end = line_end(bytes, line);
        let content = &bytes[line..end];
        if matches!(content, b"\r\n" | b"\n") {
            scan.body = end;
            return Ok(scan);
        }
        if content.starts_with(b"--") && delimited(&content[2..], stack).is_some() {
            scan.body = line;
            scan.cut = true;
            return Ok(scan);
        }
        let name = content.iter().take_while(|&&byte| is_name_byte(byte)).count();
        let blank = content[name..].iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
        if name == 0 || content.get(name + blank) != Some(&b':') {
            scan.stray.get_or_insert(line);
            line = end;
            continue;
        }
        while matches!(bytes.get(end), Some(b' ' | b'\t')) {
            end = line_end(bytes, end);
        }
        count += 1;
        size += (end - line) as u64;
        if count > limits.header_fields {
            return Err(MessageFault::TooManyFields(limits.header_fields));
        }
        if size > limits.header_size {
            return Err(MessageFault::HeaderTooLarge(limits.header_size));
        }
        let value = &bytes[line + name + blank + 1..end];
        if !scan.fields.add(&content[..name], value) {
            scan.stray.get_or_insert(line);
        }
        line = end;
    }
    Ok(scan)
}

/// A boundary for a multipart that declares none, as some clients find it: the first line that begins with two hyphens
/// and is followed by a MIME field.
fn guess_boundary(body: &[u8]) -> Option<Vec<u8>> {
    let body = &body[..body.len().min(GUESS_WITHIN)];
    let first = body.starts_with(b"--").then_some(0);
    first.into_iter().chain(memmem::find_iter(body, b"\n--").map(|newline| newline + 1)).find_map(|line| {
        let end = line_end(body, line);
        let boundary = body[line + 2..end].trim_ascii_end();
        let next = body[end..].get(..8)?;
        (!boundary.is_empty() && next.eq_ignore_ascii_case(b"content-")).then(|| boundary.to_vec())
    })
}
