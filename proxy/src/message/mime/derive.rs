//! Parts within parts: what archives hold, and files that are uuencoded in text. They come after the parts that stand in
//! the message, each with the part that it was unpacked from as its parent, and are looked into in their turn.

use bytes::Bytes;

use super::{
    Mark, Origin, Part,
    fields::{self, Declared, TextKind},
    kinds,
    split::{self, Frame},
    transfer,
};
use crate::{
    config::Excess,
    message::{
        MessageFault, MessageLimits,
        budget::{Budget, Permit},
        decode::{self, Allowance, Found, HEAD, Kind, State, Stop},
        spill::blocking,
    },
};

/// What came of it, beside parts.
#[derive(Debug, Default)]
pub(super) struct Derived {
    pub(super) marks: Vec<Mark>,
    pub(super) permit: Option<Permit>,
    /// Bytes of the parts that were unpacked.
    pub(super) size: u64,
}

impl Derived {
    fn mark(&mut self, mark: Mark) {
        if !self.marks.contains(&mark) {
            self.marks.push(mark);
        }
    }
}

/// Unpacks what can be unpacked, and appends it.
pub(super) fn derive(
    parts: &mut Vec<Part>,
    size: u64,
    budget: &Budget,
    limits: &MessageLimits,
) -> Result<Derived, MessageFault> {
    let mut derived = Derived::default();
    let mut allowance = None;
    let mut at = 0;
    while at < parts.len() {
        let index = at;
        at += 1;
        let head = head(&parts[index])?;
        let is_message = classify(&mut parts[index], &head);
        let wrappings = wrappings(&parts[index], &head)?;
        if wrappings.is_empty() && !is_message {
            continue;
        }
        let allowance = allowance.get_or_insert_with(|| Allowance::new(budget, limits.decoding, size));
        let mut outcome = allowance.depth(parts[index].depth);
        if is_message && outcome.is_ok() {
            let bytes = parts[index].body()?;
            if take_apart(parts, index, &bytes, parts[index].depth + 1, budget, limits)? {
                derived.mark(Mark::Ambiguous);
            }
        }
        for wrapping in wrappings {
            if outcome.is_err() {
                break;
            }
            let mut found = Vec::new();
            outcome = unwrap(&parts[index], wrapping, allowance, &mut found);
            let is_package = found.iter().any(|entry| entry.name.as_deref().is_some_and(kinds::marks_package));
            for entry in found {
                derived.size += entry.bytes.len() as u64;
                if entry.state != State::Whole {
                    derived.mark(Mark::of(entry.state));
                }
                if append(parts, index, entry, is_package, budget, limits)? {
                    derived.mark(Mark::Ambiguous);
                }
            }
        }
        match outcome {
            Ok(()) => {}
            Err(Stop::Store(error)) => return Err(error.into()),
            Err(stop) if limits.decoding.excess == Excess::Reject => {
                return Err(MessageFault::Decoding(stop.to_string()));
            }
            Err(_) => {
                derived.mark(Mark::Excess);
                break;
            }
        }
    }
    derived.permit = allowance.and_then(Allowance::into_permit);
    Ok(derived)
}

/// A way in which a part wraps others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrapping {
    Archive(Kind),
    Uuencoded,
}

/// Unpacks a part in one way; what was found before an error stays found.
fn unwrap(part: &Part, wrapping: Wrapping, allowance: &mut Allowance, found: &mut Vec<Found>) -> Result<(), Stop> {
    let body = part.body()?;
    blocking(|| match wrapping {
        Wrapping::Archive(kind) => decode::unpack(kind, &body, part.name(), allowance, found),
        Wrapping::Uuencoded => {
            let body = Some(&body).filter(|_| part.is_text());
            let mut texts = body.into_iter().chain(&part.strays);
            texts.try_for_each(|text| decode::unpack_uuencoded(text, allowance, found))
        }
    })
}

/// Every way in which a part wraps others, none of which rules out another. Little of it is decoded to find out.
fn wrappings(part: &Part, head: &[u8]) -> Result<Vec<Wrapping>, MessageFault> {
    let mut wrappings = Vec::new();
    if !head.is_empty() {
        wrappings.extend(archives(part, head)?.into_iter().map(Wrapping::Archive));
    }
    let may_hold_uuencoded = |text: &Bytes| memchr::memmem::find(text, b"begin").is_some();
    if part.strays.iter().any(may_hold_uuencoded) || (part.is_text() && may_hold_uuencoded(&part.body()?)) {
        wrappings.push(Wrapping::Uuencoded);
    }
    Ok(wrappings)
}

/// What kinds of archive a file can be opened as.
fn archives(part: &Part, head: &[u8]) -> Result<Vec<Kind>, MessageFault> {
    let mut archives: Vec<Kind> = decode::kinds(head).collect();
    if archives.contains(&Kind::Zip) {
        return Ok(archives);
    }
    let may_be_zip = match archives.first() {
        // The end of a zip within it is no wonder. Programs go by a file's name first.
        Some(&kind) => !kinds::names_archive(part.name(), kind),
        None => part.is_text() || kinds::may_hide_archive(part.content_type(), part.name()),
    };
    if may_be_zip && decode::ends_as_zip(&part.body()?) {
        archives.push(Kind::Zip);
    }
    Ok(archives)
}

/// The first bytes of a part, decoded, if there is anything in it that can be read.
fn head(part: &Part) -> Result<Bytes, MessageFault> {
    let Some(encoded) = &part.encoded else { return Ok(Bytes::new()) };
    if part.state.is_some_and(|state| matches!(state, State::Encrypted | State::Unsupported)) {
        return Ok(Bytes::new());
    }
    Ok(transfer::head(part.declared.encoding, encoded, HEAD.max(kinds::SNIFFED))?)
}

/// Looks at a file that stands in the message as at one in an archive: it may be text, whatever its type says. Whether
/// it is a message that was not taken apart yet.
fn classify(part: &mut Part, head: &[u8]) -> bool {
    if part.state.is_some() || head.is_empty() {
        return false;
    }
    let class = kinds::classify(part.content_type(), part.name(), head);
    let was_taken_apart = fields::is_message(part.content_type());
    let is_message = class.is_message && !was_taken_apart;
    if part.declared.text.is_none() && !class.is_message {
        part.declared.text = class.text;
    }
    is_message
}

/// Makes a part of what was found; an attached message is taken apart. Whether that can be done in several ways.
fn append(
    parts: &mut Vec<Part>,
    parent: usize,
    found: Found,
    is_package: bool,
    budget: &Budget,
    limits: &MessageLimits,
) -> Result<bool, MessageFault> {
    let depth = parts[parent].depth + 1;
    let Found { name, media_type, bytes, state } = found;
    let content_type = media_type.unwrap_or_else(|| {
        let known = match state {
            State::Encrypted => kinds::ENCRYPTED,
            State::Unsupported => kinds::UNSUPPORTED,
            State::Whole | State::Damaged => name.as_deref().map_or(kinds::UNKNOWN, kinds::by_name),
        };
        known.to_owned()
    });
    let is_readable = matches!(state, State::Whole | State::Damaged);
    let class = kinds::classify(&content_type, name.as_deref(), &bytes);
    let is_message = is_readable && class.is_message;
    let text = match is_package && kinds::is_xml(&content_type) {
        true => Some(TextKind::Xml),
        false => class.text,
    };
    let parent = u32::try_from(parent).unwrap_or(u32::MAX);
    let declared = Declared::attachment(content_type, name, text.filter(|_| is_readable && !is_message));
    let mut part = Part::new(Some(parent), declared, budget);
    part.encoded = Some(bytes.clone());
    part.origin = Origin::Unpacked;
    part.depth = depth;
    part.state = Some(state);
    let index = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    parts.push(part);
    if !is_message {
        return Ok(false);
    }
    take_apart(parts, index as usize, &bytes, depth, budget, limits)
}

/// Takes an attached message apart that is the part at `index`. Whether that can be done in several ways.
fn take_apart(
    parts: &mut Vec<Part>,
    index: usize,
    bytes: &Bytes,
    depth: usize,
    budget: &Budget,
    limits: &MessageLimits,
) -> Result<bool, MessageFault> {
    let frame = Frame { parent: u32::try_from(index).ok(), depth: 1, encoded: 0 };
    let begin = parts.len();
    let is_ambiguous = split::split(bytes, frame, parts, budget, limits)?;
    for part in &mut parts[begin..] {
        part.depth = depth;
        part.origin = Origin::Unpacked;
    }
    Ok(is_ambiguous)
}
