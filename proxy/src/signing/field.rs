//! The text of signature fields, and which fields they cover. What is rendered here is what is signed and what is put on
//! the message, byte for byte, so that it holds in the simple canonical form too.

use crate::services::authentication::Canonicalization;

/// Lines are folded at this column where they can be (RFC 5322 section 2.1.1 has 78).
const WIDTH: usize = 76;
/// Names in one h=. Verifiers have limits of their own (ours 256), so a message with more fields to sign is not signed.
const COVERED: usize = 128;

/// A list of tags for a field of this name.
pub(super) struct TagList {
    pub(super) field: &'static str,
    /// In the order in which they are written. `b` has no value yet.
    pub(super) tags: Vec<(&'static str, String)>,
    /// Characters of `b` in a line.
    pub(super) signature_width: usize,
}

/// For a field that is read once.
pub(super) const FOLDED: usize = WIDTH - 4;
/// For a field that later seals cover: a space for each fold would be signed with it in the middle of the base64, and
/// every relay that folds otherwise would break the chain. Only a line's limit of 998 is kept.
pub(super) const UNFOLDED: usize = 900;

impl TagList {
    /// The field's value with this signature in base64; empty for the text that is signed. The rest does not depend on
    /// it: `b=` begins a line and ends it.
    pub(super) fn value(&self, signature: &str) -> String {
        let mut text = Folded::new(self.field);
        let last = self.tags.len().saturating_sub(1);
        for (position, (name, value)) in self.tags.iter().enumerate() {
            let end = if position < last { ";" } else { "" };
            if *name == "b" {
                for piece in format!("b={signature}").as_bytes().chunks(self.signature_width) {
                    text.line();
                    // Base64 is ASCII, so that any piece of it is text.
                    text.append(&String::from_utf8_lossy(piece));
                }
                text.append(end);
                text.breaks = true;
                continue;
            }
            // A list of names may be folded at its colons.
            for (number, piece) in format!("{name}={value}{end}").split_inclusive(':').enumerate() {
                text.push(piece, number == 0);
            }
        }
        text.text
    }

    /// The field without its signature, as it is signed (RFC 6376 section 3.7).
    pub(super) fn unsigned(&self) -> Vec<u8> {
        raw(self.field, &self.value(""))
    }
}

/// Text of words with one space between them, folded.
pub(super) fn folded(field: &'static str, text: &str) -> String {
    let mut folded = Folded::new(field);
    for word in text.split_ascii_whitespace() {
        folded.push(word, true);
    }
    folded.text
}

struct Folded {
    text: String,
    column: usize,
    /// Whether a new line begins with the next piece.
    breaks: bool,
}

impl Folded {
    fn new(field: &str) -> Self {
        Self { text: String::new(), column: field.len() + 2, breaks: false }
    }

    fn push(&mut self, piece: &str, is_word: bool) {
        let space = usize::from(is_word);
        if !self.text.is_empty() {
            if self.breaks || self.column + space + piece.len() > WIDTH {
                self.line();
            } else if is_word {
                self.append(" ");
            }
        }
        self.append(piece);
    }

    fn append(&mut self, piece: &str) {
        self.text.push_str(piece);
        self.column += piece.len();
    }

    fn line(&mut self) {
        if !self.text.is_empty() {
            self.text.push_str("\r\n\t");
            // As wide as a tab is shown at worst.
            self.column = 8;
        }
        self.breaks = false;
    }
}

/// A whole field with its CRLF, as the edit that inserts it makes it.
pub(super) fn raw(field: &str, value: &str) -> Vec<u8> {
    format!("{field}: {value}\r\n").into_bytes()
}

/// Whether a whole field has this name, in any case.
pub(super) fn is_named(raw: &[u8], name: &str) -> bool {
    let colon = memchr::memchr(b':', raw).unwrap_or(raw.len());
    raw[..colon].trim_ascii_end().eq_ignore_ascii_case(name.as_bytes())
}

/// The names for h=: each as often as the message has such fields, and once more where another must not be added
/// (RFC 6376 section 8.15). `None` when there are too many.
pub(super) fn covered<'n>(
    fields: &[&[u8]],
    names: impl Iterator<Item = &'n str>,
    oversigned: &[String],
) -> Option<Vec<&'n str>> {
    let mut covered = Vec::new();
    for name in names {
        let present = fields.iter().filter(|raw| is_named(raw, name)).count();
        let more = usize::from(oversigned.iter().any(|other| other.eq_ignore_ascii_case(name)));
        if covered.len() + present + more > COVERED {
            return None;
        }
        covered.extend(std::iter::repeat_n(name, present + more));
    }
    Some(covered)
}

/// What a signature over these names is of: for each name the last field not yet taken (RFC 6376 section 5.4.2), then
/// the signature's own field.
pub(super) fn signed_bytes(form: Canonicalization, names: &[&str], fields: &[&[u8]], own: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2048);
    for (position, name) in names.iter().enumerate() {
        let earlier = names[..position].iter().filter(|other| other.eq_ignore_ascii_case(name)).count();
        if let Some(field) = fields.iter().rev().filter(|raw| is_named(raw, name)).nth(earlier) {
            form.field(field, &mut bytes);
        }
    }
    form.signature_field(own, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_changes_nothing_but_its_own_lines() {
        let names = ["From"; 40].join(":");
        let tags = vec![("a", "rsa-sha256".to_owned()), ("b", String::new()), ("h", names), ("t", "1".to_owned())];
        let list = TagList { field: "ARC-Message-Signature", tags, signature_width: FOLDED };
        for length in [0, 1, 71, 72, 73, 700] {
            let value = list.value(&"x".repeat(length));
            let own = raw(list.field, &value);
            for form in [Canonicalization::Simple, Canonicalization::Relaxed] {
                assert_eq!(
                    signed_bytes(form, &[], &[], &own),
                    signed_bytes(form, &[], &[], &list.unsigned()),
                    "{length}"
                );
            }
            assert!(value.lines().all(|line| line.len() <= WIDTH && !line.trim().is_empty()), "{value}");
            assert_eq!(value.matches('x').count(), length);
        }
    }

    #[test]
    fn each_field_is_covered_and_one_more_where_it_must_stay_alone() {
        let fields: Vec<&[u8]> = vec![b"from: a\r\n", b"To: b\r\n", b"To : c\r\n", b"X-Other: d\r\n"];
        let names = ["From", "to", "Subject", "Date"];
        let covered = covered(&fields, names.into_iter(), &["from".to_owned(), "Subject".to_owned()]).unwrap();
        assert_eq!(covered, ["From", "From", "to", "to", "Subject"]);
        let bytes = signed_bytes(Canonicalization::Relaxed, &covered, &fields, b"D: b=x\r\n");
        assert_eq!(bytes, b"from:a\r\nto:c\r\nto:b\r\nd:b=");
        let many = vec![&b"To: x\r\n"[..]; COVERED + 1];
        assert!(super::covered(&many, ["To"].into_iter(), &[]).is_none());
    }
}
