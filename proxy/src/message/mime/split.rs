//! Finding the parts of a message: one pass, line by line, with a stack instead of recursion.
//!
//! A delimiter is a line of its own: two hyphens, the boundary, perhaps two more hyphens, perhaps white space (RFC 2046
//! section 5.1.1). The innermost multipart with that boundary is meant. Parts after a closing delimiter are parts all
//! the same, since some clients show them.
//!
//! Where clients would take a part for different things, each of them is a reading: the first is what most of them see,
//! the others follow after all parts; see [`super::readings`].

use std::{cell::Cell, collections::VecDeque, ops::Range};

use bytes::Bytes;

use super::{
    Origin, Part,
    delimiter::{choose, delimited, find_delimiter, guess_boundary, line_end},
    fields::{Declared, Fields, Node, TextKind, declare},
    readings::{self, Reading},
    transfer::{self, Encoding},
};
use crate::message::{MessageFault, MessageLimits, budget::Budget, header_end::is_name_byte};

/// Attached messages within transfer encodings within one another. RFC 2046 section 5.2.1 forbids to encode them at
/// all; each level has to be decoded before it is looked into.
const ENCODED_DEPTH: usize = 3;
/// Multiparts and messages that are taken apart once more because they can be read in another way.
const READINGS: usize = 32;
/// How often a message is searched for further boundaries, all of it together: an ordinary one as often as its multiparts
/// are nested, since a boundary in quotes could be meant with them.
const SEARCHES: usize = 64;

/// Appends the parts of a message to `parts`, which may hold some already. Whether it can be read in several ways.
pub(super) fn split(
    whole: &Bytes,
    frame: Frame,
    parts: &mut Vec<Part>,
    budget: &Budget,
    limits: &MessageLimits,
) -> Result<bool, MessageFault> {
    let count = parts.iter().filter(|part| !part.is_entry()).count();
    let mut splitter =
        Splitter { budget, limits, parts, count, size: whole.len(), searched: 0, readings: VecDeque::new() };
    splitter.message(whole, frame)?;
    let mut taken_apart = 0;
    let mut is_ambiguous = false;
    while let Some(reading) = splitter.readings.pop_front() {
        is_ambiguous = true;
        if reading.node != Node::Leaf {
            taken_apart += 1;
            if taken_apart > READINGS {
                return Err(MessageFault::TooAmbiguous(READINGS));
            }
        }
        splitter.read(reading)?;
    }
    Ok(is_ambiguous)
}

/// In what a message, or a decoded attached one, stands.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) parent: Option<u32>,
    pub(super) depth: usize,
    pub(super) encoded: usize,
}

/// A multipart or an attached message that is open.
pub(super) struct Level {
    part: u32,
    /// None for an attached message.
    pub(super) boundary: Option<Vec<u8>>,
    body: usize,
    /// A delimiter was found.
    seen: bool,
    /// Its closing delimiter was found.
    pub(super) closed: bool,
    /// A line that goes on after the boundary is a delimiter as well.
    pub(super) takes_longer: bool,
    /// There was such a line.
    pub(super) has_longer: Cell<bool>,
    is_digest: bool,
    stray: Option<usize>,
    /// Of the text outside its parts that was kept last, while no part was opened since: which of the strays it is, and
    /// where it begins.
    outside: Option<(usize, usize)>,
    others: Vec<Other>,
}

/// What else clients may take a part for.
struct Other {
    declared: Declared,
    node: Node,
    body: usize,
}

/// A header section of a part.
struct HeaderScan<'a> {
    fields: Fields<'a>,
    body: usize,
    /// The first line that is no field, and the fields before it: to some clients the body begins there.
    stray: Option<(usize, Fields<'a>)>,
    /// A delimiter stood where the header section was expected to go on.
    cut: bool,
}

struct Splitter<'a> {
    budget: &'a Budget,
    limits: &'a MessageLimits,
    parts: &'a mut Vec<Part>,
    /// Of them, those that count against the cap: files of archives have one of their own.
    count: usize,
    /// Bytes of the whole.
    size: usize,
    /// Bytes that were searched for further boundaries.
    searched: usize,
    /// Still to be looked at.
    readings: VecDeque<Reading>,
}

struct Leaf {
    part: u32,
    body: usize,
    stray: Option<usize>,
    is_message: bool,
    others: Vec<Other>,
}

impl Splitter<'_> {
    /// Takes a message apart.
    fn message(&mut self, bytes: &Bytes, frame: Frame) -> Result<(), MessageFault> {
        let mut stack: Vec<Level> = Vec::new();
        let (leaf, at) = self.open(bytes, 0, &mut stack, frame)?;
        self.run(bytes, leaf, at, stack, frame)
    }

    /// Goes on after the first header section.
    fn run(
        &mut self,
        bytes: &Bytes,
        leaf: Option<Leaf>,
        at: usize,
        mut stack: Vec<Level>,
        frame: Frame,
    ) -> Result<(), MessageFault> {
        let (mut leaf, mut at) = (leaf, at);
        while let Some(delimiter) = find_delimiter(bytes, at, &stack) {
            if leaf.is_none() && stack.last().is_some_and(|level| level.seen || stack.len() == delimiter.level + 1) {
                self.between(&mut stack, bytes, at..delimiter.content_end);
            }
            self.end_leaf(leaf.take(), bytes, delimiter.content_end, frame)?;
            for level in stack.drain(delimiter.level + 1..) {
                self.end_level(level, bytes, delimiter.content_end, frame)?;
            }
            at = delimiter.line_end;
            let level = &mut stack[delimiter.level];
            level.seen = true;
            level.closed = delimiter.closes;
            if !delimiter.closes {
                level.outside = None;
                (leaf, at) = self.open(bytes, at, &mut stack, frame)?;
            }
        }
        if leaf.is_none() && stack.last().is_some_and(|level| level.seen) {
            self.between(&mut stack, bytes, at..bytes.len());
        }
        self.end_leaf(leaf, bytes, bytes.len(), frame)?;
        for level in stack {
            self.end_level(level, bytes, bytes.len(), frame)?;
        }
        Ok(())
    }

    /// Keeps the text before the first part of a multipart, and after its last: nobody should show it, somebody does.
    /// However many closing delimiters are in it, it is one stretch, so that there are no more of them than parts.
    fn between(&mut self, stack: &mut [Level], bytes: &Bytes, range: Range<usize>) {
        if let Some(level) = stack.last_mut().filter(|_| range.start < range.end)
            && !bytes[range.clone()].trim_ascii().is_empty()
        {
            let strays = &mut self.parts[level.part as usize].strays;
            match level.outside {
                Some((index, start)) => strays[index] = bytes.slice(start..range.end),
                None => {
                    level.outside = Some((strays.len(), range.start));
                    strays.push(bytes.slice(range));
                }
            }
        }
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
            if frame.depth + stack.len() >= self.limits.mime_depth {
                return Err(MessageFault::TooDeep(self.limits.mime_depth));
            }
            let header = scan_header(bytes, at, stack, self.limits)?;
            let is_in_digest = stack.last().is_some_and(|level| level.is_digest);
            let (declared, node, mut others) = self.declared(&header, is_in_digest)?;
            let parent = stack.last().map(|level| level.part).or(frame.parent);
            let is_encoded = !declared.encoding.is_plain();
            let header_start = at;
            let is_external = declared.content_type == "message/external-body";
            let part = self.push(parent, declared)?;
            if is_external {
                // Where the body is said to be stands in the field.
                self.parts[part as usize].strays.push(bytes.slice(header_start..header.body));
            }
            at = header.body;
            let stray = header.stray.as_ref().map(|(at, _)| *at);
            let leaf = |is_message, others| Some(Leaf { part, body: at, stray, is_message, others });
            let boundary = match node {
                Node::Leaf => return Ok((leaf(false, others), at)),
                Node::Message if is_encoded || header.cut => return Ok((leaf(is_encoded, others), at)),
                Node::Message => None,
                Node::Multipart(mut boundaries) => {
                    let declared = choose(&mut boundaries, &bytes[at..]);
                    let guessed = guess_boundary(&bytes[at..]).filter(|guess| Some(guess) != declared.as_ref());
                    let boundary = match (declared, guessed) {
                        (None, None) => return Ok((leaf(false, others), at)),
                        (None, Some(guess)) => guess,
                        (Some(declared), guess) => {
                            boundaries.extend(guess.filter(|guess| guess.is_empty()));
                            declared
                        }
                    };
                    let declared = &self.parts[part as usize].declared;
                    let other = |boundary| Other {
                        declared: declared.clone(),
                        node: Node::Multipart(vec![boundary]),
                        body: at,
                    };
                    others.extend(boundaries.into_iter().map(other));
                    Some(boundary)
                }
            };
            let is_message = boundary.is_none();
            stack.push(self.level(part, boundary, at, stray, others));
            if !is_message {
                return Ok((None, at));
            }
        }
    }

    fn level(
        &mut self,
        part: u32,
        boundary: Option<Vec<u8>>,
        body: usize,
        stray: Option<usize>,
        others: Vec<Other>,
    ) -> Level {
        let declared = &mut self.parts[part as usize].declared;
        declared.text = None;
        let is_digest = declared.content_type == "multipart/digest";
        Level {
            part,
            boundary,
            body,
            seen: false,
            closed: false,
            takes_longer: false,
            has_longer: Cell::new(false),
            is_digest,
            stray,
            outside: None,
            others,
        }
    }

    /// What a header section says, by most readers and by others.
    fn declared(&self, header: &HeaderScan<'_>, in_digest: bool) -> Result<(Declared, Node, Vec<Other>), MessageFault> {
        let mut others = Vec::new();
        let mut readings = declare(&header.fields, in_digest)?.into_iter();
        let (declared, node) = readings.next().unwrap_or_else(|| (Declared::text(), Node::Leaf));
        others.extend(readings.map(|(declared, node)| Other { declared, node, body: header.body }));
        if let Some((body, fields)) = &header.stray {
            let before = declare(fields, in_digest)?.into_iter();
            // Text as it stands is a stray of the part already.
            let telling = before.filter(|(other, node)| !other.encoding.is_plain() || *node != Node::Leaf);
            others.extend(telling.map(|(declared, node)| Other { declared, node, body: *body }));
        }
        Ok((declared, node, others))
    }

    fn push(&mut self, parent: Option<u32>, declared: Declared) -> Result<u32, MessageFault> {
        if self.count >= self.limits.mime_parts {
            return Err(MessageFault::TooManyParts(self.limits.mime_parts));
        }
        self.count += 1;
        // The cap on parts is far below.
        let index = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        self.parts.push(Part::new(parent, declared, self.budget));
        Ok(index)
    }

    fn end_leaf(&mut self, leaf: Option<Leaf>, bytes: &Bytes, end: usize, frame: Frame) -> Result<(), MessageFault> {
        let Some(leaf) = leaf else { return Ok(()) };
        let depth = frame.depth + self.depth_of(leaf.part, frame.parent);
        let part = &mut self.parts[leaf.part as usize];
        let encoded = bytes.slice(leaf.body..end.max(leaf.body));
        part.encoded = Some(encoded.clone());
        part.strays.extend(leaf.stray.map(|from| bytes.slice(from..end.max(from))));
        let (parent, declared) = (part.parent, part.declared.clone());
        let reading = |declared, node, bytes| Reading {
            parent,
            declared,
            node,
            bytes,
            depth,
            encoded: frame.encoded,
            takes_longer: false,
        };
        for encoding in transfer::other_encodings(&declared, &encoded) {
            let declared = Declared { encoding, ..declared.clone() };
            self.readings.push_back(reading(declared, Node::Leaf, encoded.clone()));
        }
        for other in leaf.others {
            self.readings.push_back(reading(other.declared, other.node, bytes.slice(other.body..end.max(other.body))));
        }
        if !leaf.is_message {
            return Ok(());
        }
        if readings::looks_like_message(&encoded) {
            // To those who do not expect it to be encoded.
            let plain = Declared { encoding: Encoding::Identity, ..declared };
            self.readings.push_back(reading(plain, Node::Message, encoded));
        }
        if frame.encoded >= ENCODED_DEPTH {
            return Err(MessageFault::TooDeep(self.limits.mime_depth));
        }
        let decoded = self.parts[leaf.part as usize].body()?;
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
    fn end_level(&mut self, level: Level, bytes: &Bytes, end: usize, frame: Frame) -> Result<(), MessageFault> {
        let depth = frame.depth + self.depth_of(level.part, frame.parent);
        let part = &mut self.parts[level.part as usize];
        let content = bytes.slice(level.body..end.max(level.body));
        part.strays.extend(level.stray.map(|from| bytes.slice(from..end.max(from))));
        let (parent, declared) = (part.parent, part.declared.clone());
        let reading = |declared, node, bytes, takes_longer| Reading {
            parent,
            declared,
            node,
            bytes,
            depth,
            encoded: frame.encoded,
            takes_longer,
        };
        for other in level.others {
            let body = bytes.slice(other.body..end.max(other.body));
            self.searched += body.len();
            if self.searched / SEARCHES > self.size {
                return Err(MessageFault::TooAmbiguous(READINGS));
            }
            if !readings::is_pointless(&other.node, &body) {
                self.readings.push_back(reading(other.declared, other.node, body, false));
            }
        }
        let Some(boundary) = level.boundary else {
            part.encoded = Some(content);
            return Ok(());
        };
        if !level.seen {
            part.encoded = Some(content.clone());
            part.declared.text = Some(TextKind::Plain);
        }
        let node = Node::Multipart(vec![boundary]);
        if level.has_longer.get() && !level.takes_longer {
            self.readings.push_back(reading(declared.clone(), node.clone(), content.clone(), true));
        }
        if !declared.encoding.is_plain() {
            if frame.encoded >= ENCODED_DEPTH {
                return Err(MessageFault::TooDeep(self.limits.mime_depth));
            }
            // RFC 2045 section 6.4 forbids it; some decode it nevertheless.
            let decoded = transfer::decoded(declared.encoding, &content, self.budget)?;
            if !readings::is_pointless(&node, &decoded) {
                let plain = Declared { encoding: Encoding::Identity, ..declared };
                let mut reading = reading(plain, node, decoded, false);
                reading.encoded += 1;
                self.readings.push_back(reading);
            }
        }
        Ok(())
    }

    /// Takes another reading of a part: as a further part.
    fn read(&mut self, reading: Reading) -> Result<(), MessageFault> {
        let Reading { parent, declared, node, bytes, depth, encoded, takes_longer } = reading;
        let is_encoded = !declared.encoding.is_plain();
        let part = self.push(parent, declared)?;
        // Of leaves there are no more than parts, a few of each.
        self.count -= usize::from(node == Node::Leaf);
        self.parts[part as usize].origin = Origin::Reading;
        let frame = Frame { parent: Some(part), depth, encoded };
        let is_message = node == Node::Message;
        if let Node::Multipart(boundaries) = node
            && let Some(boundary) = boundaries.into_iter().next()
        {
            let mut level = self.level(part, Some(boundary), 0, None, Vec::new());
            level.takes_longer = takes_longer;
            // Its frame is that of the part itself.
            let frame = Frame { parent, ..frame };
            return self.run(&bytes, None, 0, vec![level], frame);
        }
        self.parts[part as usize].encoded = Some(bytes.clone());
        if !is_message {
            return Ok(());
        }
        self.parts[part as usize].declared.text = None;
        if !is_encoded {
            return self.message(&bytes, frame);
        }
        if encoded >= ENCODED_DEPTH {
            return Err(MessageFault::TooDeep(self.limits.mime_depth));
        }
        let decoded = self.parts[part as usize].body()?;
        self.message(&decoded, Frame { encoded: encoded + 1, ..frame })
    }
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
            scan.stray.get_or_insert_with(|| (line, scan.fields.clone()));
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
        scan.fields.add(&content[..name], value);
        line = end;
    }
    Ok(scan)
}
