//! Files within files: what a reader of a message gets at by opening an attachment, unpacked as leniently as the
//! programs that people use.
//!
//! These are readers of bytes: they know nothing of parts. Everything they unpack is paid for with an [`Allowance`]
//! before it is kept, so that a small file cannot become a large one unnoticed. Where two programs would read an archive
//! in two ways, both readings are given.

mod inflate;
mod zip;
mod gzip;
mod tar;
mod tnef;
mod rtf;
mod uuencode;

use bytes::Bytes;

use super::{
    DecodingLimits, StoreError,
    accumulator::Accumulator,
    budget::{Budget, Permit},
};

/// Decoded bytes that every message may have, whatever its size: the ratio counts from here on.
const RATIO_FROM: u64 = 16 << 20;

/// Entries whose memory is not counted.
const FREE_ENTRIES: usize = 100;
/// Bytes of a name, and of a type that a sender gives, that are kept.
const NAME: usize = 1024;

/// What an archive or a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Zip,
    Gzip,
    Tar,
    Tnef,
}

/// What was unpacked.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// As it stands in the archive, folders included.
    pub(super) name: Option<String>,
    /// None: its name tells.
    pub(super) media_type: Option<String>,
    pub(super) bytes: Bytes,
    pub(super) state: State,
}

/// How well something could be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Whole,
    /// Only so far.
    Damaged,
    /// Not at all, for want of a password: the bytes are as they lie in the archive.
    Encrypted,
    /// Not at all, for want of the method: the bytes are as they lie in the archive.
    Unsupported,
}

/// Why unpacking ended early.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Stop {
    #[error("it decodes to more than {0} bytes")]
    Size(u64),
    #[error("more than {0} entries in its archives")]
    Entries(usize),
    #[error("archives nested deeper than {0}")]
    Depth(usize),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What may still be unpacked of a message.
pub(super) struct Allowance {
    budget: Budget,
    limits: DecodingLimits,
    size: u64,
    bytes: u64,
    /// Packed bytes that may still be read: without it, entries that share their bytes would be read again and again.
    work: u64,
    entries: usize,
    permit: Option<Permit>,
}

impl Allowance {
    /// For a message of `size` bytes.
    pub(super) fn new(budget: &Budget, limits: DecodingLimits, size: u64) -> Self {
        let bytes = limits.size.min(size.saturating_mul(limits.ratio).max(RATIO_FROM));
        Self {
            budget: budget.clone(),
            limits,
            size: bytes,
            bytes,
            work: bytes.saturating_add(size.saturating_mul(8)),
            entries: limits.entries,
            permit: None,
        }
    }

    /// One more entry, which costs so many bytes of memory to remember, its content aside.
    pub(super) fn entry(&mut self, cost: usize) -> Result<(), Stop> {
        self.entries = self.entries.checked_sub(1).ok_or(Stop::Entries(self.limits.entries))?;
        // So many are as cheap as the parts of any message, which have to be had when memory is full, too.
        if self.limits.entries - self.entries <= FREE_ENTRIES {
            return Ok(());
        }
        let paid = self.budget.memory(cost as u64).ok_or(StoreError::Full)?;
        match &mut self.permit {
            Some(permit) => permit.merge(paid),
            None => self.permit = Some(paid),
        }
        Ok(())
    }

    /// Whether so many entries more may come.
    fn room(&self, entries: usize) -> Result<(), Stop> {
        if entries > self.entries { Err(Stop::Entries(self.limits.entries)) } else { Ok(()) }
    }

    /// So many bytes more of content.
    pub(super) fn content(&mut self, bytes: u64) -> Result<(), Stop> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(Stop::Size(self.size))?;
        Ok(())
    }

    /// So many packed bytes are read.
    fn work(&mut self, bytes: u64) -> Result<(), Stop> {
        self.work = self.work.checked_sub(bytes).ok_or(Stop::Size(self.size))?;
        Ok(())
    }

    /// An archive so deep within others may be opened.
    pub(super) fn depth(&self, depth: usize) -> Result<(), Stop> {
        if depth >= self.limits.depth { Err(Stop::Depth(self.limits.depth)) } else { Ok(()) }
    }

    /// A place to unpack to.
    fn output(&self) -> Accumulator {
        Accumulator::new(&self.budget)
    }

    /// The charge for the entries, to be kept as long as they are.
    pub(super) fn into_permit(self) -> Option<Permit> {
        self.permit
    }
}

/// What a file is, by its first bytes, and for tar by its checksum. `None` also for a zip that has something before it:
/// see [`ends_as_zip`].
fn kind(head: &[u8]) -> Option<Kind> {
    match head {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] | [b'P', b'K', 7, 8, ..] | [b'P', b'K', b'0', b'0', ..] => {
            Some(Kind::Zip)
        }
        [0x1f, 0x8b, 8, ..] => Some(Kind::Gzip),
        _ if tnef::is_tnef(head) => Some(Kind::Tnef),
        _ if tar::is_header(head) => Some(Kind::Tar),
        _ => None,
    }
}

/// Everything that a file can be taken for by its beginning: a tar begins with a name, which may look like anything.
pub(super) fn kinds(head: &[u8]) -> impl Iterator<Item = Kind> {
    let first = kind(head);
    let tar = (first != Some(Kind::Tar) && tar::is_header(head)).then_some(Kind::Tar);
    first.into_iter().chain(tar)
}

/// Bytes of a file's beginning that [`kinds`] needs.
pub(super) const HEAD: usize = 512;

/// Whether a zip's end stands at the end: readers find the rest from there, whatever stands before.
pub(super) fn ends_as_zip(bytes: &[u8]) -> bool {
    zip::has_end(bytes)
}

/// Unpacks a file into `found`; what was found before an error stays there. `name` is the file's own.
pub(super) fn unpack(
    kind: Kind,
    bytes: &Bytes,
    name: Option<&str>,
    allowance: &mut Allowance,
    found: &mut Vec<Found>,
) -> Result<(), Stop> {
    match kind {
        Kind::Zip => zip::unpack(bytes, allowance, found),
        Kind::Gzip => gzip::unpack(bytes, name, allowance, found),
        Kind::Tar => tar::unpack(bytes, allowance, found),
        Kind::Tnef => tnef::unpack(bytes, allowance, found),
    }
}

pub(super) use uuencode::{decode_lines as decode_uuencoded_lines, unpack as unpack_uuencoded};

/// A name as text: UTF-8, or else one character a byte; without control characters, and of a long one the end.
fn name(bytes: &[u8]) -> String {
    let long = &bytes[bytes.len().saturating_sub(NAME)..];
    let cut =
        if long.len() < bytes.len() { long.iter().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count() } else { 0 };
    let text = match std::str::from_utf8(&long[cut..]) {
        Ok(text) => text.to_owned(),
        Err(_) => long.iter().copied().map(char::from).collect(),
    };
    end_of_name(text.replace(|character: char| character.is_control(), "\u{fffd}"))
}

/// A name of at most [`NAME`] bytes. The end counts: it tells what kind of file it is.
fn end_of_name(mut name: String) -> String {
    name.drain(..name.ceil_char_boundary(name.len().saturating_sub(NAME)));
    name.shrink_to_fit();
    name
}

/// `N` bytes at a place, if they are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

#[cfg(test)]
pub(super) mod tests;
