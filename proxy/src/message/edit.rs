//! Edits of header section and body: in order, all or none.

use bytes::Bytes;
use memchr::{memchr_iter, memchr2_iter, memrchr};

use crate::verdict::Edit;

use super::{
    StoreError,
    accumulator::Accumulator,
    budget::Budget,
    header::{HeaderSection, is_field_name},
};

/// The longest line of a message, CRLF excluded (RFC 5322 section 2.1.1).
const LINE_LENGTH: usize = 998;

/// An edit that cannot be applied. Then none of them is.
#[derive(Debug, Clone, thiserror::Error)]
#[error("edit {index}: {reason}")]
pub struct EditError {
    /// Which of the edits, from 0.
    pub index: usize,
    /// Why.
    pub reason: EditFault,
}

/// Why an edit cannot be applied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EditFault {
    /// The filter's fault: the name is not one of a field (RFC 5322 section 2.2).
    #[error("{0:?} is not a field name")]
    Name(String),
    /// The filter's fault: a NUL, a bare CR or LF, or a CRLF that is not followed by white space and something else.
    #[error("the value of {0} has a NUL, a bare CR or LF, or a line that is not a folded one")]
    Value(String),
    /// The filter's fault: a line over 998 bytes without white space at which to fold it.
    #[error("a line of {0} is longer than {LINE_LENGTH} bytes and cannot be folded")]
    Line(String),
    /// The filter's fault: there is no such field.
    #[error("there is no field {name} number {occurrence}")]
    NoSuchField {
        /// The name asked for.
        name: String,
        /// Which of that name, from 0.
        occurrence: usize,
    },
    /// The filter's fault: the new body has a NUL, a bare CR or a bare LF.
    #[error("the new body has a NUL, a bare CR or a bare LF")]
    Body,
    /// Nobody's fault: no room for the new bytes.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the edits made.
pub(super) struct Change {
    pub(super) header: Bytes,
    pub(super) body: Option<Bytes>,
    /// Whether the MIME structure may be another one now.
    pub(super) touches_mime: bool,
}

/// A field of the list being edited: one that was there, or one that an edit made.
enum Entry<'a> {
    Old(&'a [u8]),
    New(Vec<u8>),
}

impl Entry<'_> {
    fn raw(&self) -> &[u8] {
        match self {
            Self::Old(raw) => raw,
            Self::New(raw) => raw,
        }
    }

    fn name(&self) -> &[u8] {
        let raw = self.raw();
        let colon = memchr::memchr(b':', raw).unwrap_or(raw.len());
        raw[..colon].trim_ascii_end()
    }
}

/// Applies them to a header section; none when they all concern the envelope.
pub(super) fn apply(header: &HeaderSection, edits: &[Edit], budget: &Budget) -> Result<Option<Change>, EditError> {
    let mut entries: Vec<Entry<'_>> = match edits {
        // What stands below a field on top need not be looked at, and every message gets one from us.
        [Edit::InsertHeader { position: 0, .. }] if !header.raw().is_empty() => vec![Entry::Old(header.raw())],
        _ => header.fields().map(|field| Entry::Old(field.raw())).collect(),
    };
    let mut body = None;
    let mut touches_mime = false;
    let mut any = false;
    for (index, edit) in edits.iter().enumerate() {
        let fail = |reason| EditError { index, reason };
        let name = match edit {
            Edit::ReplaceBody(bytes) => {
                body = Some(new_body(bytes, budget).map_err(fail)?);
                (any, touches_mime) = (true, true);
                continue;
            }
            Edit::AddRecipient(_) | Edit::RemoveRecipient(_) | Edit::ChangeSender(_) => continue,
            Edit::AddHeader { name, value } => {
                entries.push(Entry::New(field(name, value).map_err(fail)?));
                name
            }
            Edit::InsertHeader { position, name, value } => {
                let at = entries.len().min(*position);
                entries.insert(at, Entry::New(field(name, value).map_err(fail)?));
                name
            }
            Edit::RemoveHeader { name, occurrence } => {
                entries.remove(find(&entries, name, *occurrence).map_err(fail)?);
                name
            }
            Edit::ReplaceHeader { name, occurrence, value } => {
                let at = find(&entries, name, *occurrence).map_err(fail)?;
                let as_written = String::from_utf8_lossy(entries[at].name()).into_owned();
                entries[at] = Entry::New(field(&as_written, value).map_err(fail)?);
                name
            }
        };
        any = true;
        touches_mime |= is_mime_field(name);
    }
    if !any {
        return Ok(None);
    }
    let header = join(&entries, budget)
        .map_err(|error| EditError { index: edits.len().saturating_sub(1), reason: error.into() })?;
    Ok(Some(Change { header, body, touches_mime }))
}

fn is_mime_field(name: &str) -> bool {
    let is_of_content = name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("content-"));
    is_of_content || name.eq_ignore_ascii_case("mime-version")
}

fn find(entries: &[Entry<'_>], name: &str, occurrence: usize) -> Result<usize, EditFault> {
    entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.name().eq_ignore_ascii_case(name.as_bytes()))
        .nth(occurrence)
        .map(|(at, _)| at)
        .ok_or_else(|| EditFault::NoSuchField { name: name.to_owned(), occurrence })
}

fn join(entries: &[Entry<'_>], budget: &Budget) -> Result<Bytes, StoreError> {
    let length: usize = entries.iter().map(|entry| entry.raw().len()).sum();
    let mut block = Accumulator::with_capacity(budget, length as u64);
    for entry in entries {
        block.push(entry.raw())?;
        // The last field of a message that came by BDAT may have no line end.
        if !entry.raw().ends_with(b"\n") {
            block.push(b"\r\n")?;
        }
    }
    block.finish()
}

fn new_body(bytes: &[u8], budget: &Budget) -> Result<Bytes, EditFault> {
    if !has_clean_lines(bytes) {
        return Err(EditFault::Body);
    }
    let mut body = Accumulator::with_capacity(budget, bytes.len() as u64);
    body.push(bytes)?;
    Ok(body.finish()?)
}

/// No NUL, and CR and LF only together: anything else could be a message end, or a header end, to some server.
fn has_clean_lines(bytes: &[u8]) -> bool {
    let paired = memchr2_iter(b'\r', b'\n', bytes).all(|at| match bytes[at] {
        b'\r' => bytes.get(at + 1) == Some(&b'\n'),
        _ => at > 0 && bytes[at - 1] == b'\r',
    });
    paired && memchr::memchr(0, bytes).is_none()
}

/// `name: value` with its CRLF, folded where it has to be.
fn field(name: &str, value: &[u8]) -> Result<Vec<u8>, EditFault> {
    if !is_field_name(name.as_bytes()) {
        return Err(EditFault::Name(name.to_owned()));
    }
    if !has_clean_lines(value) {
        return Err(EditFault::Value(name.to_owned()));
    }
    let mut raw = Vec::with_capacity(name.len() + value.len() + 4);
    raw.extend_from_slice(name.as_bytes());
    raw.push(b':');
    if !matches!(value, [] | [b' ' | b'\t' | b'\r', ..]) {
        raw.push(b' ');
    }
    let mut begins = 0;
    let mut lines = memchr_iter(b'\n', value).chain([value.len()]).map(|ends| {
        let line = &value[std::mem::replace(&mut begins, ends + 1)..ends];
        line.strip_suffix(b"\r").unwrap_or(line)
    });
    push_folded(&mut raw, lines.next().unwrap_or_default(), name)?;
    for line in lines {
        // A folded line of white space alone is the end of the header section to some parsers.
        if !matches!(line, [b' ' | b'\t', ..]) || line.trim_ascii().is_empty() {
            return Err(EditFault::Value(name.to_owned()));
        }
        push_folded(&mut raw, line, name)?;
    }
    Ok(raw)
}

/// Appends a line and its CRLF to what begins the line, with folds so that no line is too long.
fn push_folded(raw: &mut Vec<u8>, line: &[u8], name: &str) -> Result<(), EditFault> {
    let mut begun = raw.len() - memrchr(b'\n', raw).map_or(0, |newline| newline + 1);
    let mut rest = line;
    while begun + rest.len() > LINE_LENGTH {
        let is_blank = |byte: u8| byte == b' ' || byte == b'\t';
        let fits = &rest[..LINE_LENGTH - begun];
        // Something other than white space has to stand on both sides of a fold.
        let fold = (1..fits.len())
            .rev()
            .find(|&at| is_blank(fits[at]) && !is_blank(fits[at - 1]))
            .filter(|&at| !rest[..at].trim_ascii().is_empty() && !rest[at..].trim_ascii().is_empty());
        let Some(fold) = fold else { return Err(EditFault::Line(name.to_owned())) };
        raw.extend_from_slice(&rest[..fold]);
        raw.extend_from_slice(b"\r\n");
        rest = &rest[fold..];
        begun = 0;
    }
    raw.extend_from_slice(rest);
    raw.extend_from_slice(b"\r\n");
    Ok(())
}
