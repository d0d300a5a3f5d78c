//! Other readings of a part: what a client may take it for that finds its way through a broken message in a way of its
//! own. Such parts follow after those that most clients see, under the same parent.

use bytes::Bytes;

use super::{
    delimiter::{line_end, occurs},
    fields::{Declared, Node},
};
use crate::message::header_end::is_name_byte;

/// A part as somebody may read it.
pub(super) struct Reading {
    pub(super) parent: Option<u32>,
    pub(super) declared: Declared,
    pub(super) node: Node,
    pub(super) bytes: Bytes,
    pub(super) depth: usize,
    pub(super) encoded: usize,
    /// Delimiters may go on after the boundary.
    pub(super) takes_longer: bool,
}

/// Whether this begins with a header field.
pub(super) fn looks_like_message(bytes: &[u8]) -> bool {
    let line = &bytes[..line_end(bytes, 0)];
    let name = line.iter().take_while(|&&byte| is_name_byte(byte)).count();
    name > 0 && line[name..].trim_ascii_start().first() == Some(&b':')
}

/// Whether there is nothing to be found that way: a boundary that is nowhere.
pub(super) fn is_pointless(node: &Node, body: &[u8]) -> bool {
    match node {
        Node::Multipart(boundaries) => !boundaries.iter().any(|boundary| occurs(boundary, body)),
        Node::Leaf | Node::Message => false,
    }
}

/// The boundaries that a Content-Type field can be taken to declare: of several parameters each, quoted or not, with or
/// without what looks like a comment.
pub(super) fn boundaries(value: &[u8]) -> Vec<Vec<u8>> {
    let lower = value.to_ascii_lowercase();
    let mut found: Vec<Vec<u8>> = Vec::new();
    for at in memchr::memmem::find_iter(&lower, b"boundary") {
        let rest = value[at + b"boundary".len()..].trim_ascii_start();
        let marks = rest.iter().take_while(|byte| b"*0".contains(byte)).count();
        let rest = rest[marks..].trim_ascii_start();
        let Some(rest) = rest.strip_prefix(b"=") else { continue };
        let rest = rest.trim_ascii_start();
        let token = |ends: &[u8]| {
            let end = rest.iter().position(|byte| ends.contains(byte)).unwrap_or(rest.len());
            rest[..end].trim_ascii_end().to_vec()
        };
        let mut candidates = vec![token(b";\r\n"), token(b"; \t\r\n"), token(b"; \t\r\n()")];
        if let Some(quoted) = rest.strip_prefix(b"\"") {
            let end = quoted.iter().position(|&byte| byte == b'"').unwrap_or(quoted.len());
            candidates = vec![quoted[..end].trim_ascii_end().to_vec(), token(b";\r\n")];
            candidates.push(unescaped(quoted));
        }
        for candidate in candidates {
            if !candidate.is_empty() && !found.contains(&candidate) && found.len() < CANDIDATES {
                found.push(candidate);
            }
        }
    }
    found
}

/// Boundaries of one field that are tried.
const CANDIDATES: usize = 8;

/// A quoted string from after its first quote, its escapes resolved (RFC 5322 section 3.2.4).
fn unescaped(quoted: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut bytes = quoted.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => text.extend(bytes.next()),
            b'\r' | b'\n' => {}
            byte => text.push(byte),
        }
    }
    text.truncate(text.trim_ascii_end().len());
    text
}
