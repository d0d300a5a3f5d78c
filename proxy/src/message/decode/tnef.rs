//! TNEF (MS-OXTNEF), which Outlook sends as winmail.dat: the body in three forms, and the attachments.

use bytes::Bytes;

use super::{Allowance, Found, NAME, State, Stop, end_of_name, rtf, u16_at, u32_at};

const SIGNATURE: [u8; 4] = [0x78, 0x9f, 0x3e, 0x22];
/// Memory that an entry costs besides its name.
const ENTRY: usize = 512;
/// Bytes of text that are converted at once.
const BLOCK: usize = 16 * 1024;
/// Bytes of a name that are converted: the end of it is kept.
const NAME_READ: usize = 64 * 1024;

// Attributes (section 2.1.2).
const SUBJECT: u16 = 0x8004;
const BODY: u16 = 0x800c;
const ATTACH_DATA: u16 = 0x800f;
const ATTACH_TITLE: u16 = 0x8010;
const ATTACH_REND_DATA: u16 = 0x9002;
const MESSAGE_PROPERTIES: u16 = 0x9003;
const ATTACHMENT_PROPERTIES: u16 = 0x9005;

// Properties (MS-OXPROPS).
const P_SUBJECT: u16 = 0x0037;
const P_BODY: u16 = 0x1000;
const P_RTF_COMPRESSED: u16 = 0x1009;
const P_BODY_HTML: u16 = 0x1013;
const P_ATTACH_DATA: u16 = 0x3701;
const P_ATTACH_FILENAME: u16 = 0x3704;
const P_ATTACH_LONG_FILENAME: u16 = 0x3707;
const P_ATTACH_MIME_TAG: u16 = 0x370e;

// Types of properties.
const T_OBJECT: u16 = 0x000d;
const T_STRING8: u16 = 0x001e;
const T_UNICODE: u16 = 0x001f;
const T_BINARY: u16 = 0x0102;
const MULTIPLE: u16 = 0x1000;

pub(super) fn is_tnef(bytes: &[u8]) -> bool {
    bytes.starts_with(&SIGNATURE)
}

#[derive(Default)]
struct Attachment {
    title: Option<String>,
    long_name: Option<String>,
    media_type: Option<String>,
    data: Vec<Bytes>,
}

/// The body and the attachments.
pub(super) fn unpack(bytes: &Bytes, allowance: &mut Allowance, found: &mut Vec<Found>) -> Result<(), Stop> {
    let mut attachment = Attachment::default();
    let mut at = SIGNATURE.len() + 2;
    let mut state = State::Whole;
    while at < bytes.len() {
        let (Some(id), Some(length)) = (u16_at(bytes, at + 1), u32_at(bytes, at + 5)) else {
            state = State::Damaged;
            break;
        };
        let start = at + 9;
        let end = start.saturating_add(length as usize);
        let data = bytes.slice(start.min(bytes.len())..end.min(bytes.len()));
        match id {
            SUBJECT | BODY => text(&data, "text/plain", allowance, found)?,
            MESSAGE_PROPERTIES => {
                let mut properties = Properties::new(&data);
                while let Some(property) = properties.next(allowance)? {
                    body(&property, allowance, found)?;
                }
            }
            ATTACH_REND_DATA => std::mem::take(&mut attachment).finish(allowance, found)?,
            ATTACH_TITLE => attachment.title = Some(end_of_name(string8(head(&data)))),
            ATTACH_DATA => attachment.push(data, allowance)?,
            ATTACHMENT_PROPERTIES => {
                let mut properties = Properties::new(&data);
                while let Some(property) = properties.next(allowance)? {
                    attachment.take(property, allowance)?;
                }
            }
            _ => {}
        }
        if end > bytes.len() {
            state = State::Damaged;
            break;
        }
        // A checksum follows.
        at = end + 2;
    }
    attachment.finish(allowance, found)?;
    if state == State::Damaged {
        allowance.entry(ENTRY)?;
        found.push(Found { name: None, media_type: Some(UNKNOWN.to_owned()), bytes: Bytes::new(), state });
    }
    Ok(())
}

const UNKNOWN: &str = "application/octet-stream";

impl Attachment {
    /// Keeps data until the name is known.
    fn push(&mut self, data: Bytes, allowance: &Allowance) -> Result<(), Stop> {
        if !data.is_empty() {
            allowance.room(self.data.len() + 1)?;
            self.data.push(data);
        }
        Ok(())
    }

    fn take(&mut self, property: Property, allowance: &Allowance) -> Result<(), Stop> {
        match property.id {
            P_ATTACH_LONG_FILENAME => self.long_name = Some(property.name()),
            P_ATTACH_FILENAME => {
                let name = property.name();
                self.title.get_or_insert(name);
            }
            P_ATTACH_MIME_TAG => self.media_type = Some(property.media_type()),
            P_ATTACH_DATA => {
                // A message within begins after the id of its interface.
                let data = property.value;
                let inner = data.slice(data.len().min(16)..);
                return self.push(if property.kind == T_OBJECT && is_tnef(&inner) { inner } else { data }, allowance);
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self, allowance: &mut Allowance, found: &mut Vec<Found>) -> Result<(), Stop> {
        let name = self.long_name.or(self.title).filter(|name| !name.is_empty());
        // The name counts for more than what a sender says of the type.
        let media_type = self.media_type.filter(|_| name.is_none());
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let cost = ENTRY + length(&name) + length(&media_type);
        for bytes in self.data {
            allowance.entry(cost)?;
            allowance.content(bytes.len() as u64)?;
            found.push(Found { name: name.clone(), media_type: media_type.clone(), bytes, state: State::Whole });
        }
        Ok(())
    }
}

fn body(property: &Property, allowance: &mut Allowance, found: &mut Vec<Found>) -> Result<(), Stop> {
    match property.id {
        P_SUBJECT | P_BODY => converted(property, "text/plain", allowance, found),
        P_BODY_HTML if property.kind == T_BINARY => text(&property.value, "text/html", allowance, found),
        P_BODY_HTML => converted(property, "text/html", allowance, found),
        P_RTF_COMPRESSED => {
            allowance.entry(ENTRY)?;
            let (bytes, state) = rtf::decompress(&property.value, allowance)?;
            found.push(Found { name: None, media_type: Some("application/rtf".to_owned()), bytes, state });
            Ok(())
        }
        _ => Ok(()),
    }
}

fn text(bytes: &Bytes, media_type: &str, allowance: &mut Allowance, found: &mut Vec<Found>) -> Result<(), Stop> {
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    if end == 0 {
        return Ok(());
    }
    allowance.entry(ENTRY)?;
    allowance.content(end as u64)?;
    let media_type = Some(media_type.to_owned());
    found.push(Found { name: None, media_type, bytes: bytes.slice(..end), state: State::Whole });
    Ok(())
}

/// Text in a property, as UTF-8.
fn converted(
    property: &Property,
    media_type: &str,
    allowance: &mut Allowance,
    found: &mut Vec<Found>,
) -> Result<(), Stop> {
    let value = property.until_nul();
    if property.kind != T_UNICODE && std::str::from_utf8(&value).is_ok() {
        return text(&value, media_type, allowance, found);
    }
    if value.is_empty() {
        return Ok(());
    }
    allowance.entry(ENTRY)?;
    let mut output = allowance.output();
    let mut block = String::with_capacity(BLOCK + 4);
    for character in characters(property.kind, &value) {
        block.push(character);
        if block.len() >= BLOCK {
            allowance.content(block.len() as u64)?;
            output.push(block.as_bytes())?;
            block.clear();
        }
    }
    allowance.content(block.len() as u64)?;
    output.push(block.as_bytes())?;
    let media_type = Some(media_type.to_owned());
    found.push(Found { name: None, media_type, bytes: output.finish()?, state: State::Whole });
    Ok(())
}

/// UTF-16, or one character a byte.
fn characters(kind: u16, value: &[u8]) -> impl Iterator<Item = char> {
    let (wide, narrow): (&[u8], &[u8]) = if kind == T_UNICODE { (value, &[]) } else { (&[], value) };
    let units = wide.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let wide = char::decode_utf16(units).map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER));
    wide.chain(narrow.iter().copied().map(char::from))
}

/// What is looked at of a name.
fn head(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(NAME_READ)]
}

struct Property {
    id: u16,
    kind: u16,
    value: Bytes,
}

impl Property {
    /// The value of a string, without what comes after its end.
    fn until_nul(&self) -> Bytes {
        let end = if self.kind == T_UNICODE {
            self.value.chunks_exact(2).take_while(|pair| *pair != [0, 0]).count() * 2
        } else {
            memchr::memchr(0, &self.value).unwrap_or(self.value.len())
        };
        self.value.slice(..end)
    }

    /// A short text; `most` bytes of the value are looked at.
    fn text(&self, most: usize) -> String {
        let value = Self { value: self.value.slice(..self.value.len().min(most)), ..*self }.until_nul();
        if self.kind == T_UNICODE { characters(self.kind, &value).collect() } else { string8(&value) }
    }

    fn name(&self) -> String {
        end_of_name(self.text(NAME_READ))
    }

    fn media_type(&self) -> String {
        let mut text = self.text(2 * NAME);
        text.truncate(text.floor_char_boundary(NAME));
        text.make_ascii_lowercase();
        text.shrink_to_fit();
        text
    }
}

fn string8(bytes: &[u8]) -> String {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    match std::str::from_utf8(&bytes[..end]) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes[..end].iter().copied().map(char::from).collect(),
    }
}

/// The properties of a list, as far as it can be read (section 2.1.3.4), a value at a time. Those of fixed length are
/// passed over, and so are empty values.
struct Properties<'a> {
    bytes: &'a Bytes,
    at: usize,
    /// Properties that are still to come.
    left: u32,
    id: u16,
    kind: u16,
    /// Values that are still to come of this one.
    values: u32,
}

impl<'a> Properties<'a> {
    fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, at: 4, left: u32_at(bytes, 0).unwrap_or(0), id: 0, kind: 0, values: 0 }
    }

    fn next(&mut self, allowance: &mut Allowance) -> Result<Option<Property>, Stop> {
        loop {
            allowance.work(4)?;
            if self.values > 0 {
                self.values -= 1;
                let Some(value) = self.value() else { return Ok(None) };
                if !value.is_empty() {
                    return Ok(Some(Property { id: self.id, kind: self.kind, value }));
                }
            } else if self.left == 0 || self.at >= self.bytes.len() || self.open().is_none() {
                return Ok(None);
            }
        }
    }

    /// Reads what stands before the values of the next property. `None` at the end of what can be read.
    fn open(&mut self) -> Option<()> {
        self.left -= 1;
        let bytes = self.bytes;
        let (declared, id) = (u16_at(bytes, self.at)?, u16_at(bytes, self.at + 2)?);
        let kind = declared & !MULTIPLE;
        let mut at = self.at + 4;
        if id >= 0x8000 {
            // A named one: an interface's id, and a number or a name.
            let is_number = u32_at(bytes, at + 16)? == 0;
            let length = u32_at(bytes, at + 20)? as usize;
            at += if is_number { 24 } else { 24usize.checked_add(length.checked_next_multiple_of(4)?)? };
        }
        let has_length = matches!(kind, T_OBJECT | T_STRING8 | T_UNICODE | T_BINARY);
        let fixed = match kind {
            0x0002 | 0x0003 | 0x0004 | 0x000a | 0x000b => 4,
            0x0005..=0x0007 | 0x0014 | 0x0040 => 8,
            0x0048 => 16,
            _ => 0,
        };
        let count = if has_length || declared & MULTIPLE != 0 {
            at += 4;
            u32_at(bytes, at - 4)?
        } else {
            1
        };
        (self.id, self.kind) = (id, kind);
        if has_length {
            (self.at, self.values) = (at, count);
        } else {
            self.at = at.checked_add((count as usize).checked_mul(fixed)?)?;
        }
        Some(())
    }

    /// The next value of this property, as much of it as there is.
    fn value(&mut self) -> Option<Bytes> {
        let bytes = self.bytes;
        let length = u32_at(bytes, self.at)? as usize;
        let start = self.at + 4;
        let end = start.checked_add(length)?;
        self.at = start.checked_add(length.checked_next_multiple_of(4)?)?;
        Some(bytes.slice(start.min(bytes.len())..end.min(bytes.len())))
    }
}
