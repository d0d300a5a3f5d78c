//! Canonical forms (RFC 6376 section 3.4): header fields here, bodies below.

mod body;

pub(crate) use body::BodyHash;
pub use body::{BodyHasher, BodyHashes};

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
}
