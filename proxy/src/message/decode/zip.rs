//! zip (APPNOTE 6.3), read in both ways in which programs read it: from local header to local header, as those do that
//! get it as a stream, and by the central directory at the end. They agree on honest archives; where they do not, an
//! entry is given as each has it.

use std::collections::HashMap;

use bytes::Bytes;
use memchr::memmem;

use super::{Allowance, Found, State, Stop, inflate::inflate, name, u16_at, u32_at, u64_at};

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const DESCRIPTOR: &[u8] = b"PK\x07\x08";
const END: &[u8] = b"PK\x05\x06";
const END_64_LOCATOR: &[u8] = b"PK\x06\x07";
const END_64: &[u8] = b"PK\x06\x06";

const STORED: u16 = 0;
const DEFLATED: u16 = 8;
const ENCRYPTED: u16 = 1;
/// The sizes follow the data.
const DESCRIBED: u16 = 1 << 3;

/// Bytes of a local header without name and extra fields.
const LOCAL_LENGTH: usize = 30;
/// The same of an entry of the central directory.
const CENTRAL_LENGTH: usize = 46;
/// The same of the end, which a comment may follow.
const END_LENGTH: usize = 22;
const COMMENT: usize = 0xffff;
/// Ends that are tried: a comment can hold further ones.
const ENDS: usize = 4;
/// Memory that an entry costs besides its name.
const ENTRY: usize = 512;
/// Marks folders until the end.
const FOLDER: &str = "folder";

/// One account of an entry.
struct Header<'a> {
    name: &'a [u8],
    flags: u16,
    method: u16,
    packed: u64,
    /// Where the data begins.
    data: usize,
}

/// The entries in it.
pub(super) fn unpack(bytes: &Bytes, allowance: &mut Allowance, found: &mut Vec<Found>) -> Result<(), Stop> {
    let mut reader = Reader { bytes, allowance, found, known: HashMap::new() };
    let outcome = reader.stream().and_then(|()| ends(bytes).try_for_each(|end| reader.directory(end)));
    found.retain(|entry| entry.media_type.as_deref() != Some(FOLDER));
    outcome
}

/// Whether the end of a zip stands where it is looked for.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    ends(bytes).next().is_some()
}

/// Places at which an end may stand, the last one first.
fn ends(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let from = bytes.len().saturating_sub(END_LENGTH + COMMENT);
    memmem::rfind_iter(&bytes[from..], END)
        .map(move |at| from + at)
        .filter(|at| at + END_LENGTH <= bytes.len())
        .take(ENDS)
}

/// What was read of the data that begins at one place.
struct Data {
    /// Its place in what was found.
    found: usize,
    /// Bytes of it in the archive.
    length: usize,
}

struct Reader<'a> {
    bytes: &'a Bytes,
    allowance: &'a mut Allowance,
    found: &'a mut Vec<Found>,
    /// By where the data begins, the method, and for data that does not tell its end, its length.
    known: HashMap<(usize, u16, u64), Data>,
}

impl Reader<'_> {
    /// From local header to local header.
    fn stream(&mut self) -> Result<(), Stop> {
        let bytes = self.bytes;
        let mut at = 0;
        while let Some(next) = memmem::find(&bytes[at..], LOCAL) {
            at += next;
            let Some(header) = local_header(bytes, at) else {
                at += LOCAL.len();
                continue;
            };
            at = header.data + self.entry(&header)?;
        }
        Ok(())
    }

    /// By one central directory.
    fn directory(&mut self, end: usize) -> Result<(), Stop> {
        let bytes = self.bytes;
        for (start, shift) in directories(bytes, end) {
            let mut at = start;
            while let Some((header, offset, next)) = central_entry(bytes, at) {
                at = next;
                let place = usize::try_from(offset).ok().and_then(|offset| offset.checked_add_signed(shift));
                let Some(local) = place.and_then(|place| local_header(bytes, place)) else { continue };
                self.entry(&local)?;
                self.entry(&Header { data: local.data, ..header })?;
            }
        }
        Ok(())
    }

    /// Takes an account of an entry, if it is new; gives the length of its data.
    fn entry(&mut self, header: &Header<'_>) -> Result<usize, Stop> {
        let rest = self.bytes.len() - header.data;
        let is_encrypted = header.flags & ENCRYPTED != 0;
        let tells_end = header.method == DEFLATED && !is_encrypted;
        let packed = usize::try_from(header.packed).unwrap_or(usize::MAX).min(rest);
        let is_open_ended = header.packed == 0 && header.flags & DESCRIBED != 0;
        let packed = if is_open_ended && !tells_end { stored_length(&self.bytes[header.data..]) } else { packed };
        let key = (header.data, header.method, if tells_end { u64::MAX } else { packed as u64 });
        let own_name = name(header.name);
        if let Some(known) = self.known.get(&key) {
            let first = &self.found[known.found];
            if first.name.as_deref() != Some(&own_name) && !header.name.ends_with(b"/") {
                // Which name counts is not agreed on.
                let other = Found { name: Some(own_name), media_type: None, ..first.clone() };
                self.allowance.entry(ENTRY + header.name.len())?;
                self.found.push(other);
            }
            return Ok(known.length);
        }
        self.allowance.entry(ENTRY + header.name.len())?;
        let (content, length, state) = if tells_end {
            let inflated = inflate(&self.bytes[header.data..], self.allowance)?;
            let state = if inflated.is_whole { State::Whole } else { State::Damaged };
            // Damaged data is as long as it says.
            let length = if inflated.is_whole { inflated.consumed } else { packed };
            (inflated.bytes, length, state)
        } else {
            self.allowance.content(packed as u64)?;
            let state = match header.method {
                _ if is_encrypted => State::Encrypted,
                STORED if (packed as u64) < header.packed => State::Damaged,
                STORED => State::Whole,
                _ => State::Unsupported,
            };
            (self.bytes.slice(header.data..header.data + packed), packed, state)
        };
        let is_folder = header.name.ends_with(b"/") && content.is_empty();
        self.known.insert(key, Data { found: self.found.len(), length });
        // A folder is found as well, so that `known` has somewhere to point to; it is left out in the end.
        let media_type = is_folder.then(|| FOLDER.to_owned());
        self.found.push(Found { name: Some(own_name), media_type, bytes: content, state });
        Ok(length)
    }
}

/// A local header, if one stands there.
fn local_header(bytes: &[u8], at: usize) -> Option<Header<'_>> {
    let fixed = bytes.get(at..at.checked_add(LOCAL_LENGTH)?)?;
    if !fixed.starts_with(LOCAL) {
        return None;
    }
    let name_start = at + LOCAL_LENGTH;
    let name_end = name_start + usize::from(u16_at(fixed, 26)?);
    let data = name_end + usize::from(u16_at(fixed, 28)?);
    let (name, extra) = (bytes.get(name_start..name_end)?, bytes.get(name_end..data)?);
    let (packed, size) = (u32_at(fixed, 18)?, u32_at(fixed, 22)?);
    let (_, packed, _) = large_sizes(extra, size, packed, None);
    Some(Header { name, flags: u16_at(fixed, 6)?, method: u16_at(fixed, 8)?, packed, data })
}

/// An entry of the central directory, the offset of its local header, and where the next entry begins.
fn central_entry(bytes: &[u8], at: usize) -> Option<(Header<'_>, u64, usize)> {
    let fixed = bytes.get(at..at.checked_add(CENTRAL_LENGTH)?)?;
    if !fixed.starts_with(CENTRAL) {
        return None;
    }
    let name_start = at + CENTRAL_LENGTH;
    let name_end = name_start + usize::from(u16_at(fixed, 28)?);
    let extra_end = name_end + usize::from(u16_at(fixed, 30)?);
    let next = extra_end + usize::from(u16_at(fixed, 32)?);
    let (name, extra) = (bytes.get(name_start..name_end)?, bytes.get(name_end..extra_end)?);
    let (packed, size) = (u32_at(fixed, 20)?, u32_at(fixed, 24)?);
    let (_, packed, offset) = large_sizes(extra, size, packed, Some(u32_at(fixed, 42)?));
    Some((Header { name, flags: u16_at(fixed, 8)?, method: u16_at(fixed, 10)?, packed, data: 0 }, offset, next))
}

/// Size, packed size and offset, from the zip64 extra field where the short ones are all ones.
fn large_sizes(extra: &[u8], size: u32, packed: u32, offset: Option<u32>) -> (u64, u64, u64) {
    let mut at = 0;
    let mut large: &[u8] = &[];
    while let (Some(id), Some(length)) = (u16_at(extra, at), u16_at(extra, at + 2)) {
        let end = at + 4 + usize::from(length);
        if id == 1 {
            large = extra.get(at + 4..end).unwrap_or_default();
            break;
        }
        at = end;
    }
    let mut place = 0;
    let mut take = |short: u32| {
        let long = if short == u32::MAX { u64_at(large, place) } else { None };
        if long.is_some() {
            place += 8;
        }
        long.unwrap_or_else(|| u64::from(short))
    };
    (take(size), take(packed), take(offset.unwrap_or(0)))
}

/// Where the directory may stand that an end speaks of, with what has to be added to its offsets: right before the end,
/// and at the offset that it tells.
fn directories(bytes: &[u8], end: usize) -> Vec<(usize, isize)> {
    let (Some(size), Some(offset)) = (u32_at(bytes, end + 12), u32_at(bytes, end + 16)) else { return Vec::new() };
    let mut told = vec![(u64::from(size), u64::from(offset), end)];
    let locator = end.checked_sub(20).filter(|&at| bytes[at..].starts_with(END_64_LOCATOR));
    if let Some(at) = locator {
        let told_place = u64_at(bytes, at + 8).and_then(|place| usize::try_from(place).ok());
        let places = [told_place, at.checked_sub(56)].into_iter().flatten();
        for place in places.filter(|&place| bytes.get(place..).is_some_and(|rest| rest.starts_with(END_64))) {
            if let (Some(size), Some(offset)) = (u64_at(bytes, place + 40), u64_at(bytes, place + 48)) {
                told.push((size, offset, place));
            }
        }
    }
    let mut starts: Vec<(usize, isize)> = Vec::new();
    for (size, offset, end) in told {
        let by_offset = usize::try_from(offset).ok();
        let by_size = usize::try_from(size).ok().and_then(|size| end.checked_sub(size));
        for start in [by_size, by_offset].into_iter().flatten() {
            let begins = bytes.get(start..).is_some_and(|rest| rest.starts_with(CENTRAL));
            let shift = by_offset.map(|offset| start.cast_signed().wrapping_sub(offset.cast_signed())).unwrap_or(0);
            if begins && !starts.contains(&(start, shift)) {
                starts.push((start, shift));
            }
        }
    }
    starts
}

/// The length of stored data that tells its size only after it: to the descriptor, or the next header.
fn stored_length(data: &[u8]) -> usize {
    memmem::find_iter(data, b"PK")
        .find(|&at| [DESCRIPTOR, LOCAL, CENTRAL].iter().any(|mark| data[at..].starts_with(mark)))
        .unwrap_or(data.len())
}
