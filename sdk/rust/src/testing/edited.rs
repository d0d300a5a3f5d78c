//! Applying a filter's edits, all or none, so that a test sees the message that goes on.

use super::message::{Envelope, fields, header_size};
use crate::Edit;

/// The message and its envelope after the edits.
///
/// # Errors
///
/// The first edit that cannot be applied, and why.
pub(super) fn apply(raw: &[u8], envelope: &Envelope, edits: &[Edit]) -> Result<(Vec<u8>, Envelope), String> {
    let split = header_size(raw);
    let mut header = fields(&raw[..split]);
    let body = &raw[split..];
    let mut body = body.strip_prefix(b"\r\n").unwrap_or(body).to_vec();
    let mut envelope = envelope.clone();
    for edit in edits {
        apply_one(edit, &mut header, &mut body, &mut envelope).map_err(|why| format!("{edit:?}: {why}"))?;
    }
    let mut message = Vec::with_capacity(raw.len());
    for (name, value) in header {
        message.extend_from_slice(name.as_bytes());
        message.extend_from_slice(b": ");
        message.extend_from_slice(&value);
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(&body);
    Ok((message, envelope))
}

fn apply_one(
    edit: &Edit,
    header: &mut Vec<(String, Vec<u8>)>,
    body: &mut Vec<u8>,
    envelope: &mut Envelope,
) -> Result<(), String> {
    match edit {
        Edit::AddHeader((name, value)) => header.push((name.clone(), value.clone())),
        Edit::InsertHeader((position, name, value)) => {
            let position = (*position as usize).min(header.len());
            header.insert(position, (name.clone(), value.clone()));
        }
        Edit::RemoveHeader((name, nth)) => {
            let position = nth_field(header, name, *nth)?;
            header.remove(position);
        }
        Edit::ReplaceHeader((name, nth, value)) => {
            let position = nth_field(header, name, *nth)?;
            header[position].1.clone_from(value);
        }
        Edit::AddRecipient(address) => envelope.recipients.push(address.clone()),
        Edit::RemoveRecipient(address) => {
            let position = envelope.recipients.iter().position(|known| known == address);
            envelope.recipients.remove(position.ok_or("there is no such recipient")?);
        }
        Edit::ChangeSender(address) => envelope.sender.clone_from(address),
        Edit::ReplaceBody(bytes) => body.clone_from(bytes),
    }
    Ok(())
}

fn nth_field(header: &[(String, Vec<u8>)], name: &str, nth: u32) -> Result<usize, String> {
    let mut named = header.iter().enumerate().filter(|(_, (field, _))| field.eq_ignore_ascii_case(name));
    named.nth(nth as usize).map(|(position, _)| position).ok_or_else(|| "there is no such field".to_owned())
}
