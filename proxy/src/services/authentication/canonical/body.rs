//! The body's hash in canonical form (RFC 6376 sections 3.4.3 and 3.4.4), taken while the body arrives.
//!
//! Ours and not mail-auth's: that one drops a CR that stands alone, takes a LF alone for a line's end, and counts a body
//! of nothing but white space as one empty line, so what it hashes can be another body than the one that was signed.

use aws_lc_rs::digest::{Context, SHA256};

use super::Canonicalization;

/// A body's SHA-256 in one canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyHash {
    pub(crate) digest: [u8; 32],
    /// Bytes of the canonical form: what l= counts.
    pub(crate) length: u64,
}

/// Body hashes of a message, in the forms that its signatures name: two at most, however many signatures there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BodyHashes {
    simple: Option<BodyHash>,
    relaxed: Option<BodyHash>,
}

impl BodyHashes {
    pub(crate) const fn of(&self, form: Canonicalization) -> Option<&BodyHash> {
        match form {
            Canonicalization::Simple => self.simple.as_ref(),
            Canonicalization::Relaxed => self.relaxed.as_ref(),
        }
    }
}

/// Takes the body while it arrives, or in one go. Nothing of it is kept.
pub struct BodyHasher {
    simple: Option<Canonicalizer>,
    relaxed: Option<Canonicalizer>,
}

impl BodyHasher {
    /// One hash for each form that is wanted.
    pub(crate) fn new(simple: bool, relaxed: bool) -> Self {
        Self {
            simple: simple.then(|| Canonicalizer::new(Canonicalization::Simple)),
            relaxed: relaxed.then(|| Canonicalizer::new(Canonicalization::Relaxed)),
        }
    }

    /// The next bytes of the body, without dot-stuffing. The header section and the empty line are not of it.
    pub fn update(&mut self, chunk: &[u8]) {
        for canonicalizer in self.simple.iter_mut().chain(&mut self.relaxed) {
            canonicalizer.update(chunk);
        }
    }

    /// The body is whole.
    #[must_use]
    pub fn finish(self) -> BodyHashes {
        BodyHashes { simple: self.simple.map(Canonicalizer::finish), relaxed: self.relaxed.map(Canonicalizer::finish) }
    }
}

/// One form. Line ends are held back until something follows them, because those at the end do not count.
struct Canonicalizer {
    form: Canonicalization,
    out: Output,
    /// CRLFs held back.
    breaks: u64,
    /// A CR came last, and whether a LF follows is not known.
    cr: bool,
    /// Relaxed: white space came last, which is one space unless the line ends there.
    space: bool,
}

impl Canonicalizer {
    fn new(form: Canonicalization) -> Self {
        let out = Output { context: Context::new(&SHA256), length: 0 };
        Self { form, out, breaks: 0, cr: false, space: false }
    }

    fn update(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(first) = rest.first() {
            if self.cr {
                self.cr = false;
                if *first == b'\n' {
                    self.breaks += 1;
                    // White space at the end of a line is nothing.
                    self.space = false;
                    rest = &rest[1..];
                } else {
                    self.text(b"\r");
                }
                continue;
            }
            match first {
                b'\r' => {
                    self.cr = true;
                    rest = &rest[1..];
                }
                b' ' | b'\t' if self.form == Canonicalization::Relaxed => {
                    self.space = true;
                    rest = &rest[1..];
                }
                _ => {
                    let end = match self.form {
                        Canonicalization::Simple => simple_run(rest),
                        Canonicalization::Relaxed => relaxed_run(rest),
                    };
                    self.text(&rest[..end]);
                    rest = &rest[end..];
                }
            }
        }
    }

    /// Bytes that are neither held back nor changed.
    fn text(&mut self, bytes: &[u8]) {
        self.flush();
        self.out.write(bytes);
    }

    fn flush(&mut self) {
        self.out.line_ends(std::mem::take(&mut self.breaks));
        if std::mem::take(&mut self.space) {
            self.out.write(b" ");
        }
    }

    fn finish(mut self) -> BodyHash {
        if self.cr {
            self.text(b"\r");
        }
        // The last line has its end, whether it came or not. An empty body is one line in simple form, none in relaxed.
        if self.out.length > 0 || self.form == Canonicalization::Simple {
            self.out.line_ends(1);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(self.out.context.finish().as_ref());
        BodyHash { digest, length: self.out.length }
    }
}

struct Output {
    context: Context,
    length: u64,
}

impl Output {
    fn write(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.length += bytes.len() as u64;
    }

    fn line_ends(&mut self, count: u64) {
        const MANY: &[u8; 64] = b"\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n";
        let mut left = count;
        while left > 0 {
            let now = left.min(32);
            // At most 64.
            self.write(&MANY[..usize::try_from(now * 2).unwrap_or(MANY.len())]);
            left -= now;
        }
    }
}

/// How far the bytes go on as they are: over line ends that something other than a line end follows.
fn simple_run(bytes: &[u8]) -> usize {
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'\r', &bytes[from..]) {
        let at = from + found;
        match &bytes[at..] {
            [b'\r', b'\n', next, ..] if *next != b'\r' => from = at + 3,
            _ => return at,
        }
    }
    bytes.len()
}

/// As [`simple_run`]; single spaces between text stay as well.
fn relaxed_run(bytes: &[u8]) -> usize {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r');
    let mut from = 0;
    while let Some(block) = bytes[from..].first_chunk().filter(|block| is_kept(block)) {
        from += block.len() - BEHIND;
    }
    while let Some(found) = blank(&bytes[from..]) {
        let at = from + found;
        match &bytes[at..] {
            [b' ', next, ..] if is_text(next) => from = at + 2,
            [b'\r', b'\n', next, ..] if is_text(next) => from = at + 3,
            _ => return at,
        }
    }
    bytes.len()
}

/// Bytes that are looked at together, and how many behind each say whether it stays.
const BLOCK: usize = 64;
const BEHIND: usize = 2;

/// Whether all but the last two of these bytes stay as they are. In text there is a space every few bytes, and stopping at
/// each takes longer than hashing; without a branch, many bytes are compared at once.
fn is_kept(block: &[u8; BLOCK + BEHIND]) -> bool {
    let is_blank = |byte: u8| (byte == b' ') | (byte == b'\t') | (byte == b'\r');
    let mut is_changed = false;
    for at in 0..BLOCK {
        let (byte, next, after) = (block[at], block[at + 1], block[at + 2]);
        is_changed |= (byte == b'\t')
            | ((byte == b' ') & is_blank(next))
            | ((byte == b'\r') & ((next != b'\n') | is_blank(after)));
    }
    !is_changed
}

/// The first space, tab or CR. Eight bytes at a time: any byte below 0x21 ends the fast way.
fn blank(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let value = u64::from_le_bytes(*word);
        if value.wrapping_sub(ONES * 0x21) & !value & (ONES * 0x80) != 0
            && let Some(found) = word.iter().position(is_blank)
        {
            return Some(index * 8 + found);
        }
    }
    tail.iter().position(is_blank).map(|found| words.len() * 8 + found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hashes(body: &[u8], sizes: &[usize]) -> BodyHashes {
        let mut hasher = BodyHasher::new(true, true);
        let mut rest = body;
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, after) = rest.split_at((*size).clamp(1, rest.len()));
            hasher.update(chunk);
            rest = after;
        }
        hasher.finish()
    }

    fn hash(canonical: &[u8]) -> Option<BodyHash> {
        let mut digest = [0; 32];
        digest.copy_from_slice(aws_lc_rs::digest::digest(&SHA256, canonical).as_ref());
        Some(BodyHash { digest, length: canonical.len() as u64 })
    }

    /// The rules of the RFC, one after the other, over the whole body.
    fn by_the_rules(body: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let split = |body: &[u8]| -> Vec<Vec<u8>> {
            let mut lines = vec![Vec::new()];
            let mut rest = body;
            while let Some((byte, after)) = rest.split_first() {
                if rest.starts_with(b"\r\n") {
                    lines.push(Vec::new());
                    rest = &rest[2..];
                } else {
                    lines.last_mut().unwrap().push(*byte);
                    rest = after;
                }
            }
            lines
        };
        let join = |mut lines: Vec<Vec<u8>>| {
            while lines.last().is_some_and(Vec::is_empty) {
                lines.pop();
            }
            lines.into_iter().flat_map(|line| [line, b"\r\n".to_vec()].concat()).collect::<Vec<u8>>()
        };
        let simple = match join(split(body)) {
            empty if empty.is_empty() => b"\r\n".to_vec(),
            body => body,
        };
        let reduced = split(body)
            .into_iter()
            .map(|line| {
                let mut reduced: Vec<u8> = Vec::new();
                for byte in line {
                    let byte = if byte == b'\t' { b' ' } else { byte };
                    if byte != b' ' || reduced.last() != Some(&b' ') {
                        reduced.push(byte);
                    }
                }
                if reduced.last() == Some(&b' ') {
                    reduced.pop();
                }
                reduced
            })
            .collect();
        (simple, join(reduced))
    }

    #[test]
    fn edges_come_out_as_the_rfc_says() {
        for (body, simple, relaxed) in [
            ("", "\r\n", ""),
            ("\r\n", "\r\n", ""),
            ("\r\n\r\n\r\n", "\r\n", ""),
            (" \r\n", " \r\n", ""),
            ("\t \r\n \r\n", "\t \r\n \r\n", ""),
            ("x", "x\r\n", "x\r\n"),
            ("x\r\n\r\n", "x\r\n", "x\r\n"),
            ("\r\nx", "\r\nx\r\n", "\r\nx\r\n"),
            // RFC 6376 section 3.4.5.
            (" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"),
            // A CR or a LF alone is a byte like any other.
            ("a\rb\nc", "a\rb\nc\r\n", "a\rb\nc\r\n"),
            ("a\r", "a\r\r\n", "a\r\r\n"),
            ("a\r\r\n", "a\r\r\n", "a\r\r\n"),
            ("a\n\r\n", "a\n\r\n", "a\n\r\n"),
            ("a \n", "a \n\r\n", "a \n\r\n"),
            ("a \r", "a \r\r\n", "a \r\r\n"),
        ] {
            let found = hashes(body.as_bytes(), &[usize::MAX]);
            assert_eq!(found.simple, hash(simple.as_bytes()), "{body:?}, simple");
            assert_eq!(found.relaxed, hash(relaxed.as_bytes()), "{body:?}, relaxed");
        }
    }

    proptest! {
        #[test]
        fn any_body_in_any_chunks_is_hashed_by_the_rules(
            body in "[ab \t\r\n\u{1}]{0,80}|([a-z]{0,20} {0,3}(\r\n){0,3}){0,8}",
            sizes in prop::collection::vec(1_usize..20, 1..6),
        ) {
            let (simple, relaxed) = by_the_rules(body.as_bytes());
            let found = hashes(body.as_bytes(), &sizes);
            prop_assert_eq!(found.simple, hash(&simple));
            prop_assert_eq!(found.relaxed, hash(&relaxed));
        }
    }
}
