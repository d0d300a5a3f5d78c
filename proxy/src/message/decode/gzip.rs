//! gzip (RFC 1952): members one after another make one file.

use bytes::Bytes;
use memchr::memchr;

use super::{Allowance, Found, State, Stop, end_of_name, inflate::inflate_into, name, u16_at};

const HEADER_CHECKSUM: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
/// Bytes of a member's end: a checksum and a length.
const TRAILER: usize = 8;
/// Memory that an entry costs besides its name.
const ENTRY: usize = 512;

struct Member<'a> {
    name: Option<&'a [u8]>,
    data: usize,
}

/// The file in it. Checksums are not verified: not everybody does.
pub(super) fn unpack(
    bytes: &Bytes,
    own_name: Option<&str>,
    allowance: &mut Allowance,
    found: &mut Vec<Found>,
) -> Result<(), Stop> {
    let Some(first) = member(bytes, 0) else { return Ok(()) };
    let within = first.name.map(name).filter(|name| !name.is_empty());
    let name = within.or_else(|| own_name.map(|name| end_of_name(without_suffix(name))));
    allowance.entry(ENTRY + name.as_ref().map_or(0, String::len))?;
    let mut output = allowance.output();
    let mut state = State::Whole;
    let mut next = Some(first);
    let mut end = bytes.len();
    while let Some(member) = next {
        let inflated = inflate_into(&bytes[member.data..], allowance, &mut |block| Ok(output.push(block)?));
        let (consumed, is_whole) = match inflated {
            Ok(ended) => ended,
            Err(stop) => {
                // What came out so far is worth a look when the rest is not refused.
                found.push(Found { name, media_type: None, bytes: output.finish()?, state: State::Damaged });
                return Err(stop);
            }
        };
        if !is_whole {
            state = State::Damaged;
            break;
        }
        end = member.data + consumed + TRAILER;
        next = self::member(bytes, end);
    }
    found.push(Found { name, media_type: None, bytes: output.finish()?, state });
    // Some programs pass over what is no member, and some stop with an error; what it is remains to be seen.
    if let Some(tail) = bytes.get(end..).and_then(|tail| tail.iter().position(|&byte| byte != 0)) {
        let tail = bytes.slice(end + tail..);
        allowance.entry(ENTRY)?;
        allowance.content(tail.len() as u64)?;
        found.push(Found { name: None, media_type: None, bytes: tail, state: State::Damaged });
    }
    Ok(())
}

/// The member whose header stands at `at`. Zeros may stand between members.
fn member(bytes: &[u8], at: usize) -> Option<Member<'_>> {
    let zeros = bytes.get(at..)?.iter().take_while(|&&byte| byte == 0).count();
    let start = at + zeros;
    let &[0x1f, 0x8b, 8, flags, ..] = bytes.get(start..)? else { return None };
    let mut data = start + 10;
    if flags & EXTRA != 0 {
        data += 2 + usize::from(u16_at(bytes, data)?);
    }
    let mut name = None;
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let text = bytes.get(data..)?;
            let text = &text[..memchr(0, text)?];
            if flag == NAME {
                name = Some(text);
            }
            data += text.len() + 1;
        }
    }
    if flags & HEADER_CHECKSUM != 0 {
        data += 2;
    }
    (data <= bytes.len()).then_some(Member { name, data })
}

/// "a.csv" of "a.csv.gz", "a.tar" of "a.tgz".
fn without_suffix(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, suffix)) if suffix.eq_ignore_ascii_case("gz") => stem.to_owned(),
        Some((stem, suffix)) if suffix.eq_ignore_ascii_case("tgz") => format!("{stem}.tar"),
        _ => name.to_owned(),
    }
}
