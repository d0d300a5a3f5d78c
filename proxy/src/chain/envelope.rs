//! The envelope as filters see it, and what the edits of a filter do to it and to the message.

use crate::host::{Cause, Failure};
use crate::message::{EditFault, Message, MessageFault};
use crate::verdict::Edit;

/// The envelope: addresses without angle brackets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Envelope {
    /// Empty for the null reverse-path.
    pub sender: String,
    /// In the order of the RCPT commands.
    pub recipients: Vec<String>,
}

/// Applies the edits of one filter, all or none: nothing is touched on an error, which is a fault of the filter.
pub(super) fn apply(edits: &[Edit], message: &mut Message, envelope: &mut Envelope) -> Result<(), Failure> {
    if edits.is_empty() {
        return Ok(());
    }
    let edited = envelope.edited(edits)?;
    *message = message.edited(edits).map_err(|error| match error.reason {
        // No room for the edited message, or a disk that failed: not the filter's fault.
        EditFault::Store(error) => Failure::Message(MessageFault::Store(error)),
        _ => unusable(error.to_string()),
    })?;
    *envelope = edited;
    Ok(())
}

impl Envelope {
    fn edited(&self, edits: &[Edit]) -> Result<Self, Failure> {
        let mut edited = self.clone();
        for edit in edits {
            match edit {
                Edit::AddRecipient(address) if edited.holds(address) => {}
                Edit::AddRecipient(address) => edited.recipients.push(address.clone()),
                Edit::RemoveRecipient(address) => {
                    let before = edited.recipients.len();
                    edited.recipients.retain(|recipient| !is_same_mailbox(recipient, address));
                    if edited.recipients.len() == before {
                        return Err(unusable(format!("remove-recipient: there is no recipient {address}")));
                    }
                }
                Edit::ChangeSender(address) => edited.sender.clone_from(address),
                _ => {}
            }
        }
        if edited.recipients.is_empty() {
            return Err(unusable("the edits leave no recipient; discard is the verdict for that".to_owned()));
        }
        Ok(edited)
    }
}

impl Envelope {
    fn holds(&self, address: &str) -> bool {
        self.recipients.iter().any(|recipient| is_same_mailbox(recipient, address))
    }
}

/// Whether two addresses lead to one mailbox: the local part is the receiving server's to interpret, the domain's case
/// counts for nothing (RFC 5321 section 2.4).
fn is_same_mailbox(one: &str, other: &str) -> bool {
    match (one.rsplit_once('@'), other.rsplit_once('@')) {
        (Some((local, domain)), Some((other_local, other_domain))) => {
            local == other_local && domain.eq_ignore_ascii_case(other_domain)
        }
        _ => one == other,
    }
}

fn unusable(detail: String) -> Failure {
    Failure::Plugin { cause: Cause::Trap, detail }
}
