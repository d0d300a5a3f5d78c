//! Changes to the message and its envelope.

pub use crate::bindings::mailweir::filter::types::Edit;

/// Changes that `on_end` wants, in order. They are applied all or none, and the filters after this one see them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Edits {
    list: Vec<Edit>,
}

impl Edits {
    /// None.
    pub const fn new() -> Self {
        Self { list: Vec::new() }
    }

    /// Add a field at the end of the header section. The value may be folded with CRLF and a space or tab.
    #[must_use]
    pub fn add_header(self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.edit(Edit::AddHeader((name.into(), value.into())))
    }

    /// Insert a field so that it becomes the one at this position; 0 is the top.
    #[must_use]
    pub fn insert_header(self, position: u32, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.edit(Edit::InsertHeader((position, name.into(), value.into())))
    }

    /// Remove the nth field of that name; 0 is the topmost. It must exist.
    #[must_use]
    pub fn remove_header(self, name: impl Into<String>, nth: u32) -> Self {
        self.edit(Edit::RemoveHeader((name.into(), nth)))
    }

    /// Replace the value of the nth field of that name; 0 is the topmost. It must exist.
    #[must_use]
    pub fn replace_header(self, name: impl Into<String>, nth: u32, value: impl Into<Vec<u8>>) -> Self {
        self.edit(Edit::ReplaceHeader((name.into(), nth, value.into())))
    }

    /// Add an envelope recipient, without angle brackets.
    #[must_use]
    pub fn add_recipient(self, address: impl Into<Vec<u8>>) -> Self {
        self.edit(Edit::AddRecipient(address.into()))
    }

    /// Remove an envelope recipient. It must exist.
    #[must_use]
    pub fn remove_recipient(self, address: impl Into<Vec<u8>>) -> Self {
        self.edit(Edit::RemoveRecipient(address.into()))
    }

    /// Change the envelope sender; empty for the null reverse-path.
    #[must_use]
    pub fn change_sender(self, address: impl Into<Vec<u8>>) -> Self {
        self.edit(Edit::ChangeSender(address.into()))
    }

    /// Replace everything after the header section. Lines end in CRLF.
    #[must_use]
    pub fn replace_body(self, body: impl Into<Vec<u8>>) -> Self {
        self.edit(Edit::ReplaceBody(body.into()))
    }

    /// One more.
    #[must_use]
    pub fn edit(mut self, edit: Edit) -> Self {
        self.list.push(edit);
        self
    }

    /// One more, in place.
    pub fn push(&mut self, edit: Edit) {
        self.list.push(edit);
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// They, in order.
    pub fn as_slice(&self) -> &[Edit] {
        &self.list
    }
}

impl From<Edits> for Vec<Edit> {
    fn from(edits: Edits) -> Self {
        edits.list
    }
}

impl Extend<Edit> for Edits {
    fn extend<I: IntoIterator<Item = Edit>>(&mut self, edits: I) {
        self.list.extend(edits);
    }
}

impl FromIterator<Edit> for Edits {
    fn from_iter<I: IntoIterator<Item = Edit>>(edits: I) -> Self {
        Self { list: edits.into_iter().collect() }
    }
}
