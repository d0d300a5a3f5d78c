//! zip (APPNOTE 6.3), read in both ways in which programs read it: from local header to local header, as those do that
//! get it as a stream, and by the central directory at the end. They agree on honest archives; where they do not, an
//! entry is given as each has it.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

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
/// Memory that an entry costs besides its name.
const ENTRY: usize = 512;

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
    let mut reader = Reader {
        bytes,
        allowance,
        found,
        known: HashMap::new(),
        lengths: HashMap::new(),
        local: Vec::new(),
        listed: HashSet::new(),
        read: HashSet::new(),
    };
    reader.stream(0..bytes.len())?;
    // Ends with a comment that fits come first: those are what most programs go by. A comment can hold further ones.
    let fits = |&end: &usize| {
        u16_at(bytes, end + 20).is_some_and(|length| end + END_LENGTH + usize::from(length) == bytes.len())
    };
    ends(bytes).filter(fits).try_for_each(|end| reader.directory(end))?;
    ends(bytes).filter(|end| !fits(end)).try_for_each(|end| reader.directory(end))?;
    reader.unlisted()
}

/// Whether the end of a zip stands where it is looked for.
pub(super) fn has_end(bytes: &[u8]) -> bool {
    ends(bytes).next().is_some()
}

/// Places at which an end may stand, the last one first.
fn ends(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let from = bytes.len().saturating_sub(END_LENGTH + COMMENT);
    memmem::rfind_iter(&bytes[from..], END).map(move |at| from + at).filter(|at| at + END_LENGTH <= bytes.len())
}

/// An account of data: where it begins, its method, whether it is encrypted, and for data that does not tell its end,
/// its length.
type Account = (usize, u16, bool, u64);

/// What was read of the data of one account.
struct Data {
    /// Its place in what was found; folders are not.
    found: Option<usize>,
    /// Bytes of it in the archive.
    length: usize,
}

struct Reader<'a> {
    bytes: &'a Bytes,
    allowance: &'a mut Allowance,
    found: &'a mut Vec<Found>,
    known: HashMap<Account, Data>,
    /// Lengths that had to be looked for, by where the data begins.
    lengths: HashMap<usize, usize>,
    /// What local headers say.
    local: Vec<Account>,
    /// What directories say.
    listed: HashSet<Account>,
    /// Directories that were read, with what was added to their offsets.
    read: HashSet<(usize, isize)>,
}

impl Reader<'_> {
    /// From local header to local header.
    fn stream(&mut self, range: Range<usize>) -> Result<(), Stop> {
        let bytes = self.bytes;
        let mut at = range.start;
        while at < range.end
            && let Some(next) = memmem::find(&bytes[at..range.end], LOCAL)
        {
            at += next;
            let Some(header) = local_header(bytes, at) else {
                at += LOCAL.len();
                continue;
            };
            let account = self.account(&header)?;
            self.local.push(account);
            at = header.data + self.entry(&header, account)?;
        }
        Ok(())
    }

    /// By one central directory.
    fn directory(&mut self, end: usize) -> Result<(), Stop> {
        let bytes = self.bytes;
        self.allowance.work(END_LENGTH as u64)?;
        for (start, shift) in directories(bytes, end) {
            if !self.read.insert((start, shift)) {
                continue;
            }
            let mut at = start;
            while let Some((header, offset, next)) = central_entry(bytes, at) {
                self.allowance.work((next - at) as u64)?;
                at = next;
                let place = usize::try_from(offset).ok().and_then(|offset| offset.checked_add_signed(shift));
                let Some(place) = place else { continue };
                let Some(local) = local_header(bytes, place) else { continue };
                self.allowance.work((local.data - place) as u64)?;
                let account = self.account(&local)?;
                self.entry(&local, account)?;
                let header = Header { data: local.data, ..header };
                let account = self.account(&header)?;
                self.listed.insert(account);
                self.entry(&header, account)?;
            }
        }
        Ok(())
    }

    /// Looks into data that directories know nothing of: headers may stand in it that others read.
    fn unlisted(&mut self) -> Result<(), Stop> {
        let mut seen = HashSet::new();
        let mut at = 0;
        while let Some(&account) = self.local.get(at) {
            at += 1;
            // Entries that overlap are met again and again.
            if !seen.insert(account) {
                continue;
            }
            let (data, method, is_encrypted, length) = account;
            if self.listed.is_empty() || self.listed.contains(&account) || tells_end(method, is_encrypted) {
                continue;
            }
            self.allowance.work(length)?;
            // The length is that of a slice of the file.
            self.stream(data..data + length as usize)?;
        }
        Ok(())
    }

    fn account(&mut self, header: &Header<'_>) -> Result<Account, Stop> {
        let is_encrypted = header.flags & ENCRYPTED != 0;
        let length = if tells_end(header.method, is_encrypted) {
            u64::MAX
        } else if header.packed != 0 || header.flags & DESCRIBED == 0 {
            header.packed.min((self.bytes.len() - header.data) as u64)
        } else if let Some(&length) = self.lengths.get(&header.data) {
            length as u64
        } else {
            let length = stored_length(&self.bytes[header.data..]);
            self.allowance.work(length as u64)?;
            self.lengths.insert(header.data, length);
            length as u64
        };
        Ok((header.data, header.method, is_encrypted, length))
    }

    /// Takes an account of an entry, if it is new; gives the length of its data.
    fn entry(&mut self, header: &Header<'_>, account: Account) -> Result<usize, Stop> {
        let (data, method, is_encrypted, length) = account;
        let own_name = name(header.name);
        if let Some(known) = self.known.get(&account) {
            let first = known.found.map(|place| &self.found[place]);
            if let Some(first) = first.filter(|first| first.name.as_deref() != Some(&own_name))
                && !header.name.ends_with(b"/")
            {
                // Which name counts is not agreed on.
                self.allowance.entry(ENTRY + own_name.len())?;
                let other = Found { name: Some(own_name), media_type: None, ..first.clone() };
                self.found.push(other);
            }
            return Ok(known.length);
        }
        self.allowance.entry(ENTRY + own_name.len())?;
        let rest = &self.bytes[data..];
        let (content, length, state) = if tells_end(method, is_encrypted) {
            let inflated = inflate(rest, self.allowance)?;
            let state = if inflated.is_whole { State::Whole } else { State::Damaged };
            // Damaged data is as long as it says.
            let packed = usize::try_from(header.packed).unwrap_or(usize::MAX).min(rest.len());
            let length = if inflated.is_whole { inflated.consumed } else { packed };
            (inflated.bytes, length, state)
        } else {
            self.allowance.content(length)?;
            let state = match method {
                _ if is_encrypted => State::Encrypted,
                STORED if length < header.packed => State::Damaged,
                STORED => State::Whole,
                _ => State::Unsupported,
            };
            // The length is that of a slice of the file.
            let length = length as usize;
            (self.bytes.slice(data..data + length), length, state)
        };
        let is_folder = header.name.ends_with(b"/") && content.is_empty();
        let found = (!is_folder).then_some(self.found.len());
        self.known.insert(account, Data { found, length });
        if !is_folder {
            self.found.push(Found { name: Some(own_name), media_type: None, bytes: content, state });
        }
        Ok(length)
    }
}

const fn tells_end(method: u16, is_encrypted: bool) -> bool {
    method == DEFLATED && !is_encrypted
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
