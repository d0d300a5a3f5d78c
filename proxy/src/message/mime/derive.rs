//! Parts within parts: what archives hold, and files that are uuencoded in text. They come after the parts that stand in
//! the message, each with the part that it was unpacked from as its parent, and are looked into in their turn.

use bytes::Bytes;

use super::{
    Mark, Origin, Part,
    fields::{Declared, TextKind},
    kinds,
    split::{self, Frame},
    transfer::{self, Encoding},
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
        let Some(wrapping) = wrapping(&parts[index])? else { continue };
        let allowance = allowance.get_or_insert_with(|| Allowance::new(budget, limits.decoding, size));
        let mut found = Vec::new();
        let depth = parts[index].depth;
        let outcome = allowance.depth(depth).and_then(|()| {
            let part = &parts[index];
            let body = part.body()?;
            blocking(|| match wrapping {
                Wrapping::Archive(kind) => decode::unpack(kind, &body, part.name(), allowance, &mut found),
                Wrapping::Uuencoded => [&body]
                    .into_iter()
                    .chain(&part.strays)
                    .try_for_each(|text| decode::unpack_uuencoded(text, allowance, &mut found)),
            })
        });
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

enum Wrapping {
    Archive(Kind),
    Uuencoded,
}

/// How a part wraps others, if it does. Little of it is decoded to find out.
fn wrapping(part: &Part) -> Result<Option<Wrapping>, MessageFault> {
    let may_hold_uuencoded = |text: &Bytes| memchr::memmem::find(text, b"begin").is_some();
    if part.strays.iter().any(may_hold_uuencoded) {
        return Ok(Some(Wrapping::Uuencoded));
    }
    let Some(encoded) = part.encoded.as_ref().filter(|encoded| !encoded.is_empty()) else { return Ok(None) };
    if part.state.is_some_and(|state| matches!(state, State::Encrypted | State::Unsupported)) {
        return Ok(None);
    }
    let head = head(part.declared.encoding, encoded)?;
    if let Some(kind) = decode::kind(&head) {
        return Ok(Some(Wrapping::Archive(kind)));
    }
    if part.is_text() {
        let body = part.body()?;
        return Ok(may_hold_uuencoded(&body).then_some(Wrapping::Uuencoded));
    }
    if kinds::may_hide_archive(part.content_type(), part.name()) && decode::ends_as_zip(&part.body()?) {
        return Ok(Some(Wrapping::Archive(Kind::Zip)));
    }
    Ok(None)
}

/// The first bytes of a part, decoded.
fn head(encoding: Encoding, encoded: &Bytes) -> Result<Bytes, MessageFault> {
    if encoding.is_plain() {
        return Ok(encoded.slice(..encoded.len().min(HEAD)));
    }
    let mut decoded = Vec::new();
    // Encodings make three bytes of one at worst, and there may be line breaks and junk.
    let some = &encoded[..encoded.len().min(HEAD * 8)];
    transfer::decode(encoding, some, &mut |bytes| {
        decoded.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok(decoded.into())
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
    let text = if !is_readable {
        None
    } else if is_package && kinds::is_xml(&content_type) {
        Some(TextKind::Xml)
    } else {
        kinds::text_kind(&content_type, name.as_deref()).or_else(|| kinds::sniff(&bytes).then_some(TextKind::Plain))
    };
    let is_message = is_readable && content_type == "message/rfc822";
    let parent = u32::try_from(parent).unwrap_or(u32::MAX);
    let declared = Declared::attachment(content_type, name, text.filter(|_| !is_message));
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
    let frame = Frame { parent: Some(index), depth: 1, encoded: 0 };
    let begin = parts.len();
    let is_ambiguous = split::split(&bytes, frame, parts, budget, limits)?;
    for part in &mut parts[begin..] {
        part.depth = depth;
        part.origin = Origin::Unpacked;
    }
    Ok(is_ambiguous)
}
