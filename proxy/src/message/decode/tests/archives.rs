//! Archives made as programs make them, and as they should not be.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};

/// A file in a zip, with what may be wrong about it.
#[derive(Clone)]
pub(in crate::message) struct Entry<'a> {
    pub(in crate::message) name: &'a str,
    /// As it lies in the archive.
    pub(in crate::message) packed: Vec<u8>,
    pub(in crate::message) size: usize,
    pub(in crate::message) method: u16,
    pub(in crate::message) flags: u16,
    /// The sizes follow the data.
    pub(in crate::message) is_described: bool,
    /// The sizes stand in a zip64 field.
    pub(in crate::message) is_large: bool,
    /// It stands in the directory.
    pub(in crate::message) is_listed: bool,
    /// It stands outside the directory. Otherwise the directory points to the entry before it.
    pub(in crate::message) is_written: bool,
    pub(in crate::message) listed_name: Option<&'a str>,
    pub(in crate::message) listed_method: Option<u16>,
    /// Where the next entry, not being written itself, is said to begin, from the beginning of this one.
    pub(in crate::message) offset_of_next: Option<usize>,
}

impl<'a> Entry<'a> {
    pub(in crate::message) fn stored(name: &'a str, content: &[u8]) -> Self {
        Self {
            name,
            packed: content.to_vec(),
            size: content.len(),
            method: 0,
            flags: 0,
            is_described: false,
            is_large: false,
            is_listed: true,
            is_written: true,
            listed_name: None,
            listed_method: None,
            offset_of_next: None,
        }
    }

    pub(in crate::message) fn deflated(name: &'a str, content: &[u8]) -> Self {
        Self { packed: deflated(content), size: content.len(), method: 8, ..Self::stored(name, content) }
    }
}

pub(in crate::message) fn zip(entries: &[Entry<'_>]) -> Vec<u8> {
    zip_with(entries, true)
}

/// With or without a directory.
pub(in crate::message) fn zip_with(entries: &[Entry<'_>], has_directory: bool) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    let (mut count, mut previous, mut next) = (0u16, 0, None);
    for entry in entries {
        let offset = if entry.is_written { bytes.len() } else { next.unwrap_or(previous) };
        if entry.is_written {
            local(entry, &mut bytes);
            previous = offset;
            next = entry.offset_of_next.map(|within| offset + within);
        }
        if entry.is_listed {
            count += 1;
            central(entry, offset, &mut directory);
        }
    }
    if has_directory {
        let start = bytes.len();
        bytes.extend_from_slice(&directory);
        bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
        bytes.extend_from_slice(&[count.to_le_bytes(), count.to_le_bytes()].concat());
        put(&mut bytes, directory.len());
        put(&mut bytes, start);
        bytes.extend_from_slice(&[0, 0]);
    }
    bytes
}

fn put(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend_from_slice(&u32::try_from(number).unwrap().to_le_bytes());
}

fn short(bytes: &mut Vec<u8>, number: usize) {
    bytes.extend_from_slice(&u16::try_from(number).unwrap().to_le_bytes());
}

fn sizes(entry: &Entry<'_>, bytes: &mut Vec<u8>) {
    put(bytes, 0);
    if entry.is_large {
        bytes.extend_from_slice(&[0xff; 8]);
    } else {
        put(bytes, entry.packed.len());
        put(bytes, entry.size);
    }
}

fn extra(entry: &Entry<'_>) -> Vec<u8> {
    if !entry.is_large {
        return Vec::new();
    }
    let mut extra = b"\x99\x99\x01\0x\x01\0\x10\0".to_vec();
    extra.extend_from_slice(&(entry.size as u64).to_le_bytes());
    extra.extend_from_slice(&(entry.packed.len() as u64).to_le_bytes());
    extra
}

fn local(entry: &Entry<'_>, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(b"PK\x03\x04\x14\0");
    let described = if entry.is_described { 1 << 3 } else { 0 };
    short(bytes, usize::from(entry.flags | described));
    short(bytes, usize::from(entry.method));
    bytes.extend_from_slice(&[0; 4]);
    if entry.is_described {
        bytes.extend_from_slice(&[0; 12]);
    } else {
        sizes(entry, bytes);
    }
    short(bytes, entry.name.len());
    short(bytes, extra(entry).len());
    bytes.extend_from_slice(entry.name.as_bytes());
    bytes.extend_from_slice(&extra(entry));
    bytes.extend_from_slice(&entry.packed);
    if entry.is_described {
        bytes.extend_from_slice(b"PK\x07\x08");
        sizes(entry, bytes);
    }
}

fn central(entry: &Entry<'_>, offset: usize, bytes: &mut Vec<u8>) {
    let name = entry.listed_name.unwrap_or(entry.name);
    bytes.extend_from_slice(b"PK\x01\x02\x14\0\x14\0");
    short(bytes, usize::from(entry.flags));
    short(bytes, usize::from(entry.listed_method.unwrap_or(entry.method)));
    bytes.extend_from_slice(&[0; 4]);
    sizes(entry, bytes);
    short(bytes, name.len());
    short(bytes, extra(entry).len());
    bytes.extend_from_slice(&[0; 10]);
    put(bytes, offset);
    bytes.extend_from_slice(name.as_bytes());
    bytes.extend_from_slice(&extra(entry));
}

pub(in crate::message) fn deflated(content: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(in crate::message) fn gzip(name: Option<&str>, content: &[u8]) -> Vec<u8> {
    let builder = match name {
        Some(name) => flate2::GzBuilder::new().filename(name).comment("a comment").extra(b"extra".to_vec()),
        None => flate2::GzBuilder::new(),
    };
    let mut encoder: GzEncoder<Vec<u8>> = builder.write(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Entries of which each quotes, in a block of its own, the header of the next, and then goes on with its data: all of
/// them share the data of the last.
pub(super) fn quoting(count: usize, content: &[u8]) -> Vec<u8> {
    let kernel = deflated(content);
    let header = |name: &str| {
        let mut bytes = Vec::new();
        local(&Entry { packed: Vec::new(), size: 0, ..Entry::deflated(name, b"") }, &mut bytes);
        bytes
    };
    let names: Vec<String> = (0..count).map(|n| format!("{n:04}")).collect();
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (n, name) in names.iter().enumerate() {
        let entry = Entry { packed: Vec::new(), size: 0, ..Entry::deflated(name, b"") };
        central(&entry, bytes.len(), &mut directory);
        bytes.extend_from_slice(&header(name));
        if let Some(next) = names.get(n + 1) {
            // A stored block that is not the last, as long as a header.
            let length = u16::try_from(header(next).len()).unwrap();
            bytes.push(0);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(&(!length).to_le_bytes());
        }
    }
    bytes.extend_from_slice(&kernel);
    let start = bytes.len();
    bytes.extend_from_slice(&directory);
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    short(&mut bytes, count);
    short(&mut bytes, count);
    put(&mut bytes, directory.len());
    put(&mut bytes, start);
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

/// Names that are too long for a header stand in one of pax.
pub(in crate::message) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        if name.len() > 100 {
            let record = format!(" path={name}\n");
            let length =
                (1..).map(|digits| record.len() + digits).find(|sum| sum.to_string().len() + record.len() == *sum);
            let record = format!("{}{record}", length.unwrap());
            bytes.extend_from_slice(&tar_header("pax", record.len(), b'x'));
            bytes.extend_from_slice(&padded(record.as_bytes()));
        }
        bytes.extend_from_slice(&tar_header(name, content.len(), b'0'));
        bytes.extend_from_slice(&padded(content));
    }
    bytes.extend_from_slice(&[0; 1024]);
    bytes
}

pub(super) fn tar_header(name: &str, size: usize, kind: u8) -> Vec<u8> {
    let mut header = vec![0; 512];
    let name = &name.as_bytes()[..name.len().min(100)];
    header[..name.len()].copy_from_slice(name);
    header[100..108].copy_from_slice(b"0000644\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].fill(b' ');
    header[156] = kind;
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

pub(super) fn padded(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(content.len().next_multiple_of(512), 0);
    bytes
}

pub(in crate::message) fn uuencoded(name: &str, content: &[u8]) -> String {
    let mut text = format!("begin 644 {name}\r\n");
    let character = |value: u8| if value == 0 { '`' } else { char::from(value + b' ') };
    for line in content.chunks(45) {
        text.push(character(u8::try_from(line.len()).unwrap()));
        for group in line.chunks(3) {
            let byte = |n: usize| u32::from(*group.get(n).unwrap_or(&0));
            let word = byte(0) << 16 | byte(1) << 8 | byte(2);
            (0..4).for_each(|n| text.push(character((word >> (18 - 6 * n) & 0x3f) as u8)));
        }
        text.push_str("\r\n");
    }
    text + "`\r\nend\r\n"
}

pub(in crate::message) fn tnef(attributes: &[Vec<u8>]) -> Vec<u8> {
    [&b"\x78\x9f\x3e\x22\x01\0"[..], &attributes.concat()].concat()
}

pub(in crate::message) fn attribute(level: u8, id: u16, data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![level];
    bytes.extend_from_slice(&id.to_le_bytes());
    bytes.extend_from_slice(&[0, 0]);
    put(&mut bytes, data.len());
    bytes.extend_from_slice(data);
    let sum = data.iter().fold(0u16, |sum, &byte| sum.wrapping_add(u16::from(byte)));
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

pub(super) fn list(properties: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put(&mut bytes, properties.len());
    bytes.extend_from_slice(&properties.concat());
    bytes
}

/// With one value.
pub(super) fn property(kind: u16, id: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = [kind.to_le_bytes(), id.to_le_bytes()].concat();
    if kind < 0x000d {
        bytes.extend_from_slice(value);
        return bytes;
    }
    put(&mut bytes, 1);
    put(&mut bytes, value.len());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
