//! The tree of MIME parts (RFC 2045 to 2049, RFC 2231), decoded as a mail client would.
//!
//! Where the parts lie is found by a splitter of our own, in one pass over the lines, with the caps checked as parts
//! appear; mail-parser reads their fields and decodes charsets. (mail-parser's own splitter takes a boundary for found
//! wherever its bytes stand, even in the middle of a line or as the beginning of a longer boundary, gives up on base64
//! at the first stray byte, and reads to the end of the message again for each boundary that is missing: an attacker
//! could hide text from it, and keep it busy.) Where clients are known to differ, text is rather shown twice than not
//! at all: see [`Origin::Reading`] and [`Part::strays`].
//!
//! Parts share the message's bytes. Transfer encodings and charsets are decoded when somebody asks, and once.

mod split;
mod delimiter;
mod readings;
mod fields;
mod kinds;
mod transfer;
mod charset;
mod derive;

use std::{cmp::Reverse, sync::OnceLock};

use bytes::Bytes;

use self::{
    fields::{Declared, TextKind},
    split::Frame,
};
use super::{
    MessageFault, MessageLimits, StoreError,
    accumulator::Accumulator,
    budget::{Budget, Permit},
    decode::State,
    html,
    url::UrlList,
};

pub use charset::Text;
pub(super) use transfer::base64 as decode_base64;

/// How a part wants to be shown (RFC 2183).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// As part of the message.
    Inline,
    /// As a file.
    Attachment,
}

/// Where a part comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It stands in the message.
    Message,
    /// It is what some clients make of a part before it, of which others make something else.
    Reading,
    /// It was unpacked from the part that is its parent.
    Unpacked,
}

/// That not all of a message could be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A file is damaged: what comes after the damage was not seen.
    Damaged,
    /// A file needs a password.
    Encrypted,
    /// A file is packed in a way that is not known here.
    Unsupported,
    /// Clients differ on what the parts are; each reading is given.
    Ambiguous,
    /// The caps on decoding were reached, and the configuration lets the message go on.
    Excess,
}

impl Mark {
    fn of(state: State) -> Self {
        match state {
            State::Encrypted => Self::Encrypted,
            State::Unsupported => Self::Unsupported,
            State::Whole | State::Damaged => Self::Damaged,
        }
    }

    /// The word in tags and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::Encrypted => "encrypted",
            Self::Unsupported => "unsupported",
            Self::Ambiguous => "ambiguous",
            Self::Excess => "excess",
        }
    }
}

/// The MIME parts of a message, in the order in which they stand in it, and after them what was unpacked of them. The
/// message itself is the first.
#[derive(Debug)]
pub struct Mime {
    parts: Vec<Part>,
    marks: Vec<Mark>,
    unpacked: u64,
    _permit: Option<Permit>,
    /// URLs in the parts, kept here so that messages that share the parts share them.
    pub(super) urls: OnceLock<Result<UrlList, StoreError>>,
}

/// A MIME part: a leaf, a multipart, or an attached message.
#[derive(Debug)]
pub struct Part {
    parent: Option<u32>,
    declared: Declared,
    /// None of a multipart whose parts follow.
    encoded: Option<Bytes>,
    strays: Vec<Bytes>,
    origin: Origin,
    /// Archives around it.
    depth: usize,
    /// How well it could be unpacked; none of a part that stands in the message.
    state: Option<State>,
    budget: Budget,
    body: OnceLock<Result<Bytes, StoreError>>,
    size: OnceLock<u64>,
    text: OnceLock<Result<Text, StoreError>>,
    visible: OnceLock<Result<Text, StoreError>>,
}

impl Mime {
    /// The parts, multiparts included.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// What could not be unpacked, each kind once.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// Bytes of the parts that were unpacked from others.
    pub fn unpacked(&self) -> u64 {
        self.unpacked
    }

    /// What some clients show beside parts or in their place, with the parts' indices; not what stands within that of
    /// another part, or parts within parts would have the same text looked at once for each.
    pub(super) fn strays(&self) -> impl Iterator<Item = Result<(u32, Text), StoreError>> {
        let strays = self.indexed().flat_map(|(index, part)| part.strays.iter().map(move |bytes| (index, part, bytes)));
        let strays: Vec<_> = strays.collect();
        let mut order: Vec<usize> = (0..strays.len()).collect();
        let place = |at: usize| strays[at].2.as_ptr_range();
        // Of those that begin at one place, the longest comes first.
        order.sort_by_key(|&at| (place(at).start, Reverse(place(at).end)));
        let mut reached = None;
        order.retain(|&at| {
            let is_within = reached.is_some_and(|end| place(at).end <= end);
            reached = reached.max(Some(place(at).end));
            !is_within
        });
        order.sort_unstable();
        order.into_iter().map(move |at| {
            let (index, part, bytes) = strays[at];
            part.stray_text(bytes).map(|text| (index, text))
        })
    }

    /// The parts with their indices.
    pub(super) fn indexed(&self) -> impl Iterator<Item = (u32, &Part)> {
        (0u32..).zip(&self.parts)
    }
}

impl Part {
    fn new(parent: Option<u32>, declared: Declared, budget: &Budget) -> Self {
        Self {
            parent,
            declared,
            encoded: None,
            strays: Vec::new(),
            origin: Origin::Message,
            depth: 0,
            state: None,
            budget: budget.clone(),
            body: OnceLock::new(),
            size: OnceLock::new(),
            text: OnceLock::new(),
            visible: OnceLock::new(),
        }
    }

    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether it is a file of an archive or the like, which are counted by themselves.
    fn is_entry(&self) -> bool {
        self.state.is_some()
    }

    /// The index of the enclosing multipart or message part, or of the part that it was unpacked from; none for the
    /// message itself.
    pub fn parent(&self) -> Option<u32> {
        self.parent
    }

    /// Lower case, such as "text/html"; "text/plain" where nothing usable is declared.
    pub fn content_type(&self) -> &str {
        &self.declared.content_type
    }

    /// The charset as declared.
    pub fn charset(&self) -> Option<&str> {
        self.declared.charset.as_deref()
    }

    /// The file name, decoded (RFC 2231, RFC 2047).
    pub fn name(&self) -> Option<&str> {
        self.declared.name.as_deref()
    }

    /// How it wants to be shown.
    pub fn disposition(&self) -> Disposition {
        self.declared.disposition
    }

    /// Whether [`Part::text`] gives its text.
    pub fn is_text(&self) -> bool {
        self.encoded.is_some() && self.declared.text.is_some()
    }

    /// Whether that text is HTML.
    pub fn is_html(&self) -> bool {
        self.encoded.is_some() && self.declared.text == Some(TextKind::Html)
    }

    /// Whether that text is XML of an office document.
    pub(super) fn is_xml(&self) -> bool {
        self.encoded.is_some() && self.declared.text == Some(TextKind::Xml)
    }

    /// Bytes after the transfer encoding is decoded; 0 for a multipart.
    pub fn size(&self) -> u64 {
        let Some(encoded) = &self.encoded else { return 0 };
        if let Some(Ok(body)) = self.body.get() {
            return body.len() as u64;
        }
        *self.size.get_or_init(|| transfer::decoded_length(self.declared.encoding, encoded))
    }

    /// The bytes after the transfer encoding is decoded, as well as it can be; none of a multipart. Shared with the
    /// message where nothing is encoded.
    pub fn body(&self) -> Result<Bytes, StoreError> {
        let decode = || {
            let Some(encoded) = &self.encoded else { return Ok(Bytes::new()) };
            if self.declared.encoding.is_plain() {
                return Ok(encoded.clone());
            }
            let room = match self.size.get() {
                Some(&size) => size,
                None => transfer::room_for_decoded(self.declared.encoding, encoded),
            };
            let mut decoded = Accumulator::with_capacity(&self.budget, room);
            transfer::decode(self.declared.encoding, encoded, &mut |bytes| decoded.push(bytes))?;
            decoded.finish()
        };
        self.body.get_or_init(decode).clone()
    }

    /// Whether its body is something that does not stand in the message as it is, or that not everybody finds there.
    pub fn is_decoded(&self) -> bool {
        let is_plain = self.origin == Origin::Message && self.declared.encoding.is_plain();
        self.encoded.is_some() && (!is_plain || (!self.says_text() && !self.is_message()))
    }

    /// Whether type or name say that it is text, which it may be nevertheless.
    fn says_text(&self) -> bool {
        kinds::text_kind(self.content_type(), self.name()).is_some()
    }

    fn is_message(&self) -> bool {
        self.declared.content_type.starts_with("message/")
    }

    /// The text of a text part or text attachment, in UTF-8; HTML stays HTML.
    pub fn text(&self) -> Result<Option<Text>, StoreError> {
        if !self.is_text() {
            return Ok(None);
        }
        let decode = || charset::decode(&self.body()?, self.charset(), self.is_html(), &self.budget);
        self.text.get_or_init(decode).clone().map(Some)
    }

    /// The text as a reader sees it: HTML without its markup.
    pub fn visible_text(&self) -> Result<Option<Text>, StoreError> {
        let Some(text) = self.text()? else { return Ok(None) };
        let show = match self.declared.text {
            Some(TextKind::Html) => html::visible_text,
            Some(TextKind::Xml) => html::document_text,
            Some(TextKind::Plain) | None => return Ok(Some(text)),
        };
        self.visible.get_or_init(|| show(text.as_str(), &self.budget)).clone().map(Some)
    }

    /// The text of a part whose charset is one of wide characters, though its bytes look like anything but those.
    pub(super) fn narrow_text(&self) -> Result<Option<Text>, StoreError> {
        if !self.is_text() || !self.charset().is_some_and(charset::is_wide) {
            return Ok(None);
        }
        let body = self.body()?;
        let is_narrow = memchr::memchr(0, &body).is_none() && std::str::from_utf8(&body).is_ok();
        Ok(is_narrow.then(|| Text::lossy(body)))
    }

    /// What some clients show beside the part or in its place: everything from the first line in its header section that
    /// is no field; and the text before the first part of a multipart, and after its last.
    pub fn strays(&self) -> impl Iterator<Item = Result<Text, StoreError>> {
        self.strays.iter().map(|bytes| self.stray_text(bytes))
    }

    fn stray_text(&self, bytes: &Bytes) -> Result<Text, StoreError> {
        charset::decode(bytes, Some("utf-8"), false, &self.budget)
    }
}

/// Finds the parts of a whole message.
pub(super) fn parse(whole: &Bytes, budget: &Budget, limits: &MessageLimits) -> Result<Mime, MessageFault> {
    let mut parts = Vec::new();
    let frame = Frame { parent: None, depth: 0, encoded: 0 };
    let is_ambiguous = split::split(whole, frame, &mut parts, budget, limits)?;
    let derived = derive::derive(&mut parts, whole.len() as u64, budget, limits)?;
    let derive::Derived { mut marks, permit, size } = derived;
    marks.extend(is_ambiguous.then_some(Mark::Ambiguous));
    Ok(Mime { parts, marks, unpacked: size, _permit: permit, urls: OnceLock::new() })
}
