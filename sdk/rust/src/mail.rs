//! The message, as a handle: its bytes stay with the host until they are asked for.

pub use crate::bindings::mailweir::filter::message::{Disposition, Part, Url, UrlSource};
use crate::host::message;
use crate::{Session, Tag};

/// Inside a sandbox, the generated code owns the borrowed handle and gives it back when the call returns; this second
/// name for it must not.
#[cfg(target_family = "wasm")]
type Handle = core::mem::ManuallyDrop<message::Mail>;
#[cfg(not(target_family = "wasm"))]
type Handle = message::Mail;

/// How much one call to the host fetches when a part is read piece by piece.
const PIECE: u32 = 64 * 1024;

/// A handle on the message. In `on_headers` the body has not arrived: sizes and parts speak of the header section alone.
///
/// Each method is a call to the host, and what it returns is a copy: ask once, and only for what is needed.
#[derive(Debug)]
pub struct Mail {
    handle: Handle,
}

impl Mail {
    #[cfg(target_family = "wasm")]
    #[expect(unsafe_code, reason = "the generated type has no safe second name for a borrowed handle")]
    pub(crate) fn borrowed(mail: &message::Mail) -> Self {
        // SAFETY: the handle is valid while `mail` is, which outlives the call that a filter gets `&Mail` in; as a
        // `Mail` cannot be cloned or made by a filter, none outlives that call, and none is dropped twice.
        let again = unsafe { message::Mail::from_handle(mail.handle()) };
        Self { handle: core::mem::ManuallyDrop::new(again) }
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) const fn scripted(mail: message::Mail) -> Self {
        Self { handle: mail }
    }

    pub(crate) fn handle(&self) -> &message::Mail {
        &self.handle
    }

    /// The SMTP session, `helo` and `tls` as they are by now.
    pub fn session(&self) -> Session {
        self.handle.session()
    }

    /// The envelope sender without angle brackets; empty for the null reverse-path.
    pub fn sender(&self) -> Vec<u8> {
        self.handle.sender()
    }

    /// The envelope recipients, without angle brackets.
    pub fn recipients(&self) -> Vec<Vec<u8>> {
        self.handle.recipients()
    }

    /// Bytes, header section included.
    pub fn size(&self) -> u64 {
        self.handle.size()
    }

    /// The values of all fields of that name, from the top: folding kept, without the CRLF at the end.
    pub fn header(&self, name: &str) -> Vec<Vec<u8>> {
        self.handle.header(name)
    }

    /// The values of all fields of that name, unfolded and with encoded words (RFC 2047) decoded.
    pub fn header_text(&self, name: &str) -> Vec<String> {
        self.handle.header_text(name)
    }

    /// The header section, without the empty line.
    pub fn headers_raw(&self) -> Vec<u8> {
        self.handle.headers_raw()
    }

    /// The MIME parts, multiparts included, in the order in which they stand in the message.
    pub fn parts(&self) -> Vec<Part> {
        self.handle.parts()
    }

    /// At most `max` bytes of a part from `offset` on, with its transfer encoding decoded. Empty past the end.
    pub fn part_body(&self, index: u32, offset: u64, max: u32) -> Vec<u8> {
        self.handle.part_body(index, offset, max)
    }

    /// At most `max` bytes of a part's text as UTF-8, cut at a character; HTML stays HTML. Empty past the end.
    pub fn part_text(&self, index: u32, offset: u64, max: u32) -> String {
        self.handle.part_text(index, offset, max)
    }

    /// A part's text, `limit` bytes of it at most, fetched piece by piece.
    pub fn whole_text(&self, part: &Part, limit: usize) -> String {
        let mut text = String::new();
        while text.len() < limit {
            let wanted = u32::try_from(limit - text.len()).map_or(PIECE, |left| left.min(PIECE));
            let piece = self.part_text(part.index, text.len() as u64, wanted);
            if piece.is_empty() {
                break;
            }
            text.push_str(&piece);
        }
        text
    }

    /// URLs and bare domains of header fields and text parts, each once, in order.
    pub fn urls(&self) -> Vec<Url> {
        self.handle.urls()
    }

    /// At most `max` bytes of the message from `offset` on, dot-stuffing removed. Empty past the end.
    pub fn raw(&self, offset: u64, max: u32) -> Vec<u8> {
        self.handle.raw(offset, max)
    }

    /// The tags that filters before this one set.
    pub fn tags(&self) -> Vec<Tag> {
        self.handle.tags()
    }

    /// The value of the last tag of that name.
    pub fn tag(&self, name: &str) -> Option<String> {
        self.tags().into_iter().rev().find(|tag| tag.name == name).map(|tag| tag.value)
    }
}
