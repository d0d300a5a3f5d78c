//! Edits: their number and size, field names and values, addresses, bodies.

use mailweir_smtp::address::Mailbox;

use super::{EditFault, OutputError};
use crate::host::bindings::mailweir::filter::types;
use crate::host::failure::one_line;
use crate::message::is_field_name;
use crate::verdict::Edit;

/// Edits of one message by one filter.
const EDITS_LIMIT: usize = 1000;
/// Bytes of a field name; with ": " it leaves room for a value on the line (RFC 5322 section 2.1.1).
const NAME_LIMIT: usize = 128;
/// Bytes of a field's value.
const VALUE_LIMIT: usize = 64 << 10;
/// Bytes of header values and addresses of all edits together.
const VALUES_LIMIT: usize = 1 << 20;

/// Checks the edits of one filter; `planned` is whether its plan says that it makes any.
///
/// # Errors
///
/// The first thing in them that the contract forbids; then none of them is made.
pub fn edits(edits: Vec<types::Edit>, planned: bool) -> Result<Vec<Edit>, OutputError> {
    if edits.is_empty() {
        return Ok(Vec::new());
    }
    if !planned {
        return Err(OutputError::UnplannedEdits);
    }
    if edits.len() > EDITS_LIMIT {
        return Err(OutputError::Edits(edits.len()));
    }
    let mut size = 0;
    let mut checked = Vec::with_capacity(edits.len());
    for (position, edit) in edits.into_iter().enumerate() {
        let edit = self::edit(edit).and_then(|edit| {
            size += size_of_values(&edit);
            if size > VALUES_LIMIT { Err(EditFault::Size(VALUES_LIMIT)) } else { Ok(edit) }
        });
        checked.push(edit.map_err(|fault| OutputError::Edit { position, fault })?);
    }
    Ok(checked)
}

fn edit(edit: types::Edit) -> Result<Edit, EditFault> {
    use types::Edit as Returned;
    Ok(match edit {
        Returned::AddHeader((name, value)) => Edit::AddHeader { name: field_name(name)?, value: field_value(value)? },
        Returned::InsertHeader((position, name, value)) => {
            Edit::InsertHeader { position: position as usize, name: field_name(name)?, value: field_value(value)? }
        }
        Returned::RemoveHeader((name, occurrence)) => {
            Edit::RemoveHeader { name: field_name(name)?, occurrence: occurrence as usize }
        }
        Returned::ReplaceHeader((name, occurrence, value)) => {
            Edit::ReplaceHeader { name: field_name(name)?, occurrence: occurrence as usize, value: field_value(value)? }
        }
        Returned::AddRecipient(address) => Edit::AddRecipient(mailbox(&address)?),
        // One that was accepted from the client is matched as it is written: "postmaster" stands without a domain.
        Returned::RemoveRecipient(address) if address.eq_ignore_ascii_case(b"postmaster") => {
            Edit::RemoveRecipient(String::from_utf8_lossy(&address).into_owned())
        }
        Returned::RemoveRecipient(address) => Edit::RemoveRecipient(mailbox(&address)?),
        Returned::ChangeSender(address) if address.is_empty() => Edit::ChangeSender(String::new()),
        Returned::ChangeSender(address) => Edit::ChangeSender(mailbox(&address)?),
        Returned::ReplaceBody(body) => Edit::ReplaceBody(self::body(body)?),
    })
}

/// A body's size is bounded by the memory of the filter that made it.
fn size_of_values(edit: &Edit) -> usize {
    match edit {
        Edit::AddHeader { name, value }
        | Edit::InsertHeader { name, value, .. }
        | Edit::ReplaceHeader { name, value, .. } => name.len() + value.len(),
        Edit::RemoveHeader { name, .. } => name.len(),
        Edit::AddRecipient(address) | Edit::RemoveRecipient(address) | Edit::ChangeSender(address) => address.len(),
        Edit::ReplaceBody(_) => 0,
    }
}

fn field_name(name: String) -> Result<String, EditFault> {
    if name.len() > NAME_LIMIT || !is_field_name(name.as_bytes()) {
        return Err(EditFault::FieldName(one_line(&name, NAME_LIMIT)));
    }
    Ok(name)
}

fn field_value(value: Vec<u8>) -> Result<Vec<u8>, EditFault> {
    if value.len() > VALUE_LIMIT {
        return Err(EditFault::ValueLength(value.len()));
    }
    if memchr::memchr(0, &value).is_some() || !lines(&value).all(|line| is_clean(line.bytes) && line.continues_well()) {
        return Err(EditFault::Value);
    }
    Ok(value)
}

fn body(body: Vec<u8>) -> Result<Vec<u8>, EditFault> {
    let whole = body.is_empty() || body.ends_with(b"\r\n");
    if !whole || !lines(&body).all(|line| is_clean(line.bytes)) {
        return Err(EditFault::Body);
    }
    Ok(body)
}

fn mailbox(address: &[u8]) -> Result<String, EditFault> {
    match Mailbox::parse(address) {
        Ok(mailbox) => Ok(mailbox.as_str().to_owned()),
        Err(_) => Err(EditFault::Address(one_line(&String::from_utf8_lossy(address), 320))),
    }
}

/// A piece between CRLFs.
struct Line<'a> {
    bytes: &'a [u8],
    first: bool,
}

impl Line<'_> {
    /// Whether this line may continue a field: it begins with white space and holds something else. Agents differ on
    /// a line of white space alone; to some it ends the header section.
    fn continues_well(&self) -> bool {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
        self.first || (self.bytes.first().is_some_and(blank) && !self.bytes.iter().all(blank))
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut rest = Some(bytes);
    let mut first = true;
    std::iter::from_fn(move || {
        let bytes = rest?;
        let end = memchr::memmem::find(bytes, b"\r\n");
        rest = end.map(|end| &bytes[end + 2..]);
        let line = Line { bytes: &bytes[..end.unwrap_or(bytes.len())], first };
        first = false;
        Some(line)
    })
}

/// Whether there is neither CR nor LF.
fn is_clean(line: &[u8]) -> bool {
    memchr::memchr2(b'\r', b'\n', line).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(name: &str, value: &[u8]) -> Result<Vec<Edit>, OutputError> {
        edits(vec![types::Edit::AddHeader((name.to_owned(), value.to_vec()))], true)
    }

    #[test]
    fn edits_are_planned_and_few() {
        let edit = || types::Edit::RemoveHeader(("X".to_owned(), 0));
        assert_eq!(edits(vec![], false), Ok(vec![]));
        assert_eq!(edits(vec![edit()], false), Err(OutputError::UnplannedEdits));
        assert_eq!(edits((0..1001).map(|_| edit()).collect(), true), Err(OutputError::Edits(1001)));
        let large = || types::Edit::AddHeader(("X".to_owned(), vec![b'a'; 60_000]));
        let fault = EditFault::Size(VALUES_LIMIT);
        assert_eq!(edits((0..20).map(|_| large()).collect(), true), Err(OutputError::Edit { position: 17, fault }));
    }

    #[test]
    fn field_names_are_field_names() {
        for name in ["", "X Y", "X:", "X\r\nY", "Ü", "X\0", &"x".repeat(129)] {
            assert!(add(name, b"v").is_err(), "{name:?}");
        }
        assert!(add("X-Mailweir", b"v").is_ok());
    }

    #[test]
    fn field_values_are_folded_or_on_one_line() {
        for value in [&b"one"[..], b"", b"a\r\n b", b"a\r\n\tb\r\n c", b"\r\n b", "\u{e9}".as_bytes(), b"\xff\xfe"] {
            assert!(add("X", value).is_ok(), "{value:?}");
        }
        for value in [
            &b"a\r\nBcc: b"[..],
            b"a\r\n",
            b"a\r\n\r\nbody",
            b"a\n b",
            b"a\r b",
            b"a\r\n \r\n b",
            b"a\r\n \t",
            b"nul\0",
            b"a\r\r\n b",
            b"a\r\n b\n",
            b"a\r",
        ] {
            assert!(add("X", value).is_err(), "{value:?}");
        }
        assert!(add("X", &vec![b'a'; VALUE_LIMIT + 1]).is_err());
    }

    #[test]
    fn addresses_are_addresses() {
        let recipient = |address: &[u8]| edits(vec![types::Edit::AddRecipient(address.to_vec())], true);
        assert_eq!(recipient(b"a@example.com"), Ok(vec![Edit::AddRecipient("a@example.com".to_owned())]));
        for address in [&b""[..], b"a", b"a@b>\r\nRCPT TO:<c@d", b"a@", b"a b@example.com"] {
            assert!(recipient(address).is_err(), "{address:?}");
        }
        assert_eq!(
            edits(vec![types::Edit::ChangeSender(Vec::new())], true),
            Ok(vec![Edit::ChangeSender(String::new())])
        );
        assert!(edits(vec![types::Edit::RemoveRecipient(b"Postmaster".to_vec())], true).is_ok());
    }

    #[test]
    fn bodies_end_their_lines_in_crlf() {
        let replace = |body: &[u8]| edits(vec![types::Edit::ReplaceBody(body.to_vec())], true).is_ok();
        assert!(replace(b"") && replace(b"a\r\n") && replace(b"\r\n\r\n.\r\n"));
        assert!(!replace(b"a") && !replace(b"a\nb\r\n") && !replace(b"a\r\r\n") && !replace(b"a\r\n\n"));
    }
}
