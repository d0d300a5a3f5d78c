//! Canonical forms (RFC 6376 section 3.4) and what is hashed of them: header fields here, bodies while they arrive.

use mail_auth::common::crypto::{HashContext, HashImpl, Sha256};
use mail_auth::common::headers::Writer;
use mail_auth::dkim::canonicalize::BodyHasher as Canonicalizer;

/// The two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Canonicalization {
    Simple,
    Relaxed,
}

impl Canonicalization {
    /// c=, such as `relaxed/simple`: for the header section and for the body.
    pub(crate) fn parse(value: Option<&str>) -> Option<(Self, Self)> {
        let one = |text: &str| match text.to_ascii_lowercase().as_str() {
            "simple" => Some(Self::Simple),
            "relaxed" => Some(Self::Relaxed),
            _ => None,
        };
        match value {
            None => Some((Self::Simple, Self::Simple)),
            Some(value) => match value.split_once('/') {
                Some((header, body)) => Some((one(header)?, one(body)?)),
                None => Some((one(value)?, Self::Simple)),
            },
        }
    }

    /// Append a field, its CRLF included.
    pub(crate) fn field(self, raw: &[u8], out: &mut Vec<u8>) {
        let raw = raw.strip_suffix(b"\r\n").unwrap_or(raw);
        match self {
            Self::Simple => out.extend_from_slice(raw),
            Self::Relaxed => relaxed(raw, out),
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Append a signature's own field with the value of its b= tag taken out, and without a CRLF (section 3.7).
    pub(crate) fn signature_field(self, raw: &[u8], out: &mut Vec<u8>) {
        let raw = raw.strip_suffix(b"\r\n").unwrap_or(raw);
        let mut emptied = Vec::with_capacity(raw.len());
        let colon = raw.iter().position(|byte| *byte == b':').map_or(raw.len(), |at| at + 1);
        emptied.extend_from_slice(&raw[..colon]);
        for (index, tag) in raw[colon..].split(|byte| *byte == b';').enumerate() {
            if index > 0 {
                emptied.push(b';');
            }
            match tag.iter().position(|byte| *byte == b'=') {
                Some(equals) if tag[..equals].trim_ascii() == b"b" => emptied.extend_from_slice(&tag[..=equals]),
                _ => emptied.extend_from_slice(tag),
            }
        }
        match self {
            Self::Simple => out.extend_from_slice(&emptied),
            Self::Relaxed => relaxed(&emptied, out),
        }
    }
}

/// Section 3.4.2: name in lower case, no space around the colon, unfolded, runs of white space as one space.
fn relaxed(raw: &[u8], out: &mut Vec<u8>) {
    let colon = raw.iter().position(|byte| *byte == b':').unwrap_or(raw.len());
    out.extend(raw[..colon].trim_ascii_end().iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let value = raw.get(colon + 1..).unwrap_or_default();
    let mut pending = false;
    let mut begun = false;
    for byte in value {
        match byte {
            b'\r' | b'\n' => {}
            b' ' | b'\t' => pending = true,
            _ => {
                if pending && begun {
                    out.push(b' ');
                }
                out.push(*byte);
                (pending, begun) = (false, true);
            }
        }
    }
}

/// A body's SHA-256 in one canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BodyHash {
    pub(crate) digest: [u8; 32],
    /// Bytes of the canonical form: what l= counts.
    pub(crate) length: u64,
}

/// Body hashes of a message, in the forms that its signatures name.
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
    simple: Option<Canonicalizer<Counted>>,
    relaxed: Option<Canonicalizer<Counted>>,
}

impl BodyHasher {
    /// One hash for each form that is wanted.
    pub(crate) fn new(simple: bool, relaxed: bool) -> Self {
        use mail_auth::dkim::Canonicalization as Form;
        let make = |form| Canonicalizer::new(Counted { context: Sha256::hasher(), length: 0 }, form, 0);
        Self { simple: simple.then(|| make(Form::Simple)), relaxed: relaxed.then(|| make(Form::Relaxed)) }
    }

    /// The next bytes of the body, without dot-stuffing. The header section and the empty line are not of it.
    pub fn update(&mut self, chunk: &[u8]) {
        for canonicalizer in self.simple.iter_mut().chain(&mut self.relaxed) {
            canonicalizer.write(chunk);
        }
    }

    /// The body is whole.
    #[must_use]
    pub fn finish(self) -> BodyHashes {
        let end = |canonicalizer: Canonicalizer<Counted>| {
            let (counted, _) = canonicalizer.finish();
            let length = counted.length;
            let mut digest = [0; 32];
            digest.copy_from_slice(counted.complete().as_ref());
            BodyHash { digest, length }
        };
        BodyHashes { simple: self.simple.map(end), relaxed: self.relaxed.map(end) }
    }
}

/// A hash that knows how much went into it.
struct Counted {
    context: <Sha256 as HashImpl>::Context,
    length: u64,
}

impl Writer for Counted {
    fn write(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        self.context.write(bytes);
    }
}

impl HashContext for Counted {
    fn complete(self) -> mail_auth::common::crypto::HashOutput {
        self.context.complete()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6376 section 3.4.5.
    #[test]
    fn the_examples_of_the_rfc_come_out_as_printed() {
        let mut relaxed = Vec::new();
        Canonicalization::Relaxed.field(b"A: X\r\n", &mut relaxed);
        Canonicalization::Relaxed.field(b"B : Y\t\r\n\tZ  \r\n", &mut relaxed);
        assert_eq!(relaxed, b"a:X\r\nb:Y Z\r\n");
        let mut simple = Vec::new();
        Canonicalization::Simple.field(b"B : Y\t\r\n\tZ  \r\n", &mut simple);
        assert_eq!(simple, b"B : Y\t\r\n\tZ  \r\n");
    }

    #[test]
    fn the_signature_itself_is_left_out_wherever_it_stands() {
        for (raw, expected) in [
            (&b"DKIM-Signature: a=1; b=abc\r\n def; bh=x\r\n"[..], &b"dkim-signature:a=1; b=; bh=x"[..]),
            (b"DKIM-Signature: bh=b=; b = abc \r\n", b"dkim-signature:bh=b=; b ="),
        ] {
            let mut out = Vec::new();
            Canonicalization::Relaxed.signature_field(raw, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn chunks_do_not_matter() {
        let body = b" C \r\nD \t E\r\n\r\n\r\nx\r\n\r\n\r\n";
        let whole = {
            let mut hasher = BodyHasher::new(true, true);
            hasher.update(body);
            hasher.finish()
        };
        for size in 1..body.len() {
            let mut hasher = BodyHasher::new(true, true);
            for chunk in body.chunks(size) {
                hasher.update(chunk);
            }
            assert_eq!(hasher.finish(), whole, "chunks of {size}");
        }
        assert_eq!(whole.relaxed.map(|hash| hash.length), Some(" C\r\nD E\r\n\r\n\r\nx\r\n".len() as u64));
    }
}
