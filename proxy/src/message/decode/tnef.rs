//! TNEF (MS-OXTNEF), which Outlook sends as winmail.dat: the body in three forms, and the attachments.

use bytes::Bytes;

use super::{Allowance, Found, State, Stop, rtf, u16_at, u32_at};

const SIGNATURE: [u8; 4] = [0x78, 0x9f, 0x3e, 0x22];
/// Memory that an entry costs besides its name.
const ENTRY: usize = 512;

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
                for property in properties(&data) {
                    body(&property, allowance, found)?;
                }
            }
            ATTACH_REND_DATA => std::mem::take(&mut attachment).finish(allowance, found)?,
            ATTACH_TITLE => attachment.title = Some(string8(&data)),
            ATTACH_DATA => attachment.data.push(data.clone()),
            ATTACHMENT_PROPERTIES => properties(&data).for_each(|property| attachment.take(property)),
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
    fn take(&mut self, property: Property) {
        match property.id {
            P_ATTACH_LONG_FILENAME => self.long_name = Some(property.text()),
            P_ATTACH_FILENAME => {
                let name = property.text();
                self.title.get_or_insert(name);
            }
            P_ATTACH_MIME_TAG => self.media_type = Some(property.text().to_ascii_lowercase()),
            P_ATTACH_DATA => {
                // A message within begins after the id of its interface.
                let data = property.value;
                let inner = data.slice(data.len().min(16)..);
                self.data.push(if property.kind == T_OBJECT && is_tnef(&inner) { inner } else { data });
            }
            _ => {}
        }
    }

    fn finish(self, allowance: &mut Allowance, found: &mut Vec<Found>) -> Result<(), Stop> {
        let name = self.long_name.or(self.title).filter(|name| !name.is_empty());
        for bytes in self.data.into_iter().filter(|data| !data.is_empty()) {
            allowance.entry(ENTRY + name.as_ref().map_or(0, String::len))?;
            allowance.content(bytes.len() as u64)?;
            // The name counts for more than what a sender says of the type.
            let media_type = self.media_type.clone().filter(|_| name.is_none());
            found.push(Found { name: name.clone(), media_type, bytes, state: State::Whole });
        }
        Ok(())
    }
}

fn body(property: &Property, allowance: &mut Allowance, found: &mut Vec<Found>) -> Result<(), Stop> {
    match property.id {
        P_SUBJECT | P_BODY => text(&Bytes::from(property.text()), "text/plain", allowance, found),
        P_BODY_HTML if property.kind == T_BINARY => text(&property.value, "text/html", allowance, found),
        P_BODY_HTML => text(&Bytes::from(property.text()), "text/html", allowance, found),
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

struct Property {
    id: u16,
    kind: u16,
    value: Bytes,
}

impl Property {
    fn text(&self) -> String {
        if self.kind != T_UNICODE {
            return string8(&self.value);
        }
        let units = self.value.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
        char::decode_utf16(units.take_while(|&unit| unit != 0))
            .map(|character| character.unwrap_or(char::REPLACEMENT_CHARACTER))
            .collect()
    }
}

fn string8(bytes: &[u8]) -> String {
    let end = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    match std::str::from_utf8(&bytes[..end]) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes[..end].iter().copied().map(char::from).collect(),
    }
}

/// The properties of a list, as far as it can be read (section 2.1.3.4). Those of fixed length are passed over.
fn properties(bytes: &Bytes) -> impl Iterator<Item = Property> {
    let count = u32_at(bytes, 0).unwrap_or(0);
    let mut at = 4;
    let bytes = bytes.clone();
    let mut pending: Vec<Property> = Vec::new();
    let mut left = count;
    std::iter::from_fn(move || {
        while pending.is_empty() && left > 0 && at < bytes.len() {
            left -= 1;
            at = property(&bytes, at, &mut pending)?;
            pending.reverse();
        }
        pending.pop()
    })
}

/// Reads the values of the property at `at`; gives where the next one begins.
fn property(bytes: &Bytes, at: usize, values: &mut Vec<Property>) -> Option<usize> {
    let (declared, id) = (u16_at(bytes, at)?, u16_at(bytes, at + 2)?);
    let kind = declared & !MULTIPLE;
    let mut at = at + 4;
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
        u32_at(bytes, at - 4)? as usize
    } else {
        1
    };
    if !has_length {
        return at.checked_add(count.checked_mul(fixed)?);
    }
    for _ in 0..count {
        let length = u32_at(bytes, at)? as usize;
        let start = at + 4;
        let end = start.checked_add(length)?;
        let value = bytes.slice(start.min(bytes.len())..end.min(bytes.len()));
        values.push(Property { id, kind, value });
        at = start.checked_add(length.checked_next_multiple_of(4)?)?;
        if end > bytes.len() {
            break;
        }
    }
    Some(at)
}
